"""What stands on the disk for each unit: its text, and a drop-in that says whose it is and adds its variables.

    /run/systemd/system/web.service                     the text, byte for byte
    /run/systemd/system/web.service.d/10-argosy.conf    the mark of ownership; ARGOSY_... and other variables

The mark is the drop-in's first line. Only a unit with that mark is this runtime's, and it touches no other. /run is empty
after a reboot: the agent installs everything again from its own disk, and nothing starts that it did not ask for.

Variables are added *before* those of the text, as the contract wants it; but systemd reads drop-ins after the text, so
those that the text assigns itself are left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from argosy.errors import RuntimeRefused
from argosy.model.ids import Digest, UnitName
from argosy.runtime.base import RunnableUnit
from argosy.units import names as unit_names
from argosy.units import quoting, specifiers
from argosy.units.text import UnitText
from argosy.units.values import BadValue

DROP_IN = "10-argosy.conf"
MARK = "# argosy "
EXECUTING = ("Service", "Socket", "Mount", "Swap")
"""Sections whose units run commands, and so take Environment= (systemd.exec(5))."""
SECTION = {".service": "Service", ".socket": "Socket", ".mount": "Mount", ".swap": "Swap"}


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the drop-in's first line says."""

    digest: Digest
    owner: str = ""
    """Which of several runtimes of this manager installed it."""
    text: str
    """SHA-256 of the text as it was written."""
    replaced: str = ""
    """That of the text before it: whoever dies between the two writes leaves that one, and it is nobody's edit."""
    rest: str
    """SHA-256 of the drop-in after this line."""
    stop_within: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A unit of this runtime, as its files say."""

    name: UnitName
    mark: Mark
    after: frozenset[UnitName]
    """Units that it is ordered after, as far as its own text says."""
    before: frozenset[UnitName]
    pulled_in_by: frozenset[tuple[str, UnitName]] = frozenset()
    """WantedBy or RequiredBy, and a unit that its [Install] names so."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a unit's files are."""

    is_whole: bool
    """Whether all of it is there as it was installed, or as somebody has changed it since."""
    edited: tuple[Path, ...] = ()
    """Files that somebody changed by hand, as the manager sees them."""


class UnitFiles:
    """The files of one manager's units.

    directory: where systemd looks for units that live until the next boot.
    overrides: where people put drop-ins of their own (`systemctl edit`).
    root: where the file system of the manager is; all paths are below it, and shown as the manager sees them.
    identifies: whether units print under their own name, unless they choose another (see `journal.py`).
    owner: a word of which only one runtime of the manager has the same; others' units are foreign to it.
    """

    def __init__(
        self,
        directory: Path,
        overrides: tuple[Path, ...] = (),
        *,
        root: Path = Path("/"),
        identifies: bool = False,
        owner: str = "",
    ) -> None:
        self.directory = directory
        self._root = root
        self._identifies = identifies
        self._owner = owner
        self._overrides = (directory, *overrides)

    def read(self) -> Iterator[Owned]:
        """The units that are there and bear our mark."""
        for drop_in in sorted(self.directory.glob(f"*.d/{DROP_IN}")):
            name = drop_in.parent.name.removesuffix(".d")
            owned = self.owned(UnitName(name)) if unit_names.is_valid(name) else None
            if owned is not None:
                yield owned

    def owned(self, name: UnitName) -> Owned | None:
        """The unit as its files say; None when it is not ours."""
        try:
            first, _, _ = _read(self._drop_in(name)).partition(b"\n")
            mark = msgspec.json.decode(first.removeprefix(MARK.encode()), type=Mark)
        except (OSError, msgspec.MsgspecError):
            return None
        if mark.owner != self._owner:
            return None
        with suppress(OSError):
            return _described(name, mark, _read(self.directory / name))
        return Owned(name=name, mark=mark, after=frozenset(), before=frozenset())

    def install(self, unit: RunnableUnit) -> Owned:
        """Write the unit's files, the mark first: what has no mark is nobody's. Raises RuntimeRefused."""
        parsed = UnitText.parse(unit.text)
        try:
            rest = _drop_in(unit, parsed, identifies=self._identifies)
        except BadValue as problem:
            raise RuntimeRefused(
                f"{unit.name}: a variable cannot be given to it: {problem}"
            ) from None
        place, drop_in = self.directory / unit.name, self._drop_in(unit.name)
        before = self._text(unit.name)
        mark = Mark(
            digest=unit.digest,
            owner=self._owner,
            text=_sha256(unit.text),
            replaced=_sha256(before) if before is not None else "",
            rest=_sha256(rest),
            stop_within=unit.stop_within,
        )
        try:
            drop_in.parent.mkdir(exist_ok=True)
            _write(drop_in, MARK.encode() + msgspec.json.encode(mark) + b"\n" + rest)
            _write(place, unit.text)
        except OSError as problem:
            if before is None:
                with suppress(OSError):
                    self.remove(unit.name)
            raise RuntimeRefused(f"{unit.name} cannot be written: {problem.strerror}") from problem
        return _described(unit.name, mark, unit.text, parsed)

    def remove(self, name: UnitName) -> None:
        """Take the unit's files away, the mark last."""
        (self.directory / name).unlink(missing_ok=True)
        drop_in = self._drop_in(name)
        drop_in.unlink(missing_ok=True)
        with suppress(OSError):  # others have put something there
            drop_in.parent.rmdir()

    def look(self, units: Mapping[UnitName, Owned]) -> dict[UnitName, tuple[bool, str]]:
        """Whether each is whole, and how it differs from what was installed, in words; empty when it does not."""
        wholes: dict[UnitName, bool] = {}
        words: dict[UnitName, list[str]] = {}
        for name, owned in units.items():
            found = self.found(owned)
            wholes[name] = found.is_whole
            words[name] = [f"{path} was changed by hand" for path in found.edited]
        for directory in self._overrides:
            with suppress(OSError):
                # os.listdir, because this looks at a thousand entries while the event loop waits.
                for entry in os.listdir(directory):  # noqa: PTH208
                    name = UnitName(entry.removesuffix(".d"))
                    if name not in units:
                        continue
                    path = directory / entry
                    if entry.endswith(".d"):
                        others = sorted(set(os.listdir(path)) - {DROP_IN})  # noqa: PTH208
                        words[name] += [
                            f"{self.shown(path / other)} adds to it"
                            for other in others
                            if other.endswith(".conf")
                        ]
                    elif directory != self.directory:
                        is_masked = path.is_symlink() and str(path.readlink()) == os.devnull
                        does = "masks it" if is_masked else "takes its place"
                        words[name].append(f"{self.shown(path)} {does}")
        return {name: (wholes[name], "; ".join(words[name])) for name in units}

    def shown(self, path: Path) -> Path:
        """The path as the manager, and whoever works on its machine, sees it."""
        return Path("/") / path.relative_to(self._root)

    def found(self, owned: Owned) -> Found:
        """Look at the files. Without a text there is nothing to keep, whatever the drop-in says."""
        place, drop_in = self.directory / owned.name, self._drop_in(owned.name)
        edited: list[Path] = []
        text = self._text(owned.name)
        if text is None or _sha256(text) == owned.mark.replaced != owned.mark.text:
            return Found(is_whole=False)
        if _sha256(text) != owned.mark.text:
            edited.append(self.shown(place))
        try:
            _, _, rest = _read(drop_in).partition(b"\n")
        except OSError:
            rest = b""
        if _sha256(rest) != owned.mark.rest:
            edited.append(self.shown(drop_in))
        return Found(is_whole=True, edited=tuple(edited))

    def _text(self, name: UnitName) -> bytes | None:
        """None where there is none. What is no file, such as a link, has a text that nobody installed."""
        try:
            return _read(self.directory / name)
        except FileNotFoundError:
            return None
        except OSError:
            return b""

    def _drop_in(self, name: UnitName) -> Path:
        return self.directory / f"{name}.d" / DROP_IN


def _described(name: UnitName, mark: Mark, text: bytes, parsed: UnitText | None = None) -> Owned:
    parsed = parsed or UnitText.parse(text)
    return Owned(
        name=name,
        mark=mark,
        after=frozenset(_named(parsed, name, "Unit", "After")),
        before=frozenset(_named(parsed, name, "Unit", "Before")),
        pulled_in_by=frozenset(
            (key, other)
            for key in ("WantedBy", "RequiredBy")
            for other in _named(parsed, name, "Install", key)
        ),
    )


def _named(text: UnitText, name: UnitName, section: str, key: str) -> Iterator[UnitName]:
    """The units that a list names. One with a specifier that the machine alone knows is left out."""
    parts = unit_names.parse(name)
    for value in text.values(section, key):
        for word in value.split():
            with suppress(BadValue):
                yield UnitName(specifiers.expand(word, parts))


def _drop_in(unit: RunnableUnit, text: UnitText, *, identifies: bool) -> bytes:
    """The drop-in after the mark."""
    lines = ["# Written by Argosy with the unit's text; changed and removed with it."]
    section = SECTION.get(unit.name[unit.name.rindex(".") :])
    if section is not None:
        own = set(_assigned_variables(text, section))
        lines.append(f"[{section}]")
        lines += [
            "Environment=" + _quoted(f"{key}={value}")
            for key, value in sorted(unit.environment.items())
            if key not in own
        ]
        if identifies and not list(text.values(section, "SyslogIdentifier")):
            lines.append("SyslogIdentifier=" + unit.name.replace("%", "%%"))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _quoted(assignment: str) -> str:
    """One word for Environment=, in which % begins a specifier (systemd.exec(5))."""
    return quoting.quote(assignment).replace("%", "%%")


def _assigned_variables(text: UnitText, section: str) -> Iterator[str]:
    for value in text.values(section, "Environment"):
        with suppress(BadValue):
            for word in quoting.split(value):
                yield word.partition("=")[0]


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _write(path: Path, content: bytes) -> None:
    """The whole file or the one before: systemd may read it at any moment. Not durable; /run is memory."""
    beside = path.with_name(f".{path.name}.argosy")
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
        file.write(content)
        # Units are no secret to the machine's users (systemctl cat), their variables may be.
        os.fchmod(file.fileno(), 0o600 if path.name == DROP_IN else 0o644)
    beside.replace(path)
