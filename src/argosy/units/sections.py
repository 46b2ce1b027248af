"""Reading one of Argosy's own sections: take each key, expand its specifiers, understand its value, or say what is wrong.

The modules of the sections (`fleet`, `placement`, `service`, `health`, `announce`, `rollout`, `traffic`, `scale`) know what
their keys mean; this one knows how a fault becomes a diagnostic at the right place. In the text of a template, a value
whose specifiers give something else for each instance is judged with the instances, not here: such keys keep their default.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from argosy.units import specifiers
from argosy.units.diagnostics import Problems, did_you_mean
from argosy.units.names import NameParts
from argosy.units.text import Entry, UnitText
from argosy.units.values import BadValue

T = TypeVar("T")

MOST_ITEMS = 1000
"""Values that one key may have over all its lines: every one of them costs the scheduler something for every unit."""


class Section:
    """One section of one unit, and the place where its faults go."""

    def __init__(
        self,
        text: UnitText,
        title: str,
        name: NameParts,
        *,
        keys: Collection[str],
        problems: Problems,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        """Reports keys that the section does not have.

        elsewhere: for keys of other sections, the section that has them, for the hint.
        """
        self.title = title
        self.name = name
        self.problems = problems
        self._text = text
        for entry in text.entries:
            if entry.section == title and entry.key not in keys:
                self._unknown(entry, keys, elsewhere or {})

    @property
    def is_present(self) -> bool:
        return self._text.has_section(self.title)

    def has(self, key: str) -> bool:
        """Whether the key is set and not reset."""
        return bool(self._text.assigned(self.title, key))

    def entries(self, key: str) -> tuple[Entry, ...]:
        return self._text.assigned(self.title, key)

    def one(self, key: str, read: Callable[[str], T], default: T) -> T:
        """The key's value: of several, the last. The default where it is absent or wrong."""
        entries = self.entries(key)
        if not entries:
            return default
        value = self.read(entries[-1], read)
        return default if value is None else value

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """The key's value: of several, the last. None where it is absent or wrong."""
        entries = self.entries(key)
        return self.read(entries[-1], read) if entries else None

    def each(self, key: str, read: Callable[[str], Collection[T]]) -> tuple[T, ...]:
        """Everything that the key's lines hold, in order, each once; wrong lines left out."""
        return self.gather(self.entries(key), read)

    def gather(
        self, entries: Iterable[Entry], read: Callable[[str], Collection[T]]
    ) -> tuple[T, ...]:
        """Everything that the entries hold, as `each`. More than MOST_ITEMS are an error, and the rest is left out."""
        found: dict[T, None] = {}
        for entry in entries:
            for item in self.read(entry, read) or ():
                found[item] = None
            if len(found) > MOST_ITEMS:
                self.error(entry, f"at most {MOST_ITEMS} values are allowed")
                break
        return tuple(found)

    def read(self, entry: Entry, read: Callable[[str], T]) -> T | None:
        """What the entry's value means with its specifiers expanded.

        None where that is wrong (and reported) or, in a template, depends on the instance.
        """
        if self.name.is_template and specifiers.depends_on_instance(entry.value):
            return None
        offset_holds = True
        try:
            value = self.expand(entry.value)
            offset_holds = value == entry.value
            return read(value)
        except BadValue as bad:
            self.error(entry, bad.message, offset=bad.offset if offset_holds else 0, hint=bad.hint)
            return None

    def expand(self, value: str) -> str:
        return specifiers.expand(value, self.name)

    def error(self, entry: Entry, message: str, *, offset: int = 0, hint: str = "") -> None:
        """Report a fault of an entry's value; the message gets the key's name."""
        self.problems.error(*entry.position(offset), f"{entry.key}: {message}", hint=hint)

    def warning(self, entry: Entry, message: str, *, hint: str = "") -> None:
        self.problems.warning(*entry.position(), f"{entry.key}: {message}", hint=hint)

    def error_at_key(self, key: str, message: str, *, hint: str = "") -> None:
        """Report something about a key that is set, at its last line."""
        entry = self.entries(key)[-1]
        self.problems.error(entry.line, entry.column, message, hint=hint)

    def error_at_heading(self, message: str, *, hint: str = "") -> None:
        heading = self._text.heading(self.title)
        line, column = (heading.line, heading.column) if heading else (1, 1)
        self.problems.error(line, column, message, hint=hint)

    def _unknown(self, entry: Entry, keys: Collection[str], elsewhere: Mapping[str, str]) -> None:
        hint = did_you_mean(entry.key, keys, cutoff=0.75)
        if not hint and entry.key in elsewhere:
            hint = f"it belongs in [{elsewhere[entry.key]}]"
        if not hint:
            hint = did_you_mean(entry.key, keys) or "keys are " + ", ".join(sorted(keys))
        self.problems.error(
            entry.line, entry.column, f"unknown key '{entry.key}' in [{self.title}]", hint=hint
        )
