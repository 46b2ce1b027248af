r"""Environment files, read as systemd reads them. Pure: bytes in, variables out.

Source: parse_env_file_internal in env-file.c of systemd 252, systemd.exec(5) EnvironmentFile=. It is neither a shell's
nor Docker's format: no `export`, no expansion, quotes only at the start of a value or right after another quote, and in
double quotes a backslash escapes `"`, `\`, `` ` `` and `$` alone. A backslash ends the line in a comment, too.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NEWLINES = "\n\r"
_BLANKS = " \t\n\r"
_COMMENTS = "#;"
_ESCAPED_IN_DOUBLE_QUOTES = '"\\`$'


def parse(data: bytes) -> dict[str, str]:
    """The variables of a file. Lines that assign nothing, and names that no variable may have, are passed over."""
    return {
        name: value
        for name, value in _assignments(data.decode("utf-8", "surrogateescape"))
        if _NAME.match(name) and "\0" not in value
    }


def _assignments(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    key: list[str] = []
    value: list[str] = []
    kept = 0  # how much of the value stays: blanks at its end do when they were quoted or escaped

    def finish() -> None:
        found.append(("".join(key).rstrip(_BLANKS), "".join(value[:kept])))
        key.clear()
        value.clear()

    state = "before key"
    for character in text:
        is_newline = character in _NEWLINES
        match state:
            case "before key":
                if character in _COMMENTS:
                    state = "comment"
                elif character not in _BLANKS:
                    key.append(character)
                    state = "key"
            case "key":
                if is_newline:
                    key.clear()
                    state = "before key"
                elif character == "=":
                    kept = 0
                    state = "before value"
                else:
                    key.append(character)
            case "before value" | "value" if is_newline:
                finish()
                state = "before key"
            case "before value" | "value" if character == "\\":
                state = "escape"
            case "before value" if character == "'":
                state = "single quotes"
            case "before value" if character == '"':
                state = "double quotes"
            case "before value" | "value":
                if state == "value" or character not in _BLANKS:
                    value.append(character)
                    state = "value"
                    if character not in _BLANKS:
                        kept = len(value)
            case "escape":
                if not is_newline:
                    value.append(character)
                    kept = len(value)
                state = "value"
            case "single quotes" | "double quotes" if character == (
                "'" if state[0] == "s" else '"'
            ):
                state = "before value"
            case "double quotes" if character == "\\":
                state = "double quotes, escape"
            case "single quotes" | "double quotes":
                value.append(character)
                kept = len(value)
            case "double quotes, escape":
                if character in _ESCAPED_IN_DOUBLE_QUOTES:
                    value.append(character)
                elif character != "\n":
                    value += "\\", character
                kept = len(value)
                state = "double quotes"
            case "comment":
                if character == "\\":
                    state = "comment, escape"
                elif is_newline:
                    state = "before key"
            case "comment, escape":
                state = "comment"
    if state not in ("before key", "key", "comment", "comment, escape"):
        finish()
    return found
