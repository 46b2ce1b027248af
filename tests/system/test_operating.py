"""What people do with machines of a cluster, by the commands that they type: real servers, agents and TLS."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from argosy.cli import exits
from argosy.client import Endpoint
from argosy.client.calls import Calls
from argosy.client.connecting import Connector
from contract.etcd_kit import free_ports
from system.host_cluster import PRESENCE, HostCluster, as_json, host_cluster
from system.running import ARGOSY, eventually, get

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

GLOBAL = """[Service]
ExecStart=/bin/sh -c 'echo I am here; exec sleep 1000'
[X-Fleet]
Global=true
"""
METRICS = free_ports(2)
"""Of the server, and of the machine that is asked."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostCluster]:
    """One server and two machines, `m1` and `m2`, for all tests here."""
    with host_cluster(tmp_path_factory.mktemp("operating")) as made:
        made.init(settings=f'metrics_listen = "127.0.0.1:{METRICS[0]}"\n{PRESENCE}')
        token = made.token("machine", "--uses=2")
        made.join("--metadata=zone=a", token=token)
        made.join("--metadata=zone=b", token=token)
        yield made


def on(cluster: HostCluster, unit: str) -> list[str]:
    """The machines that run the unit."""
    return [row["machine"] for row in cluster.client.states([unit]) if row["active"] == "active"]


def open_again(cluster: HostCluster) -> None:
    ids = [machine.id for machine in cluster.machines]
    cluster.admin("undrain", *ids)


class Typed:
    """A command that runs while the test goes on, with its own end of a pipe or of a terminal."""

    def __init__(self, cluster: HostCluster, *words: str, terminal: bool = False) -> None:
        self.side, other = pty.openpty() if terminal else (-1, subprocess.PIPE)
        if terminal:
            termios.tcsetwinsize(other, (33, 111))
        self.process = subprocess.Popen(
            [ARGOSY, "--endpoint", f"unix://{cluster.server.socket}", *words],
            env={**cluster.environ, "TERM": "xterm", "COLUMNS": "200"},
            stdin=other,
            stdout=other,
            stderr=other if terminal else subprocess.PIPE,
            start_new_session=terminal,
        )
        self.said = b""
        if terminal:
            os.close(other)
            os.set_blocking(self.side, False)
        elif self.process.stdout:
            os.set_blocking(self.process.stdout.fileno(), False)

    def type(self, text: bytes) -> None:
        os.write(self.side, text)

    def read(self) -> bytes:
        """All that it has said so far."""
        side = self.side
        if side < 0:
            assert self.process.stdout
            side = self.process.stdout.fileno()
        with suppress(OSError):  # nothing there, or the terminal's other side is closed
            self.said += os.read(side, 65536)
        return self.said

    def says(self, text: bytes) -> None:
        eventually(lambda: text in self.read(), f"it says {text!r}", seconds=20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        if self.side >= 0:
            os.close(self.side)


def test_a_drained_machine_is_empty_and_its_units_run_elsewhere_before_the_verb_returns(
    cluster: HostCluster, tmp_path: Path
) -> None:
    first, second = cluster.machines
    everywhere = tmp_path / "everywhere.service"
    everywhere.write_text(GLOBAL)
    cluster.admin("start", str(everywhere))
    cluster.start_units("one.service", "two.service", "three.service", "four.service")
    mine = [n for n in ("one", "two", "three", "four") if on(cluster, f"{n}.service") == [first.id]]
    assert mine
    said = cluster.admin("drain", first.id[:12], "--yes", "--reason=new kernel")
    for name in mine:
        assert f"  {name}.service" in said
        assert on(cluster, f"{name}.service") == [second.id]
        assert cluster.starts(f"{name}.service") == [2]
    assert (
        said.splitlines()[-1] == f"{called(cluster)} is drained  -> argosy undrain {first.id[:8]}"
    )
    assert cluster.client.states(machine=first.id) == []
    assert on(cluster, "everywhere.service") == [second.id]
    assert "drained" in (listed := cluster.admin("machines")), listed
    assert "new kernel" in listed

    # The other one has nowhere to move them to: they stay, and it says so.
    said = cluster.admin("drain", second.id[:12], "--yes", status=exits.CANNOT_PLACE)
    assert "keeps 5" in said
    assert cluster.starts(*(f"{name}.service" for name in mine)) == [2] * len(mine)

    open_again(cluster)
    eventually(
        lambda: on(cluster, "everywhere.service") == sorted([first.id, second.id]),
        "the global unit is everywhere again",
    )
    said = cluster.admin("rebalance", "--yes", "--budget=2")
    assert said.startswith("2 units would move:\n")
    moved = [row["name"] for row in cluster.client.states(machine=first.id)]
    assert len(moved) == 3
    cluster.admin("destroy", "--yes", "one", "two", "three", "four", "everywhere")


def called(cluster: HostCluster) -> str:
    machine = next(m for m in cluster.client.machines() if m["id"] == cluster.machines[0].id)
    return f"{machine['hostname']} ({machine['id'][:8]}...)"


def test_whoever_says_no_to_a_plan_has_changed_nothing(cluster: HostCluster) -> None:
    machine = cluster.machines[0]
    for answer, ending in ((b"n", b"Nothing was changed.\r\n"), (b"y", b" is drained  -> argosy")):
        with closing(Typed(cluster, "drain", machine.id, terminal=True)) as typed:
            typed.says(b"Drain it? [y/N] ")
            assert b" has no units.\r\n" in typed.said
            assert cluster.state_of(machine) == "ready"
            typed.type(answer + b"\r")
            typed.says(ending)
            assert typed.process.wait(20) == exits.DONE
    assert cluster.state_of(machine) == "drained"
    open_again(cluster)


def test_a_drain_for_a_while_ends_by_itself(cluster: HostCluster) -> None:
    machine = cluster.machines[0]
    cluster.admin("drain", machine.id, "--yes", "--for=2s")
    assert cluster.state_of(machine) == "drained"
    eventually(lambda: cluster.state_of(machine) == "ready", "it is open again", seconds=10)
    cluster.admin("cordon", machine.id, "--for=1h", "--reason=looks ill")
    [row] = [row for row in as_json(cluster.admin("machines", "--json")) if row["id"] == machine.id]
    assert (row["state"], row["why"].endswith(": looks ill")) == ("cordoned", True)
    open_again(cluster)


def test_labels_decide_where_units_run(cluster: HostCluster, tmp_path: Path) -> None:
    first, second = cluster.machines
    unit = tmp_path / "ssd.service"
    unit.write_text("[Service]\nExecStart=/bin/sleep 1000\n[X-Fleet]\nMachineMetadata=disk=ssd\n")
    cluster.admin("start", str(unit), status=exits.CANNOT_PLACE)
    cluster.admin("machine", "set", second.id, "disk=ssd")
    eventually(lambda: on(cluster, "ssd.service") == [second.id], "it runs where the label is")
    cluster.admin("machine", "set", first.id, "disk=ssd")
    cluster.admin("machine", "unset", second.id, "disk")
    eventually(lambda: on(cluster, "ssd.service") == [first.id], "it goes where the label went")
    cluster.admin("machine", "unset", "--forget", first.id, "disk")
    cluster.admin("destroy", "ssd")


def test_a_command_has_input_output_and_its_exit_code(cluster: HostCluster) -> None:
    machine = cluster.machines[0].id
    data = os.urandom(3_000_000)
    done = subprocess.run(
        [ARGOSY, "--endpoint", f"unix://{cluster.server.socket}", "exec", machine, "--", "cat"],
        env=cluster.environ,
        input=data,
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data
    script = "read word; echo got $word; exit 9"
    done = subprocess.run(
        [
            ARGOSY,
            "--endpoint",
            f"unix://{cluster.server.socket}",
            "exec",
            machine,
            "sh",
            "-c",
            script,
        ],
        env=cluster.environ,
        input=b"hello\n",
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (9, b"got hello\n")
    told = cluster.admin("events", "--machine", machine, "--kind=machine.exec")
    assert "machine.exec     runs cat  by root  " in told


def test_input_that_nobody_reads_keeps_no_command_from_ending(cluster: HostCluster) -> None:
    words = ["--endpoint", f"unix://{cluster.server.socket}", "exec", cluster.machines[0].id]
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            [ARGOSY, *words, "--", "sleep", "0.5"],
            env=cluster.environ,
            stdin=endless,
            capture_output=True,
            timeout=30,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_command_ends_with_whoever_asked_for_it(cluster: HostCluster) -> None:
    mark = f"{os.getpid()}.25"
    with closing(Typed(cluster, "exec", cluster.machines[0].id, "--", "sleep", mark)) as typed:
        eventually(lambda: running(mark), "it runs")
        typed.process.send_signal(signal.SIGINT)
        assert typed.process.wait(20) == exits.INTERRUPTED
        eventually(lambda: not running(mark), "it is gone", seconds=20)


def running(argument: str) -> bool:
    """Whether a `sleep` with this argument runs."""
    command = f"sleep\0{argument}\0".encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == command:
                return True
        except OSError:
            continue
    return False


def test_a_terminal_has_its_size_keys_and_end(cluster: HostCluster) -> None:
    words = ["exec", "-t", cluster.machines[1].id, "--", "sh"]
    with closing(Typed(cluster, *words, terminal=True)) as typed:
        before = termios.tcgetattr(typed.side)
        typed.says(b"# ")
        typed.type(b"stty size; echo $TERM; tty >/dev/null && echo a-terminal\r")
        typed.says(b"33 111\r\n")
        typed.says(b"xterm\r\n")
        typed.says(b"a-terminal\r\n")
        assert not termios.tcgetattr(typed.side)[tty.LFLAG] & termios.ICANON
        termios.tcsetwinsize(typed.side, (44, 77))
        typed.process.send_signal(signal.SIGWINCH)
        typed.type(b"sleep 100\r")
        typed.says(b"sleep 100\r\n")
        typed.type(b"\x03")  # for the command, not for this end
        typed.type(b"echo back; stty size\r")
        typed.says(b"back\r\n44 77\r\n")
        typed.type(b"exit 5\r")
        assert typed.process.wait(20) == 5
        assert termios.tcgetattr(typed.side)[tty.LFLAG] == before[tty.LFLAG]


def test_a_machine_that_forbids_commands_runs_none(cluster: HostCluster) -> None:
    machine = cluster.machines[1]
    settings = machine.settings.read_text()
    machine.settings.write_text(f"exec = false\n{settings}")
    machine.stop()
    machine.start()
    try:
        eventually(lambda: not cluster.client.facts(machine.id)["exec"], "it is there again")
        said = cluster.admin("exec", machine.id, "--", "id", status=exits.REFUSED)
        assert "-> set exec = true in its agent.toml" in said
        assert "runs no commands for people" in cluster.admin("machine", "show", machine.id)
    finally:
        machine.settings.write_text(settings)
        machine.stop()
        machine.start()
    eventually(lambda: cluster.client.facts(machine.id)["exec"], "it is there again")


def test_followed_logs_have_units_that_come_later_on_any_machine(cluster: HostCluster) -> None:
    cluster.start_units("early.service")
    with closing(Typed(cluster, "logs", "-f")) as typed:
        typed.says(b"early.service | hello from early.service\n")
        cluster.start_units("later.service", "last.service")
        typed.says(b"hello from later.service\n")
        typed.says(b"hello from last.service\n")
        machines = {on(cluster, f"{name}.service")[0] for name in ("early", "later", "last")}
        assert len(machines) == 2
    cluster.admin("destroy", "--yes", "early", "later", "last")


def test_a_removed_machine_is_out_until_it_joins_again(cluster: HostCluster) -> None:
    machine = cluster.join()
    cluster.admin("machine", "remove", machine.id, "--yes")
    assert machine.id not in cluster.admin("machines", "--full")
    eventually(
        lambda: "this machine is not one of the cluster" in machine.said(), "its agent is told"
    )
    cluster.admin("exec", machine.id, "--", "true", status=exits.NOT_FOUND)
    machine.kill()
    words = ["join", cluster.server.url, f"--settings={machine.settings}", "--again"]
    cluster.run(*words, environ={"ARGOSY_TOKEN": cluster.token("machine")})
    machine.start()
    eventually(lambda: cluster.state_of(machine) == "ready", "it is a machine again")
    cluster.admin("machine", "remove", machine.id, "--yes")
    machine.kill()
    cluster.machines.remove(machine)


def test_prometheus_is_told_what_happens(cluster: HostCluster) -> None:
    machine = cluster.machines[0]
    machine.stop()
    listen = f'metrics_listen = "127.0.0.1:{METRICS[1]}"\n'
    machine.settings.write_text(listen + machine.settings.read_text())
    machine.start()
    server, agent = (f"http://127.0.0.1:{port}/metrics" for port in METRICS)
    eventually(lambda: sample(agent, "argosy_agent_report_seconds_count"), "it has reported")
    assert sample(agent, "argosy_agent_registrations_total") == 1
    before = sample(agent, "argosy_agent_unit_starts_total")
    cluster.start_units("counted1.service", "counted2.service")
    started = [on(cluster, f"counted{n}.service") for n in (1, 2)].count([machine.id])
    eventually(
        lambda: sample(agent, "argosy_agent_unit_starts_total") == before + started,
        "the agent has counted",
    )
    assert sample(agent, 'argosy_agent_units{active="active"}') == started
    open_again(cluster)
    assert sample(server, 'argosy_unit_states{active="active"}') == 2
    assert sample(server, 'argosy_machines{state="ready"}') == 2
    assert sample(server, "argosy_agents_connected") == 2
    assert sample(server, "argosy_engine_turn_seconds_count") > 0
    assert sample(server, 'argosy_store_operation_seconds_count{operation="txn"}') > 0
    route = 'method="PATCH",route="/v1/machines/{machine}"'
    assert sample(server, f"argosy_http_request_seconds_count{{{route}}}") > 0
    expires = sample(agent, "argosy_agent_certificate_expiry_timestamp_seconds")
    assert 80 < (expires - time.time()) / 86400 < 91
    assert sample(server, 'argosy_certificate_expiry_timestamp_seconds{certificate="server"}') > 0
    # The same page, on the API's own ports.
    calls = Calls(Connector(Endpoint(path=str(cluster.server.socket)), token="", ca=""))
    response, page = calls.exchange("GET", "/metrics", [], None)
    assert response.getheader("content-type", "").startswith("text/plain; version=0.0.4")
    assert b"\nargosy_leader_known 1.0\n" in page
    cluster.admin("destroy", "--yes", "counted1", "counted2")


def sample(url: str, name: str) -> float:
    """Its value; 0 when the page does not have it."""
    lines = [line for line in get(url).splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0
