"""Run a command on a machine, through the servers, as its agent's user; no SSH is needed.

  argosy exec db1 -- df -h
  argosy exec -t web.service -- bash
  tar c site | argosy exec web1 -- tar x -C /srv

Input, output and exit code are the command's. A unit means its machine: the command runs beside it, not in it. Ctrl-C
ends the command. There is no shell in between: for pipes and globs run one, `-- sh -c '...'`.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from argosy.cli import targets, terminal
from argosy.cli.keyboard import Keyboard, raw_terminal
from argosy.client import Client, Execution, Output
from argosy.errors import Invalid, NotFound, ServerUnreachable

TAKES_A_COMMAND = True


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-t", "--tty", action="store_true", help="give it a terminal: for shells, editors, top"
    )
    parser.add_argument(
        "--no-input", action="store_true", help="give it no input, and leave this one's unread"
    )
    targets.add(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND [ARG ...]")


def run(args: argparse.Namespace) -> int:
    argv = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not argv:
        raise Invalid("run which command?", hint=f"argosy exec {args.target} -- uptime")
    if args.tty and not (sys.stdin and sys.stdin.isatty()):
        raise Invalid("-t is for terminals, and the input is none", hint="leave -t out")
    if args.tty and (args.json or args.no_input):
        raise Invalid("-t goes with neither --json nor --no-input", hint="leave one of them out")
    client = Client.find(args.endpoint)
    machine = targets.find(client, args).machine
    # The real size: $COLUMNS is for what this program prints itself.
    size = os.get_terminal_size(sys.stdin.fileno()) if args.tty else terminal.size()
    with ExitStack() as stack:
        execution = stack.enter_context(
            client.exec(
                machine,
                argv,
                terminal=args.tty,
                rows=size.lines,
                columns=size.columns,
                term=os.environ.get("TERM", "") if args.tty else "",
            )
        )
        if args.tty:
            stack.enter_context(raw_terminal(sys.stdin.fileno()))
        if args.no_input or sys.stdin is None:
            with suppress(NotFound):  # it has ended already
                execution.send(is_end=True)
        else:
            stack.enter_context(_typing(execution, is_terminal=args.tty))
        return _shown(execution, as_json=args.json)


def _shown(execution: Execution, *, as_json: bool) -> int:
    """Pass on what the command writes; its exit code."""
    for output in execution:
        if as_json:
            print(json.dumps(_as_json(output)), flush=True)
        else:
            for stream, data in ((sys.stdout, output.out), (sys.stderr, output.err)):
                stream.buffer.write(data)
                stream.flush()
        if output.exit_code is not None:
            if output.signal and not as_json and sys.stderr.isatty():
                print(f"argosy: ended by {output.signal}", file=sys.stderr)
            return output.exit_code
    raise ServerUnreachable(
        "the connection ended before the command did", hint="it was ended, too; run it again"
    )


def _as_json(output: Output) -> dict[str, object]:
    """As the API has it: bytes are base64."""
    if output.exit_code is not None:
        return {"exit_code": output.exit_code, "signal": output.signal}
    return {
        name: base64.b64encode(data).decode()
        for name, data in (("out", output.out), ("err", output.err))
        if data
    }


@contextmanager
def _typing(execution: Execution, *, is_terminal: bool) -> Iterator[None]:
    """While the body runs, pass on what comes from the standard input, and the terminal's new sizes."""
    keyboard = Keyboard(execution, sys.stdin.fileno())
    if not is_terminal:
        with keyboard:
            yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: keyboard.resized())
    try:
        with keyboard:
            yield
    finally:
        signal.signal(signal.SIGWINCH, before)
