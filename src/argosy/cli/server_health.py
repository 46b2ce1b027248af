"""What `argosy doctor` asks the server: whether it answers, leads, keeps its store, and which of its units need help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from argosy import __version__, errors
from argosy.cli import cluster_health, moments, naming
from argosy.cli.findings import Finding, bad, good, warning
from argosy.cli.machine_health import look_at_machines
from argosy.client import Client, MachineView


def look_at_server(client: Client) -> Iterator[Finding]:
    try:
        version = client.version()
    except errors.ArgosyError as problem:
        yield bad("server", problem.message, problem.hint or "argosy up DIR")
        return
    yield good("server", f"answers at {client.endpoint}, revision {version['revision']}")
    if version["version"] == __version__:
        yield good("versions", f"this program and the server are {__version__}")
    else:
        yield warning(
            "versions",
            f"this program is {__version__}, the server {version['version']}",
            "neighbouring versions work together; upgrade the older one when you can",
        )
    try:
        yield from _look_at_parts(client)
        machines = client.machines()
        yield from _look_at_machines(machines)
        yield from look_at_machines(client, machines)
        yield from _look_at_units(client)
    except errors.ArgosyError as problem:
        yield bad("server", f"an answer failed: {problem.message}", problem.hint or "try again")


def _look_at_parts(client: Client) -> Iterator[Finding]:
    status = client.status()
    store = status["store"]
    size = f"{store['keys']} records, {store['bytes_used'] / 2**20:.1f} MiB"
    yield good("store", f"answers; {size}, revision {store['revision']}")
    try:
        health = client.health()
        yield from cluster_health.of_server(
            health, endpoint=str(client.endpoint), now=moments.now()
        )
    except errors.NotFound:
        yield warning("server", "is too old to say how it is", "upgrade it")
    if status["leader"] is None:
        yield bad("engine", "no server leads: nothing is decided", "look at the server's log")
    else:
        said = status["engine"]["sentence"] if status["engine"] else ""
        yield good("engine", f"{status['leader']} leads" + (f"; last turn: {said}" if said else ""))


def _look_at_machines(machines: Sequence[MachineView]) -> Iterator[Finding]:
    absent = [machine for machine in machines if machine["state"] in naming.ABSENT]
    if not machines:
        yield bad("machines", "none: no unit can run", "look at the agent's log")
    elif absent:
        first = absent[0]
        yield warning(
            "machines",
            f"{len(absent)} of {len(machines)} are absent, "
            f"first {first['hostname'] or first['id'][:8]}, {first['state']}: {first['why']}",
            "argosy machines",
        )
    else:
        closed = sum(machine["scheduling"] != "open" for machine in machines)
        text = f"{len(machines)}, all there" + (f", {closed} without new units" if closed else "")
        yield good("machines", text)
    others = [machine for machine in machines if machine["version"] not in ("", __version__)]
    if others:
        yield warning(
            "versions",
            f"{len(others)} machines run another version, {others[0]['version']}",
            "argosy list-machines --fields machine,hostname,version",
        )


def _look_at_units(client: Client) -> Iterator[Finding]:
    units, states = client.units(), client.states()
    failed = sorted({row["name"] for row in states if row["active"] == "failed"})
    pending = [unit["name"] for unit in units if unit["pending"]]
    if failed:
        yield warning(
            "units", f"{len(failed)} failed, first {failed[0]}", f"argosy status {failed[0]}"
        )
    if pending:
        yield warning(
            "units",
            f"{len(pending)} have no machine, first {pending[0]}",
            f"argosy why {pending[0]}",
        )
    if not failed and not pending:
        yield good("units", f"{len(units)}, none failed, none without a machine")
