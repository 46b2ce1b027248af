"""The command `argosy`: finds the verb, runs it, turns errors into words and exit codes.

Each verb is a module of this package with `configure(parser)` and `run(args) -> int`; its docstring is its help text, so
it is written for users. Only the module of the verb that was typed is imported, so that `argosy --help` and shell
completion cost little more than the interpreter. To add a verb, write the module and name it in VERBS. A verb may be two
words: `server init` is the module `server_init`.

Global options may stand before or after the verb.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol, cast

from argosy import __version__, errors
from argosy.cli import exits, terminal

VERBS: Mapping[str, Mapping[str, str]] = {
    "On this machine": {
        "up": "run an app here: server, agent and units in one process",
        "down": "stop what `up` started",
        "run": "run one command or image as a unit",
    },
    "Change what runs": {
        "submit": "put unit files into the cluster, started or not as before",
        "load": "place units on machines without starting them",
        "start": "start units",
        "stop": "stop units; they stay loaded",
        "restart": "stop and start units",
        "unload": "take units off their machines; they stay in the cluster",
        "destroy": "take units out of the cluster",
    },
    "Look": {
        "status": "how units are, and why",
        "logs": "what units print",
        "why": "why a unit is where it is, or nowhere",
        "events": "what happened",
        "cat": "a unit's text",
        "list-units": "units on machines and their states",
        "list-unit-files": "units in the cluster and what is wanted of them",
        "list-machines": "machines",
        "machines": "how machines are, and why",
        "journal": "a machine's own journal",
    },
    "Operate machines": {
        "machine show": "how a machine is",
        "machine set": "set metadata of a machine",
        "machine unset": "take metadata of a machine away",
        "machine remove": "take a machine out of the cluster",
        "cordon": "give machines no more units",
        "uncordon": "let machines have units again",
        "drain": "move a machine's units to others",
        "undrain": "let machines have units again",
        "rebalance": "even out how many units machines have",
        "exec": "run a command on a machine",
    },
    "Run a cluster": {
        "server": "run this host's server",
        "server init": "make a cluster, with this host as its first server",
        "server join": "make this host another server of a cluster",
        "agent": "run this machine's agent",
        "join": "make this host a machine of a cluster",
        "token create": "make a token for a machine, a server or a person",
        "token list": "tokens, without their secrets",
        "token revoke": "make a token worth nothing",
        "login": "use a cluster from this account",
        "logout": "forget where you are logged in",
        "backup": "write the cluster's records to a file",
        "restore": "put a backup into an empty store",
        "store migrate": "move the records between SQLite and etcd",
    },
    "Check": {
        "verify": "check unit files; needs no server",
        "doctor": "look for what is wrong with this installation",
        "version": "versions of this program and the server",
        "completion": "a completion script for bash, zsh or fish",
    },
}
"""What people can type, as `argosy --help` shows it: verbs with their summaries, under headings."""

HIDDEN: frozenset[str] = frozenset({"complete"})
"""Verbs that programs call: the words that a completion script asks for."""

SYNONYMS: Mapping[str, str] = {
    "deploy": "up",
    "log": "logs",
    "ps": "list-units",
    "ls": "list-units",
    "units": "list-units",
    "nodes": "machines",
    "ssh": "exec",
    "delete": "destroy",
    "rm": "destroy",
    "remove": "destroy",
    "kill": "stop",
    "show": "status",
    "describe": "why",
    "explain": "why",
    "validate": "verify",
    "check": "verify",
    "help": "--help",
}
"""What people type who come from elsewhere; suggested, never run."""


HELP_COLUMNS = 100


class Verb(Protocol):
    """What the module of a verb has. TAKES_A_COMMAND = True, where it has it, leaves options after the first name alone."""

    __name__: str
    __doc__: str | None

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add its arguments. Must not do I/O: completion and documentation tests call it too."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return an exit code. Raises ArgosyError; main prints it."""


class _HelpFormatter(argparse.HelpFormatter):
    """Knows the terminal's width without `shutil`, whose import would be a tenth of what `--help` costs."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(terminal.size().columns - 2, HELP_COLUMNS))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Paragraphs are filled; those with indented lines, which are examples, stay as they are."""
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            one
            if "\n  " in f"\n{one}"
            else super(_HelpFormatter, self)._fill_text(one, width, indent)
            for one in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """Wrong usage is an error like others: two lines, exit code 64."""

    def arguments(self) -> list[argparse.Action]:
        """All that it takes, options and others: for completion scripts and the documentation's test."""
        return [one for one in self._actions if one.help != argparse.SUPPRESS]

    def error(self, message: str) -> NoReturn:
        raise errors.Invalid(message, hint=f"{self.prog} --help")


def entry() -> NoReturn:
    """What the console script calls."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that has no sign for something shows a question mark, not an error.
            stream.reconfigure(errors="replace")
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command line. Returns its exit code; prints errors, raises none."""
    code = _guarded(argv)
    try:
        sys.stdout.flush()
    except OSError as problem:
        # Python flushes once more at exit: that must not fail, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _foreign(problem)
    return code


def load(verb: str) -> Verb:
    """The module of a verb. Raises Invalid, with the nearest verb as the hint, when there is none."""
    if verb not in HIDDEN and not _is_verb(verb):
        raise errors.Invalid(f"there is no verb '{verb}'", hint=_suggestion(verb))
    return cast(Verb, importlib.import_module(module_name(verb)))


def module_name(verb: str) -> str:
    """`argosy.cli.server_init` of `server init`."""
    return f"argosy.cli.{verb.replace('-', '_').replace(' ', '_')}"


def verb_parser(verb: str, module: Verb) -> Parser:
    """The complete parser of a verb: its own arguments and the global ones."""
    text = (module.__doc__ or "").strip()
    parser = Parser(
        prog=f"argosy {verb}",
        description=text,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    _add_global_options(parser.add_argument_group("global options"))
    return parser


def overview() -> str:
    """What `argosy --help` prints."""
    lines = ["Runs systemd units and containers over a fleet of Linux machines.", ""]
    lines.append("usage: argosy [--endpoint URL] [--json] [--no-color] VERB ...")
    for heading, verbs in VERBS.items():
        lines += ["", f"{heading}:"]
        lines += [f"  {verb:<16} {summary}" for verb, summary in verbs.items()]
    lines += ["", "argosy VERB --help tells more. First steps: argosy up DIR", ""]
    return "\n".join(lines)


def _guarded(argv: Sequence[str]) -> int:
    # Known before anything is parsed: also a wrong option is to be reported in the form that was asked for.
    as_json = "--json" in argv
    verb = ""
    try:
        args = _top_parser().parse_args(argv)
        verb = args.verb or ""
        if not verb:
            print(overview(), end="")
            return exits.DONE if args.help else exits.USAGE
        verb, words = _whole(verb, args.words)
        return _run(verb, ["--help"] if args.help else words, args)
    except errors.ArgosyError as error:
        code = exits.report(error, verb=verb, as_json=as_json)
        if os.environ.get("ARGOSY_DEBUG"):
            sys.excepthook(*sys.exc_info())  # what prints tracebacks, without the import of one
        return code
    except SystemExit as end:  # how argparse leaves after --help
        return end.code if isinstance(end.code, int) else exits.DONE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except OSError as problem:
        return _foreign(problem, as_json=as_json)
    except Exception as bug:
        if os.environ.get("ARGOSY_DEBUG"):
            raise
        told = errors.Permanent(
            f"this is a bug of argosy: {type(bug).__name__}: {bug}",
            hint="run it again with ARGOSY_DEBUG=1 and report what it prints",
        )
        return exits.report(told, verb=verb, as_json=as_json)


def _foreign(problem: OSError, *, as_json: bool = False) -> int:
    """What the system refused and no verb expected: a full disk under the output, a file that went away."""
    if isinstance(problem, BrokenPipeError):
        return exits.BROKEN_PIPE
    where = f"{problem.filename}: " if problem.filename else ""
    told = errors.Permanent(f"{where}{problem.strerror or problem}")
    return exits.report(told, as_json=as_json)


def _whole(verb: str, words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The verb with its second word, if it has one, and the words behind it."""
    if words and _is_verb(f"{verb} {words[0]}"):
        return f"{verb} {words[0]}", words[1:]
    return verb, words


def _seconds(verb: str) -> Mapping[str, str]:
    """The verbs that begin with this word and go on, with their summaries."""
    every = [item for group in VERBS.values() for item in group.items()]
    return {name: summary for name, summary in every if name.startswith(f"{verb} ")}


def _run(verb: str, words: Sequence[str], namespace: argparse.Namespace) -> int:
    if not _is_verb(verb) and (seconds := _seconds(verb)):
        if words and words[0] not in ("-h", "--help"):
            raise errors.Invalid(
                f"there is no verb '{verb} {words[0]}'", hint=f"one of: {', '.join(seconds)}"
            )
        print("\n".join(f"  {name:<16} {summary}" for name, summary in seconds.items()))
        return exits.DONE if words else exits.USAGE
    module = load(verb)
    parser = verb_parser(verb, module)
    # Options may stand between names, except where everything after the first name belongs to a command to be run.
    if getattr(module, "TAKES_A_COMMAND", False):
        args = parser.parse_args(words, namespace)
    else:
        args = parser.parse_intermixed_args(words, namespace)
    return module.run(args)


def _top_parser() -> Parser:
    parser = Parser(prog="argosy", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="version", version=f"argosy {__version__}")
    parser.set_defaults(endpoint=None, json=False, no_color=False)
    _add_global_options(parser)
    parser.add_argument("verb", nargs="?")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    return parser


def _add_global_options(parser: argparse._ActionsContainer) -> None:
    # Nothing is stored for an option that is not given: before the verb and after it fill the same namespace.
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        default=argparse.SUPPRESS,
        help="the server: https://HOST:7440, unix:///path/of/socket or http://127.0.0.1:PORT; else $ARGOSY_ENDPOINT, "
        "else where you are logged in, else your own `argosy up`, else this host's server",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print JSON, also for errors",
    )
    parser.add_argument(
        "--no-color",
        action="store_true",
        default=argparse.SUPPRESS,
        help="no colours; so does $NO_COLOR",
    )


def _is_verb(verb: str) -> bool:
    return any(verb in group for group in VERBS.values())


def _suggestion(word: str) -> str:
    verbs = [verb for group in VERBS.values() for verb in group]
    if word in SYNONYMS:
        return f"argosy {SYNONYMS[word]}"
    near = [verb for verb in verbs if len(word) > 2 and verb.startswith(word)]
    near += difflib.get_close_matches(word, verbs, n=1)
    return f"argosy {near[0]}" if near else "argosy --help"
