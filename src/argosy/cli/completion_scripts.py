"""The completion scripts themselves, from what each verb takes.

They know verbs and options without running anything; for units and machines they run `argosy complete`. Bash takes `@` and
`:` for the ends of words, so a unit's name is put together from the line and cut again where bash wants it. A verb may be
two words, `server init`: its second word is offered behind the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    spellings: tuple[str, ...]
    help: str
    has_value: bool


@dataclass(frozen=True, slots=True)
class VerbWords:
    """What can stand behind a verb."""

    summary: str
    options: tuple[Option, ...]
    has_units: bool
    has_machines: bool
    has_files: bool

    @property
    def spellings(self) -> str:
        return " ".join(word for option in self.options for word in option.spellings)


Verbs = Mapping[str, VerbWords]


def _first_words(verbs: Verbs) -> Mapping[str, str]:
    """What can stand first, with a summary: verbs, and the first words of verbs that have two."""
    firsts = {name: words.summary for name, words in verbs.items() if " " not in name}
    seconds = _second_words(verbs)
    return {**firsts, **{f: ", ".join(s) for f, s in seconds.items() if f not in firsts}}


def _second_words(verbs: Verbs) -> Mapping[str, list[str]]:
    """First word -> the words that may follow it."""
    found: dict[str, list[str]] = {}
    for first, _, second in (name.partition(" ") for name in verbs):
        if second:
            found.setdefault(first, []).append(second)
    return found


_BASH = """\
# bash completion for argosy; made by `argosy completion bash`
_argosy() {{
    local line="${{COMP_LINE:0:COMP_POINT}}" word verb="" words options="" units="" machines="" files="" next=""
    local cur="${{line##*[[:space:]]}}" prev=""
    read -ra words <<< "${{line%"$cur"}}"
    for word in "${{words[@]:1}}"; do
        if [[ $word != -* && $prev != --endpoint ]]; then
            if [[ -z $verb ]]; then verb=$word; elif [[ "{pairs}" == *"|$verb $word|"* ]]; then verb="$verb $word"; fi
        fi
        prev=$word
    done
    case $verb in
{nexts}
    esac
    case $verb in
        "") options="{verbs} --endpoint --json --no-color --help --version" ;;
{cases}
    esac
    COMPREPLY=()
    if [[ $prev == --machine ]]; then
        COMPREPLY=($(compgen -W "$(argosy complete machines 2>/dev/null)" -- "$cur"))
    elif [[ -z $verb || $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    else
        [[ $next ]] && COMPREPLY=($(compgen -W "$next" -- "$cur"))
        [[ $units ]] && COMPREPLY=($(compgen -W "$(argosy complete units 2>/dev/null)" -- "$cur"))
        [[ $machines ]] && COMPREPLY+=($(compgen -W "$(argosy complete machines 2>/dev/null)" -- "$cur"))
        [[ $files ]] && COMPREPLY+=($(compgen -f -- "$cur"))
    fi
    # Bash replaces only what stands behind the last of these signs.
    local sign done
    for sign in @ :; do
        if [[ $cur == *$sign* && $COMP_WORDBREAKS == *$sign* ]]; then
            done="${{cur%"${{cur##*"$sign"}}"}}"
            COMPREPLY=("${{COMPREPLY[@]#"$done"}}")
            cur="${{cur#"$done"}}"
        fi
    done
}}
complete -o filenames -F _argosy argosy
"""


def bash(verbs: Verbs) -> str:
    cases = "\n".join(
        f'        "{name}") options="{words.spellings}"'
        + (" units=1" if words.has_units else "")
        + (" machines=1" if words.has_machines else "")
        + (" files=1" if words.has_files else "")
        + " ;;"
        for name, words in verbs.items()
    )
    nexts = "\n".join(
        f'        {first}) next="{" ".join(seconds)}" ;;'
        for first, seconds in _second_words(verbs).items()
    )
    pairs = "".join(f"|{name}|" for name in verbs if " " in name)
    return _BASH.format(verbs=" ".join(_first_words(verbs)), cases=cases, nexts=nexts, pairs=pairs)


_ZSH = """\
#compdef argosy
# zsh completion for argosy; made by `argosy completion zsh`
_argosy_units() {{ compadd -- ${{(f)"$(argosy complete units 2>/dev/null)"}} }}
_argosy_machines() {{ compadd -- ${{(f)"$(argosy complete machines 2>/dev/null)"}} }}
_argosy_units_and_files() {{ _argosy_units; _files }}
_argosy_units_and_machines() {{ _argosy_units; _argosy_machines }}
_argosy() {{
    local -a verbs
    verbs=(
{verbs}
    )
    local context state line
    typeset -A opt_args
    _arguments -C '--endpoint=[the server]:url:' '--json' '--no-color' '1:verb:->verb' '*::word:->words'
    case $state in
        verb) _describe verb verbs ;;
        words)
            local verb=$line[1]
            if (( CURRENT == 2 )); then
                case $verb in
{nexts}
                esac
            elif [[ "{pairs}" == *"|$verb $words[2]|"* ]]; then
                verb="$verb $words[2]"
                shift words
                (( CURRENT-- ))
            fi
            case $verb in
{cases}
            esac ;;
    esac
}}
if [[ $funcstack[1] == _argosy ]]; then _argosy "$@"; else compdef _argosy argosy; fi
"""


def zsh(verbs: Verbs) -> str:
    listed = "\n".join(f"        {_quoted(f'{n}:{s}')}" for n, s in _first_words(verbs).items())
    nexts = "\n".join(
        f"                    {first}) compadd -- {' '.join(seconds)} ;;"
        for first, seconds in _second_words(verbs).items()
    )
    pairs = "".join(f"|{name}|" for name in verbs if " " in name)
    cases = "\n".join(
        f"                '{name}') _arguments -s {' '.join(_zsh_arguments(words))} ;;"
        for name, words in verbs.items()
    )
    return _ZSH.format(verbs=listed, cases=cases, nexts=nexts, pairs=pairs)


def _zsh_arguments(words: VerbWords) -> Iterator[str]:
    for option in words.options:
        text = option.help.replace("[", "(").replace("]", ")").replace(":", ",")
        for spelling in option.spellings:
            action = "_argosy_machines" if spelling == "--machine" else ""
            value = f":value:{action}" if option.has_value else ""
            yield _quoted(f"{spelling}[{text}]{value}")
    if words.has_machines:
        both = "_argosy_units_and_machines"
        yield f"'*:machine:{both if words.has_units else '_argosy_machines'}'"
    elif words.has_units:
        yield "'*:unit:_argosy_units_and_files'" if words.has_files else "'*:unit:_argosy_units'"
    elif words.has_files:
        yield "'*:file:_files'"


def fish(verbs: Verbs) -> str:
    lines = [
        "# fish completion for argosy; made by `argosy completion fish`",
        "complete -c argosy -f",
        "complete -c argosy -l endpoint -x -d 'the server'",
    ]
    for first, summary in _first_words(verbs).items():
        lines.append(
            f"complete -c argosy -n __fish_use_subcommand -a {first} -d {_quoted(summary)}"
        )
    seconds = _second_words(verbs)
    for name, words in verbs.items():
        first, _, second = name.partition(" ")
        seen_first = f"__fish_seen_subcommand_from {first}"
        others = f"__fish_seen_subcommand_from {' '.join(seconds.get(first, []))}"
        if second:
            lines.append(
                f"complete -c argosy -n '{seen_first}; and not {others}' -a {second}"
                f" -d {_quoted(words.summary)}"
            )
            condition = f"{seen_first}; and __fish_seen_subcommand_from {second}"
        else:
            condition = f"{seen_first}; and not {others}" if first in seconds else seen_first
        seen = f"complete -c argosy -n '{condition}'"
        lines += [f"{seen} {_fish_option(option)}" for option in words.options]
        if words.has_units:
            lines.append(f"{seen} -a '(argosy complete units 2>/dev/null)'")
        if words.has_machines:
            lines.append(f"{seen} -a '(argosy complete machines 2>/dev/null)'")
        if words.has_files:
            lines.append(f"{seen} -F")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    spelled = " ".join(
        f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}" for word in option.spellings
    )
    value = ""
    if option.has_value:
        value = " -x -a '(argosy complete machines)'" if "machine" in spelled else " -x"
    return f"{spelled}{value} -d {_quoted(option.help)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "’") + "'"


SHELLS: Mapping[str, Callable[[Verbs], str]] = {"bash": bash, "fish": fish, "zsh": zsh}
