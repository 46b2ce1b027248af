r"""Command lines: the values of ExecStart= and its siblings, up to the variables.

`read` splits as config_parse_exec() of systemd does: prefixes before the path, words with quotes and C escapes, an
unquoted `;` between commands, `\;` for one that is meant. Specifiers are expanded by the caller, on each word by itself
and after the splitting, so that a value can never turn into two words; variables are expanded later still, by the
runtime. Source: systemd.service(5), "Command lines".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from argosy.units.quoting import SEPARATORS, Escapes, next_word, skip_blanks
from argosy.units.values import BadValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a command line."""

    path: str
    """The program: absolute, or a bare name that is looked up in the search path."""
    argv: tuple[str, ...]
    """Its arguments, argv[0] first: the path itself, or what `@` put in its place."""
    may_fail: bool = False
    """`-`: a failure counts as success."""
    expands_variables: bool = True
    """Without the prefix `:`."""
    privileges: str = ""
    """`+`, `!` or `!!`: as written, empty without."""

    def map(self, change: Callable[[str], str]) -> Command:
        """The command with a function applied to its path and each argument."""
        return replace(self, path=change(self.path), argv=tuple(map(change, self.argv)))


def read(value: str) -> tuple[Command, ...]:
    """The commands of a value, in order; specifiers and variables as written.

    Raises BadValue for what systemd would not run: a quote that is not closed, a prefix without a program, a relative
    path, a prefix given twice.
    """
    commands: list[Command] = []
    offset = 0
    while True:
        first = next_word(value, offset, escapes=Escapes.RELAXED)
        if first is None:
            return tuple(commands)
        offset = first.end
        if first.text == ";":
            continue  # nothing before the separator
        words: list[str] = []
        while True:
            offset = skip_blanks(value, offset)
            if _is_lone(value, offset, ";"):
                offset += 1
                break
            if _is_lone(value, offset, "\\;"):
                words.append(";")
                offset += 2
                continue
            word = next_word(value, offset, escapes=Escapes.RELAXED)
            if word is None:
                break
            words.append(word.text)
            offset = word.end
        commands.append(_command(first.text, words, offset=first.start))


def _command(first: str, words: list[str], *, offset: int) -> Command:
    prefixes, path = _split_prefixes(first)
    if not path:
        raise BadValue("no program to run", offset=offset, hint="write /usr/bin/PROGRAM")
    if any(prefixes.count(char) > 1 for char in "-@:+") or prefixes.count("!") > 2:
        raise BadValue(f"a prefix is given twice in '{prefixes}'", offset=offset)
    privileges = "".join(char for char in prefixes if char in "+!")
    if "+" in privileges and "!" in privileges:
        raise BadValue("'+' and '!' exclude each other", offset=offset)
    if path.endswith("/"):
        raise BadValue(f"'{path}' is a directory", offset=offset)
    if "/" in path and path[0] not in "/%":
        raise BadValue(
            f"'{path}' is a relative path",
            offset=offset,
            hint="write an absolute path, or a bare name to look it up",
        )
    argv0 = path
    if "@" in prefixes:
        if not words:
            raise BadValue("'@' needs a second word, the program's argv[0]", offset=offset)
        argv0, *words = words
    return Command(
        path=path,
        argv=(argv0, *words),
        may_fail="-" in prefixes,
        expands_variables=":" not in prefixes,
        privileges=privileges,
    )


def _split_prefixes(word: str) -> tuple[str, str]:
    path = word.lstrip("-@:+!")
    return word[: len(word) - len(path)], path


def _is_lone(value: str, offset: int, token: str) -> bool:
    """Whether the token stands at the offset as a word by itself, unquoted."""
    end = offset + len(token)
    return value.startswith(token, offset) and (end == len(value) or value[end] in SEPARATORS)
