r"""systemd's way of splitting a value into words, and of writing a word so that it is read back unchanged.

This is extract_first_word() of extract-word.c as systemd 252 has it, with the flags that unit files use: blanks separate
words, `'` and `"` quote (also in the middle of a word), and a backslash begins a C escape, inside quotes of both kinds.
`split` serves Environment= and our own sections; command lines, which also have `;` between commands, are read by
`commands.py` on top of `next_word`.

What surprises: `\xHH` is a byte, not a character. Bytes that do not form UTF-8 come out as surrogate escapes, which
`os.fsencode` turns back into those bytes.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from argosy.units.values import BadValue

SEPARATORS = " \t\n\r"

_SIMPLE_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "s": " ",
}
# Stretches without anything special, by the quote that is open.
_RUNS = {
    "": re.compile(r"""[^ \t\n\r'"\\]+"""),
    '"': re.compile(r'[^"\\]+'),
    "'": re.compile(r"[^'\\]+"),
}
_BYTE_ESCAPE = re.compile(r"x([0-9A-Fa-f]{2})|([0-7]{3})")
_CHARACTER_ESCAPE = re.compile(r"u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})")
_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./${}\[\]*?~^|&<>()!#-]+", re.ASCII)


class Escapes(enum.Enum):
    """What a backslash means."""

    STRICT = "strict"
    """A C escape; one that does not exist is an error. For our own sections, and for Environment=, of which systemd
    ignores the rest of the line."""
    RELAXED = "relaxed"
    """A C escape; one that does not exist stays as written: systemd's way with command lines, after a warning."""
    VERBATIM = "verbatim"
    """A backslash: for lists of unit names, where it is part of the name (EXTRACT_RETAIN_ESCAPE)."""


class Word(NamedTuple):
    """One word: its text without quotes and escapes, and where it stands in the value."""

    text: str
    start: int
    end: int
    """Just after it, its quotes included."""


def split(value: str, *, escapes: Escapes = Escapes.STRICT) -> list[str]:
    """The words of a value. Raises BadValue for a quote that is not closed or an escape that does not exist."""
    return [word.text for word in words(value, escapes=escapes)]


def words(value: str, *, escapes: Escapes = Escapes.STRICT) -> list[Word]:
    """The words of a value with their places. Raises BadValue, as `split`."""
    found: list[Word] = []
    offset = 0
    while (word := next_word(value, offset, escapes=escapes)) is not None:
        found.append(word)
        offset = word.end
    return found


def next_word(value: str, offset: int = 0, *, escapes: Escapes = Escapes.STRICT) -> Word | None:
    """The first word at or after the offset, None when only blanks are left.

    Raises BadValue for a quote that is not closed, and unless `escapes` says otherwise for an escape that does not exist.
    """
    start = skip_blanks(value, offset)
    if start == len(value):
        return None
    offset = start
    parts: list[str] = []
    has_bytes = False
    open_quote, open_at = "", 0
    while offset < len(value):
        char = value[offset]
        if char == "\\" and escapes is not Escapes.VERBATIM:
            part, offset = _escaped(value, offset, escapes=escapes)
            parts.append(part)
            has_bytes = has_bytes or "\udc80" <= part <= "\udcff"
            continue
        if char == open_quote:
            open_quote = ""
        elif not open_quote and char in "'\"":
            open_quote, open_at = char, offset
        elif not open_quote and char in SEPARATORS:
            break
        else:
            run = _RUNS[open_quote].match(value, offset)
            end = run.end() if run else offset + 1
            parts.append(value[offset:end])
            offset = end
            continue
        offset += 1
    if open_quote:
        raise BadValue(
            f"the quote {open_quote} is not closed", offset=open_at, hint=f"add a {open_quote}"
        )
    text = "".join(parts)
    if has_bytes:
        # Escaped bytes that stand side by side may form a character: `\\xc3\\xa4`.
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    return Word(text, start, offset)


def skip_blanks(value: str, offset: int) -> int:
    """The offset of the first character that separates no words, or the value's length."""
    while offset < len(value) and value[offset] in SEPARATORS:
        offset += 1
    return offset


def _escaped(value: str, offset: int, *, escapes: Escapes) -> tuple[str, int]:
    """What the escape at the offset stands for, and where it ends: cunescape_one() of escape.c."""
    following = value[offset + 1 : offset + 2]
    if following in _SIMPLE_ESCAPES and following:
        return _SIMPLE_ESCAPES[following], offset + 2
    if match := _BYTE_ESCAPE.match(value, offset + 1):
        byte = int(match[1], 16) if match[1] else int(match[2], 8)
        if 0 < byte < 256:
            return chr(byte if byte < 128 else 0xDC00 + byte), match.end()
    elif match := _CHARACTER_ESCAPE.match(value, offset + 1):
        code = int(match[1] or match[2], 16)
        if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000:
            return chr(code), match.end()
    if escapes is Escapes.RELAXED:
        return "\\" + following, offset + 1 + len(following)
    if not following:
        raise BadValue("nothing follows the '\\'", offset=offset, hint="write \\\\ for a backslash")
    raise BadValue(
        f"'\\{following}' is no escape",
        offset=offset,
        hint=f"write \\\\{following} for a backslash",
    )


def quote(word: str) -> str:
    """The word as it must be written to be read back as one word with exactly this text.

    `%` and `$` are left alone: whether specifiers and variables are meant is the caller's to know. Raises BadValue for a
    NUL, which nothing can carry.
    """
    if _SAFE.fullmatch(word):
        return word
    out: list[str] = ['"']
    for char in word:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif char == "\t":
            out.append("\\t")
        elif code == 0:
            raise BadValue("a NUL cannot be part of a word")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif not char.isprintable():
            out.append(f"\\U{code:08x}")
        else:
            out.append(char)
    out.append('"')
    return "".join(out)
