"""Free ports of the loopback interface."""

import os
import random
import socket
from contextlib import ExitStack

NOT_EPHEMERAL = range(15_000, 32_000)
"""The kernel takes no port of these for a connection, so one that is free now is free when a slow program opens it."""
WORKERS = 8
"""Parts of that range. Each process that runs tests takes ports of its own part, or two would take the same one at a time."""


def free_port() -> int:
    """Return a port on which nothing listens now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return different ports on which nothing listens now, for programs that open them seconds later."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = NOT_EPHEMERAL[worker % WORKERS :: WORKERS]
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", random.choice(own)))
            except OSError:
                continue
            found.append(probe.getsockname()[1])
    return found
