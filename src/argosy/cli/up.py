"""Run an app on this machine: server, agent and units in one process, until Ctrl-C.

DIR is a directory of unit files, by default the present one. A second `up` finds the first, applies what changed in DIR,
says what that was, and follows. Ctrl-C in the first stops everything and leaves nothing behind; with --detach it goes on
in the background until `argosy down`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from argosy import appdir, client
from argosy.cli import exits, following, listening, shutdown, submitting, terminal
from argosy.cli.judging import Goal, Outcome
from argosy.cli.local import Foreground, start_background
from argosy.cli.logs import Printer
from argosy.cli.waiting import NAMED_AT_MOST
from argosy.client import Client, StateView, Submission, Submitted
from argosy.daemon.local import LocalSettings
from argosy.errors import Invalid, NotFound, ServerUnreachable
from argosy.settings import RuntimeKind
from argosy.units import app as apps
from argosy.units import names

LINES_BEFORE = 50
"""How much of what the units wrote while they came up is shown."""
DOWN_SECONDS = 5.0
"""How long a daemon whose API is gone may take to end, if it was told to."""
WILDCARDS = ("0.0.0.0", "[::]")  # noqa: S104 - compared with, not bound to


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the app")
    parser.add_argument(
        "--env", metavar="NAME", help="give units the variables of environments/NAME.env"
    )
    parser.add_argument(
        "-d", "--detach", action="store_true", help="return when the units run, and keep them"
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default="",
        help="answer the HTTP API there too; loopback addresses only",
    )
    parser.add_argument(
        "--runtime",
        choices=[str(RuntimeKind.PROCESS), str(RuntimeKind.SYSTEMD)],
        help="run units as plain processes (default), or by this user's own systemd",
    )
    parser.add_argument(
        "--timeout",
        type=following.duration,
        default=following.TIMEOUT_SECONDS,
        metavar="TIME",
        help="how long to wait for the units to come up (default 60s)",
    )


def run(args: argparse.Namespace) -> int:
    directory = Path(args.directory).resolve()
    app = _read(directory)
    submissions = _submissions(app, directory, args.env)
    here = Client.of_this_user(args.endpoint)
    if here.is_there():
        if args.listen:
            raise Invalid(
                "the cluster runs already, and where it listens was decided when it started",
                hint="argosy down, then this command again",
            )
        if args.runtime:
            raise Invalid(
                "the cluster runs already, and what runs its units was decided when it started",
                hint="argosy down, then this command again",
            )
        return _join(here, directory, submissions, args)
    state = client.state_dir()
    runtime = RuntimeKind(args.runtime or RuntimeKind.PROCESS)
    if args.detach:
        start_background(state, listen=args.listen, runtime=runtime)
        return _join(here, directory, submissions, args)
    # A closed terminal and a polite kill mean what Ctrl-C means.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    daemon = Foreground(LocalSettings(directory=state, listen=args.listen, runtime=runtime))
    daemon.start()
    return _own(daemon, here, directory, submissions, args)


def _own(
    daemon: Foreground,
    here: Client,
    directory: Path,
    submissions: list[Submission],
    args: argparse.Namespace,
) -> int:
    """Run the app on the daemon of this process until Ctrl-C, or until somebody else runs `argosy down`."""
    try:
        try:
            code = _apply(here, directory, submissions, args, is_over=lambda: daemon.has_ended)
            _follow_output(here, submissions, args, end="Ctrl-C stops everything.")
        except ServerUnreachable:
            if not daemon.wait(DOWN_SECONDS):
                raise
            return exits.DONE
        daemon.wait()
    except BaseException as problem:
        if not daemon.has_ended:
            shutdown.stop_own(daemon, here, args)
        if isinstance(problem, KeyboardInterrupt):
            return exits.DONE
        raise
    return code


def _join(
    here: Client, directory: Path, submissions: list[Submission], args: argparse.Namespace
) -> int:
    """Run the app on a daemon that is there."""
    code = _apply(here, directory, submissions, args)
    if args.detach:
        if not args.json:
            print("It goes on in the background.  -> argosy logs -f, argosy down")
        return code
    with contextlib.suppress(KeyboardInterrupt):
        _follow_output(here, submissions, args, end="Ctrl-C ends this view only.")
    return code


def _read(directory: Path) -> apps.App:
    app = apps.load(appdir.read_app(directory))
    for warning in app.warnings:
        print(warning, file=sys.stderr)
    app.raise_for_errors()
    if not app.units:
        raise NotFound(
            f"there are no unit files in {directory}", hint="give an app's directory: argosy up DIR"
        )
    return app


def _submissions(app: apps.App, directory: Path, environment: str | None) -> list[Submission]:
    variables: Mapping[str, str] = {}
    if environment is not None:
        if environment not in app.environments:
            known = ", ".join(sorted(app.environments)) or "none"
            raise NotFound(
                f"there is no environments/{environment}.env in {directory}",
                hint=f"the app's environments: {known}",
            )
        variables = app.environments[environment]
    variables = {"ARGOSY_APP_DIR": str(directory), **variables}
    return [
        Submission(
            name,
            bytes(checked.text),
            # A template cannot run; its instances can.
            "inactive" if names.parse(name).is_template else "launched",
            variables,
        )
        for name, checked in app.units.items()
    ]


def _apply(
    here: Client,
    directory: Path,
    submissions: list[Submission],
    args: argparse.Namespace,
    *,
    is_over: Callable[[], bool] = lambda: False,
) -> int:
    """Submit the app, show its units coming up and where they listen. Returns the exit code for how they stand."""
    launched = _launched(submissions)
    before = _rows(here, launched)
    submitted = here.submit(submissions, app=directory.name, prune=True, replace=True)
    # Launched and not running: failed, or never started because something that it requires failed.
    stuck = sorted({row["name"] for row in before if _is_stuck(row)})
    if stuck:
        here.change(stuck, start=True)
    if not args.json:
        _say_what_changed(submitted, directory, args, is_first=not before)
    wanted = following.wishes(Goal.RUNNING, launched, before, changes=submitted["changes"])
    verdicts, in_time = following.wait(here, wanted, args, is_over=is_over)
    running = [name for name, one in verdicts.items() if one.outcome is Outcome.DONE]
    addresses = _addresses(here, running)
    if args.json:
        units = {name: verdict.outcome.value for name, verdict in verdicts.items()}
        said = {"units": units, "listening": addresses, "changes": submitted["changes"]}
        print(json.dumps(said), flush=True)
    else:
        if not in_time:
            print(f"argosy: still waiting after {args.timeout:g} s; it goes on", file=sys.stderr)
        _say_where_things_listen(addresses, args)
    return following.code(verdicts)


def _launched(submissions: Sequence[Submission]) -> list[str]:
    return [one.name for one in submissions if one.desired == "launched"]


def _is_stuck(row: StateView) -> bool:
    return row["active"] == "failed" or (row["active"] == "inactive" and not row["has_run"])


def _follow_output(
    here: Client, submissions: Sequence[Submission], args: argparse.Namespace, *, end: str
) -> None:
    """Print what the units wrote last and go on until the stream ends."""
    if not args.json:
        print(terminal.style(args).dim(f"Following the output. {end}"), flush=True)
    launched = _launched(submissions)
    show = Printer(launched, args)
    names = launched if len(launched) <= NAMED_AT_MOST else ["*"]
    with here.logs(names, lines=LINES_BEFORE, follow=True) as lines:
        for line in lines:
            show(line)
            sys.stdout.flush()


def _rows(here: Client, names: Sequence[str]) -> list[StateView]:
    wanted = set(names)
    asked = names if len(names) <= NAMED_AT_MOST else ()
    return [row for row in here.states(asked) if row["name"] in wanted]


def _say_what_changed(
    submitted: Submitted, directory: Path, args: argparse.Namespace, *, is_first: bool
) -> None:
    style = terminal.style(args)
    lines = submitting.changes(submitted["changes"], style)
    if is_first and lines:
        print(style.bold(f"{directory.name}: {len(lines)} unit files and instances"))
    elif not lines:
        print(f"{directory.name}: nothing changed")
    else:
        print(style.bold(f"{directory.name}: {len(lines)} changed"))
        for change in submitted["changes"]:
            for line in [
                *submitting.changes([change], style),
                *submitting.diff_lines(change, style),
            ]:
                print(f"  {line}")
    for warning in submitted["warnings"]:
        print(terminal.printable(warning), file=sys.stderr)


def _addresses(here: Client, running: list[str]) -> dict[str, list[str]]:
    pids = {
        row["name"]: row["main_pid"] for row in here.states(running) if row["main_pid"] is not None
    }
    return listening.listening(pids)


def _say_where_things_listen(addresses: Mapping[str, list[str]], args: argparse.Namespace) -> None:
    if not addresses:
        return
    style = terminal.style(args)
    width = max(map(len, addresses))
    print("\nListening:")
    for name in sorted(addresses):
        places = ", ".join(_as_typed(address) for address in addresses[name])
        print(f"  {name.ljust(width)}  {style.bold(places)}")
    print()


def _as_typed(address: str) -> str:
    """An address that can be typed: a wildcard is reached at localhost."""
    host, _, port = address.rpartition(":")
    return f"localhost:{port}" if host in WILDCARDS else address
