"""The sockets that the server listens on. They are opened before the version is loaded, which takes longer."""

import socket

from speechmodel_inference.errors import CannotListen

BACKLOG = 1024
"""Connections that the system keeps until they are accepted."""


def listening_socket(listen: str) -> socket.socket:
    """Return a socket that listens on `address:port`.

    Without an address it listens on every IPv4 address, and on every IPv6 address if there is any. Raises CannotListen.
    """
    address, _, port = listen.rpartition(":")
    address = address.strip("[]")
    if ":" in address or (not address and socket.has_dualstack_ipv6()):
        family, dual = socket.AF_INET6, not address
    else:
        family, dual = socket.AF_INET, False
    try:
        listening = socket.create_server((address, int(port)), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        raise CannotListen(f"cannot listen on {listen}: {error.strerror}") from error
    # connections inherit it; asyncio sets it only for sockets that were made with the number of the protocol
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


def queue_connections(listening: socket.socket) -> None:
    """Let the system keep BACKLOG connections until they are accepted.

    asyncio sets that number when it begins to serve, to the number of connections that it accepts at once.
    """
    listening.listen(BACKLOG)
