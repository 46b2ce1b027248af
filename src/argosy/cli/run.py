"""Run one command, or one image, as a unit, without a file.

  argosy run python3 -m http.server 8080
  argosy run --publish 8080:80 docker.io/library/nginx

The first word is a command when it is a program on this machine, else an image. `argosy cat NAME` gives the unit back as a
file. Without a cluster, one is started in the background, as by `argosy up --detach`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from argosy import client
from argosy.cli import exits, following, terminal
from argosy.cli.judging import Goal
from argosy.cli.local import start_background
from argosy.client import Client, Submission
from argosy.errors import Invalid
from argosy.units import check, names, quoting

TAKES_A_COMMAND = True
RESTARTS = ("no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="the unit's name; by default after the command or image")
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an environment variable",
    )
    parser.add_argument(
        "--restart", choices=RESTARTS, default="no", help="systemd's Restart= (default no)"
    )
    parser.add_argument(
        "-p",
        "--publish",
        action="append",
        default=[],
        metavar="HOST:CONTAINER",
        help="publish a container's port",
    )
    parser.add_argument(
        "-v",
        "--volume",
        action="append",
        default=[],
        metavar="HOST:CONTAINER",
        help="mount a directory into a container",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--command", action="store_true", help="the first word is a command")
    kind.add_argument("--image", action="store_true", help="the first word is an image")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the unit file; run nothing, need no server"
    )
    following.add_options(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="IMAGE-or-COMMAND [ARG ...]")


def run(args: argparse.Namespace) -> int:
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise Invalid("run what?", hint="argosy run COMMAND [ARG ...], or argosy run IMAGE")
    program = None if args.image else shutil.which(words[0])
    if args.command and program is None:
        raise Invalid(f"there is no program {words[0]} on this machine", hint=f"which {words[0]}")
    if program is not None:
        text = _service(str(Path(program).absolute()), words[1:], args)
    else:
        text = _container(words[0], words[1:], args)
    wished = args.name or _name_after(words[0])
    if args.dry_run:
        print(text, end="")
        return exits.DONE
    here = Client.find(args.endpoint)
    if not here.is_there() and args.endpoint is None:
        start_background(client.state_dir(), listen="")
        if not args.json:
            print("Started a cluster in the background.  -> argosy down ends it")
    name = _full(wished) if args.name else _free(here, wished)
    check.check(name, text.encode()).raise_for_errors()
    submitted = here.submit([Submission(name, text.encode(), "launched")])
    for warning in submitted["warnings"]:
        print(terminal.printable(warning), file=sys.stderr)
    wanted = following.wishes(Goal.RUNNING, [name], [], changes=submitted["changes"])
    code = following.follow(here, wanted, args)
    if not args.json:
        print(f"-> argosy logs -f {name}, argosy cat {name}, argosy destroy {name}")
    return code


def _service(program: str, arguments: list[str], args: argparse.Namespace) -> str:
    for option in ("publish", "volume"):
        if getattr(args, option):
            raise Invalid(
                f"--{option} is for containers, and {program} is a command",
                hint="say --image to run an image of that name",
            )
    command = " ".join(_literal(word) for word in [program, *arguments])
    return _text(
        [
            "[Unit]",
            f"Description={_one_line(' '.join([Path(program).name, *arguments]))}",
            "",
            "[Service]",
            "Type=exec",
            f"WorkingDirectory={str(Path.cwd()).replace('%', '%%')}",
            *(
                f"Environment={_literal(_assignment(pair), has_variables=False)}"
                for pair in args.env
            ),
            f"ExecStart={command}",
            f"Restart={args.restart}",
        ]
    )


def _container(image: str, arguments: list[str], args: argparse.Namespace) -> str:
    lines = ["[Unit]", f"Description={_one_line(image)}", "", "[Container]", f"Image={image}"]
    if arguments:
        lines.append(f"Exec={' '.join(_literal(word) for word in arguments)}")
    lines += (
        f"Environment={_literal(_assignment(pair), has_variables=False)}" for pair in args.env
    )
    lines += (f"PublishPort={value}" for value in args.publish)
    lines += (f"Volume={value}" for value in args.volume)
    return _text([*lines, "", "[Service]", f"Restart={args.restart}"])


def _literal(word: str, *, has_variables: bool = True) -> str:
    """The word so that neither specifiers nor, where there are any, variables are found in it."""
    word = word.replace("%", "%%")
    return quoting.quote(word.replace("$", "$$") if has_variables else word)


def _assignment(pair: str) -> str:
    key, equals, _ = pair.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        raise Invalid(f"{pair!r} is no KEY=VALUE", hint="-e PORT=8080")
    return pair


def _one_line(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return printable.replace("%", "%%").rstrip("\\ ")[:200]


def _text(lines: list[str]) -> str:
    for line in lines:
        if any(ord(char) < 32 or ord(char) == 127 for char in line):
            raise Invalid("a unit file cannot hold this control character", hint=repr(line)[:80])
    return "".join(line + "\n" for line in lines)


def _name_after(word: str) -> str:
    """`nginx` for docker.io/library/nginx:1.27, `python3` for /usr/bin/python3."""
    last = word.rstrip("/").rpartition("/")[2].partition(":")[0].partition("@")[0]
    return re.sub(r"[^A-Za-z0-9_.-]", "-", last).strip("-.") or "unit"


def _full(name: str) -> str:
    """With the type, if it has none. Raises Invalid for what is no unit's name."""
    full = name if name.endswith(".service") else f"{name}.service"
    return names.parse(full).full


def _free(here: Client, wished: str) -> str:
    """The name, or the first of NAME-2, NAME-3 ... that no unit has."""
    taken = {unit["name"] for unit in here.units([f"{wished}*"])}
    numbered = (wished if number == 1 else f"{wished}-{number}" for number in range(1, 10_000))
    return _full(next(name for name in numbered if f"{name}.service" not in taken))
