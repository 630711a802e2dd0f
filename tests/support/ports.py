"""Free ports of the loopback interface."""

import random
import socket
from contextlib import ExitStack

NOT_EPHEMERAL = range(15_000, 32_000)
"""The kernel takes no port of these for a connection, so one that is free now is free when a slow program opens it."""


def free_port() -> int:
    """Return a port on which nothing listens now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different ports on which nothing listens now, for programs that open them seconds later."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", random.choice(NOT_EPHEMERAL)))
            except OSError:
                continue
            found.append(probe.getsockname()[1])
    return found
