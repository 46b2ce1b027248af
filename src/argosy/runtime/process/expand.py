"""Variables in command lines, exactly as systemd expands them when it runs a command. Pure.

Source: replace_env_argv and replace_env_full in env-util.c of systemd 252, systemd.service(5) "Command lines". What
surprises: `$NAME` counts only as a word of its own (it then becomes as many words as the value has, also none), `${NAME}`
anywhere, as is; `$NAME/x` is a word that begins with `$`, so it names the variable `NAME/x`, which never exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WHITESPACE = " \t\n\r"


def expand(argv: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """The words with their variables replaced. Unset variables are empty."""
    expanded: list[str] = []
    for word in argv:
        if word.startswith("$") and word[1:2] not in ("{", "$"):
            expanded += split(variables.get(word[1:], ""))
        else:
            expanded.append(_inline(word, variables))
    return expanded


def _inline(word: str, variables: Mapping[str, str]) -> str:
    if "$" not in word:
        return word
    pieces: list[str] = []
    at = 0
    while (dollar := word.find("$", at)) >= 0:
        following = word[dollar + 1 : dollar + 2]
        if following == "$":
            pieces.append(word[at : dollar + 1])
            at = dollar + 2
            continue
        end = word.find("}", dollar) if following == "{" else -1
        name = word[dollar + 2 : end]
        if end < 0 or ":" in name:
            # `$x`, an open `${`, and the shell's `${x:-y}` stay as they are.
            pieces.append(word[at : dollar + 1])
            at = dollar + 1
            continue
        pieces += word[at:dollar], variables.get(name, "")
        at = end + 1
    pieces.append(word[at:])
    return "".join(pieces)


def split(value: str) -> list[str]:
    """A value into words at white space; quotes hold words together, a backslash takes the next character as it is.

    A quote that is never closed ends with the value (EXTRACT_RELAX).
    """
    words: list[str] = []
    word: list[str] = []
    is_word = False
    quote = ""
    characters = iter(value)
    for character in characters:
        if character == "\\":
            word.append(next(characters, ""))
            is_word = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in "'\"":
            quote = character
            is_word = True
        elif character not in WHITESPACE:
            word.append(character)
            is_word = True
        elif is_word:
            words.append("".join(word))
            word, is_word = [], False
    if is_word:
        words.append("".join(word))
    return words
