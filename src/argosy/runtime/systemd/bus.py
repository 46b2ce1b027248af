"""The connection to one systemd manager: calls, signals, and a new connection after the old one was lost.

systemd itself disconnects from the bus and connects again when it re-executes, and the bus may be restarted under both. A
call that was under way then raises RuntimeBusy: it may or may not have been carried out. Whoever needs a picture reads it
anew in `on_connected`, which is called after every connection, with its signals already subscribed to.

What surprises: at most CALLS_AT_ONCE calls are under way. The library loses its connection with 500 written at once, and
systemd keeps a match rule on the bus for each client's job, of which the bus allows it 512 (seen with systemd 252 and dbus
1.14: "Got disconnect on API bus"); `jobs.py` keeps to that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dbus_fast import AuthError, DBusError, InvalidAddressError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from argosy.errors import RuntimeBusy, RuntimeRefused
from argosy.model.ids import UnitName

log = logging.getLogger(__name__)

SYSTEMD = "org.freedesktop.systemd1"
ROOT = "/org/freedesktop/systemd1"
UNIT_PATHS = ROOT + "/unit/"
MANAGER = SYSTEMD + ".Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
BUS = "org.freedesktop.DBus"

CALLS_AT_ONCE = 100
NAMES_PER_CALL = 200
"""systemd answers a call in one go: this many units it loads in some 40 ms."""
ANSWER_SECONDS = 30.0
"""systemd answers at once; this long it may be busy with a reload of many thousand units."""
RETRY_SECONDS = 0.2
CLOSE_SECONDS = 1.0

MATCHES = (
    f"type='signal',sender='{SYSTEMD}',path='{ROOT}',interface='{MANAGER}'",
    f"type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',path_namespace='{ROOT}/unit'",
    f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'",
)


class Refused(Exception):
    """systemd said no: `name` is its D-Bus error, without the prefix for systemd's own."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name.removeprefix(SYSTEMD + ".")


class Bus:
    """A connection that is made anew whenever it is lost.

    on_signal: called for each signal of the manager and its units with the member's name, the object's path and the
    arguments; in the order in which systemd sent them, also relative to answers.
    """

    def __init__(
        self,
        address: str,
        *,
        on_signal: Callable[[str, str, list[Any]], None],
        on_connected: Callable[[], Awaitable[None]],
    ) -> None:
        self._address = address
        self._on_signal = on_signal
        self._on_connected = on_connected
        self._connection: MessageBus | None = None
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._keeper: asyncio.Task[None] | None = None
        self._gone: asyncio.Task[None]
        """Ends with the connection."""
        self._left = asyncio.Event()
        """Set when systemd left the bus."""

    async def open(self) -> None:
        """Connect, and go on connecting. Raises RuntimeRefused when there is no manager at the address."""
        try:
            await self._connect()
        except (
            OSError,
            AuthError,
            DBusError,
            EOFError,
            InvalidAddressError,
            RuntimeBusy,
        ) as problem:
            await self._drop()
            raise RuntimeRefused(
                f"no systemd answers at {self._address}: {problem}",
                hint="on a host without systemd, run units as plain processes",
            ) from problem
        self._keeper = asyncio.create_task(self._keep(), name="keep the connection to systemd")

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._drop()

    async def call(
        self,
        member: str,
        signature: str = "",
        *body: Any,
        path: str = ROOT,
        interface: str = MANAGER,
    ) -> list[Any]:
        """The answer's arguments. Raises Refused, and RuntimeBusy when nobody answered."""
        async with self._calls:
            return await self._call(
                Message(
                    destination=SYSTEMD,
                    path=path,
                    interface=interface,
                    member=member,
                    signature=signature,
                    body=list(body),
                )
            )

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        """All properties of an object's interface, as plain values."""
        [found] = await self.call("GetAll", "s", interface, path=path, interface=PROPERTIES)
        return plain(found)

    async def _call(self, message: Message) -> list[Any]:
        connection = self._connection
        if connection is None:
            raise RuntimeBusy("the connection to systemd is lost; it is being made anew")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await connection.call(message)
        except TimeoutError:
            raise RuntimeBusy(f"systemd did not answer {message.member} in time") from None
        except (OSError, EOFError, DBusError) as problem:
            raise RuntimeBusy(f"the connection to systemd was lost: {problem}") from problem
        if answer is None:
            raise RuntimeBusy("the connection to systemd was lost")
        if answer.message_type is MessageType.ERROR:
            name = answer.error_name or ""
            words = str(answer.body[0]) if answer.body else name
            if name.startswith(BUS + ".Error.") and name.rpartition(".")[2] in _LOST:
                raise RuntimeBusy(f"systemd cannot be reached: {words}")
            raise Refused(name, words)
        return answer.body

    async def _connect(self) -> None:
        self._left.clear()
        connection = MessageBus(bus_address=self._address)
        self._connection = await connection.connect()
        self._gone = asyncio.create_task(_wait_until_gone(connection))
        connection.add_message_handler(self._take)
        for rule in MATCHES:
            await self._call(
                Message(
                    destination=BUS,
                    path="/org/freedesktop/DBus",
                    interface=BUS,
                    member="AddMatch",
                    signature="s",
                    body=[rule],
                )
            )
        with suppress(Refused):  # subscribed already
            await self.call("Subscribe")
        await self._on_connected()

    async def _keep(self) -> None:
        while True:
            left = asyncio.create_task(self._left.wait())
            try:
                await asyncio.wait([self._gone, left], return_when=asyncio.FIRST_COMPLETED)
            finally:
                left.cancel()
            log.warning("the connection to systemd was lost; connecting again")
            while True:
                await self._drop()
                try:
                    await self._connect()
                    break
                except (OSError, AuthError, DBusError, EOFError, RuntimeBusy, Refused) as problem:
                    log.info("cannot connect to systemd: %s", problem)
                except Exception:
                    log.exception("cannot connect to systemd")
                await asyncio.sleep(RETRY_SECONDS)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            # Its socket is closed once the end of the stream was read.
            await asyncio.wait([self._gone], timeout=CLOSE_SECONDS)

    def _take(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        member, path = message.member or "", message.path or ""
        if member == "NameOwnerChanged":
            # Its connection is another one now: what it knows of us went with the old one.
            if message.body[1]:
                self._left.set()
        else:
            self._on_signal(member, path, message.body)


async def _wait_until_gone(connection: MessageBus) -> None:
    with suppress(OSError, EOFError, DBusError):
        await connection.wait_for_disconnect()  # type: ignore[no-untyped-call]


_LOST = ("NoReply", "Disconnected", "ServiceUnknown", "NameHasNoOwner", "TimedOut", "Timeout")


def plain(properties: dict[str, Variant]) -> dict[str, Any]:
    return {name: variant.value for name, variant in properties.items()}


def chunks(names: Sequence[UnitName]) -> Iterator[list[UnitName]]:
    """The names in lists short enough for one call."""
    for start in range(0, len(names), NAMES_PER_CALL):
        yield list(names[start : start + NAMES_PER_CALL])


def unit_path(name: UnitName) -> str:
    """The object path of a unit. Source: bus_label_escape() of systemd (sd-bus, `bus-label.c`)."""
    return UNIT_PATHS + "".join(
        sign
        if sign.isascii() and (sign.isalpha() or (sign.isdigit() and position))
        else "".join(f"_{byte:02x}" for byte in sign.encode())
        for position, sign in enumerate(name)
    )


def unit_of(path: str) -> UnitName:
    """The unit of an object path."""
    first, *rest = path.removeprefix(UNIT_PATHS).split("_")
    return UnitName(first + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest))


def system_bus() -> str:
    """The address of the system's bus (D-Bus specification, "Well-known Message Bus Instances")."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"


def user_bus() -> str | None:
    """The address of this user's bus, None where there is none."""
    if named := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return named
    path = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}") / "bus"
    return f"unix:path={path}" if path.is_socket() else None
