"""Answer on a node's system bus as systemd-logind answers a kubelet, which delays a shutdown until its pods have ended.

Nothing shuts down here: `faults.announce_shutdown` sends the signal with which logind announces it.
"""

import asyncio
import os
import sys
from pathlib import Path

from dbus_fast import BusType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusStr, DBusUInt64, DBusUnixFd
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

NAME = "org.freedesktop.login1"
PATH = "/org/freedesktop/login1"
INTERFACE = f"{NAME}.Manager"
# as many seconds as the kubelet asks for, or it would write into the logind.conf of this machine
LONGEST_DELAY_SECONDS = 60


class Manager(ServiceInterface):
    """The part of logind's interface that the kubelet calls."""

    def __init__(self) -> None:
        super().__init__(INTERFACE)
        self._locks: list[int] = []

    @dbus_method(name="Inhibit")
    def inhibit(self, what: DBusStr, who: DBusStr, why: DBusStr, mode: DBusStr) -> DBusUnixFd:
        """Return a lock: the shutdown waits until its holder closes it."""
        del what, who, why, mode
        for lock in self._locks:  # it was sent with the answer before
            os.close(lock)
        reading, writing = os.pipe()
        self._locks = [reading, writing]
        return writing

    @dbus_property(access=PropertyAccess.READ, name="InhibitDelayMaxUSec")
    def longest_delay(self) -> DBusUInt64:
        """Return the longest time in microseconds for which a lock delays a shutdown."""
        return LONGEST_DELAY_SECONDS * 1_000_000


async def serve(ready: Path) -> None:
    """Serve until the bus goes away. Make the file `ready` once calls are answered."""
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    bus.export(PATH, Manager())
    await bus.request_name(NAME)
    await asyncio.to_thread(ready.touch)
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
