"""A cluster made by the commands that people type: servers and agents as processes, over real TLS on loopback."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.pki import certificates
from contract.etcd_kit import etcd
from system.host_cluster import PRESENCE, HostCluster, Machine, as_json, host_cluster
from system.running import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[HostCluster]:
    with host_cluster(tmp_path) as made:
        yield made


def test_a_cluster_on_sqlite_and_what_its_units_survive(cluster: HostCluster) -> None:
    server = cluster.init()
    token = cluster.token("machine", "--uses=2")
    first = cluster.join("--metadata=zone=a", token=token)
    second = cluster.join("--metadata=zone=b", token=token)
    rows = {row["id"]: row for row in cluster.client.machines()}
    assert rows[first.id]["metadata"] == {"zone": "a"}
    assert rows[second.id]["address"] == "127.0.0.1"

    units = ["one.service", "two.service"]
    cluster.start_units(*units)
    assert cluster.starts(*units) == [1, 1]

    # The server is killed: nothing happens to units; it comes back: nothing happens either.
    server.kill()
    eventually(lambda: "cannot report" in first.said(), "the agent notices that the server is gone")
    server.start()
    eventually(lambda: all(map(cluster.active, units)), "the server knows all units again")
    # An agent is killed, and one is stopped as an upgrade does it.
    first.kill()
    assert second.stop() == 0
    first.start()
    second.start()
    eventually(lambda: cluster.state_of(first) == "ready", "the first machine is back")
    eventually(lambda: cluster.state_of(second) == "ready", "the second machine is back")
    eventually(lambda: all(map(cluster.active, units)), "all units are reported again")
    assert cluster.starts(*units) == [1, 1]
    assert server.stop() == 0
    cluster.servers.clear()


def test_who_may_not_join_leaves_nothing_behind(cluster: HostCluster) -> None:
    server = cluster.init()
    one = cluster.token("machine", "--uses=1")
    machine = cluster.join(token=one)
    other = Machine(cluster, "other")
    used_up = cluster.join_as(other, token=one, status=5)
    assert "-> ask for a new one: argosy token create" in used_up
    for_another_cluster = one[:-32] + "0" * 32
    told = cluster.join_as(other, token=for_another_cluster, status=5)
    assert "not of the cluster that the token is for" in told
    assert "nothing was sent" in told
    cluster.join_as(other, token=cluster.token("server"), status=64)
    assert not other.settings.exists()
    assert not (other.directory / "machine.pem").exists()
    # A copy of a live machine.
    other.id = machine.id
    told = cluster.join_as(other, token=cluster.token("machine"), status=4)
    assert "a live machine has the id" in told
    told = cluster.run("agent", f"--settings={other.settings}", status=64)
    assert "-> argosy join URL" in told
    assert "wrong secret" not in server.said()


def test_a_clone_with_all_its_files_is_refused_while_the_original_lives(
    cluster: HostCluster,
) -> None:
    cluster.init()
    machine = cluster.join()
    cluster.start_units("one.service")
    with pytest.raises(AssertionError, match="in use by another process"):
        cluster.run("agent", f"--settings={machine.settings}")
    assert cluster.starts("one.service") == [1]


def test_people_come_with_tokens_and_may_do_what_their_role_says(cluster: HostCluster) -> None:
    server = cluster.init()
    token = cluster.token("person", "--role=viewer", "--name=alice")
    assert "logged in" in cluster.run("login", server.url, environ={"ARGOSY_TOKEN": token})
    kept = cluster.directory / ".config/argosy/login.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert cluster.run("list-machines", "--json") == "[]\n"
    unit = cluster.counting_unit("one.service")
    assert "alice has the role viewer" in cluster.run("submit", str(unit), status=5)
    # A program needs no login: its token says which server to believe.
    cluster.run("logout")
    ci = cluster.token("person", "--role=deployer", "--name=ci")
    environ = {"ARGOSY_ENDPOINT": server.url, "ARGOSY_TOKEN": ci}
    cluster.run("submit", str(unit), environ=environ)
    [row] = [r for r in as_json(cluster.admin("token", "list", "--json")) if r["name"] == "ci"]
    cluster.admin("token", "revoke", row["id"])
    assert "not valid" in cluster.run("list-unit-files", status=5, environ=environ)
    wrong = {**environ, "ARGOSY_TOKEN": ci[:-32] + "f" * 32}
    assert "not of the cluster" in cluster.run("list-unit-files", status=5, environ=wrong)


def test_certificates_renew_themselves_without_an_interruption(cluster: HostCluster) -> None:
    server = cluster.init(settings=f'certificate_life = "16s"\n{PRESENCE}')
    machine = cluster.join()
    cluster.start_units("one.service")
    before = {
        certificates.serial(machine.certificate),
        certificates.serial((server.directory / "server.pem").read_bytes()),
    }
    eventually(
        lambda: certificates.serial(machine.certificate) not in before, "the machine's is renewed"
    )
    eventually(
        lambda: certificates.serial((server.directory / "server.pem").read_bytes()) not in before,
        "the server's is renewed",
    )
    assert cluster.state_of(machine) == "ready"
    assert cluster.starts("one.service") == [1]
    assert "register" not in machine.said()


def test_a_backup_is_restored_as_a_new_epoch_and_no_unit_notices(
    cluster: HostCluster, tmp_path: Path
) -> None:
    server = cluster.init()
    cluster.join()
    cluster.start_units("one.service")
    epoch = cluster.client.version()["epoch"]
    backup = tmp_path / "backup.json"
    cluster.admin("backup", str(backup))
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    cluster.start_units("later.service")
    told = cluster.run("restore", str(backup), f"--settings={server.settings}", status=4)
    assert "-> systemctl stop argosy-server" in told
    server.stop()
    cluster.run("restore", str(backup), f"--settings={server.settings}")
    server.start()
    assert cluster.client.version()["epoch"] > epoch
    eventually(
        lambda: [row["name"] for row in cluster.client.states()] == ["one.service"],
        "what came after the backup is gone, the rest is reported",
    )
    assert cluster.starts("one.service") == [1]


def test_records_move_to_etcd_and_back_and_no_unit_notices(
    cluster: HostCluster, tmp_path: Path
) -> None:
    server = cluster.init()
    machine = cluster.join()
    units = ["one.service", "two.service"]
    cluster.start_units(*units)
    with etcd(tmp_path) as members:
        settings = f"--settings={server.settings}"
        server.stop()
        endpoints = [f"--etcd={url}" for url in members.urls]
        cluster.run("store", "migrate", "--to=etcd", *endpoints, settings)
        server.start()
        eventually(lambda: cluster.state_of(machine) == "ready", "the machine is there")
        eventually(lambda: all(map(cluster.active, units)), "all units are reported")
        cluster.start_units("three.service")
        server.stop()
        cluster.run("store", "migrate", "--to=sqlite", settings)
        server.start()
        eventually(lambda: cluster.state_of(machine) == "ready", "the machine is there")
    units.append("three.service")
    eventually(lambda: all(map(cluster.active, units)), "all units are reported")
    assert cluster.starts(*units) == [1, 1, 1]


def test_with_two_servers_on_etcd_agents_go_to_the_one_that_answers(
    cluster: HostCluster, tmp_path: Path
) -> None:
    with etcd(tmp_path) as members:
        first = cluster.init(members)
        machine = cluster.join()
        second = cluster.join_server()
        eventually(
            lambda: second.url in (machine.directory / "servers.json").read_text(),
            "the machine knows both servers",
        )
        found = as_json(cluster.admin("doctor", "--json"))
        texts = {one["subject"]: one["text"] for one in found}
        assert texts["servers"] == "2 there: s1, s2"
        assert "leads" in texts["etcd"]
        assert texts["clocks"].startswith("of 1 machines agree within")
        assert texts["certificates"].startswith("of 1 machines are good for 89d")
        about = (
            "server",
            "servers",
            "engine",
            "store",
            "etcd",
            "certificate",
            "machines",
            "clocks",
        )
        assert {one["level"] for one in found if one["subject"] in about} == {"good"}
        cluster.start_units("one.service")
        for _ in range(2):  # each server dies once, so that the one that the agent speaks to does
            cluster.servers.reverse()
            gone = cluster.servers[0]
            gone.kill()
            eventually(lambda: cluster.state_of(machine) == "ready", "the machine is there")
            eventually(lambda: cluster.active("one.service"), "the unit is reported")
            gone.start()
        # Frozen, a server keeps its connections and answers nothing.
        first.signal(signal.SIGSTOP)
        cluster.servers.sort(key=lambda one: one is first)
        eventually(lambda: cluster.state_of(machine) == "ready", "the machine is there")
        cluster.start_units("two.service")
        first.signal(signal.SIGCONT)
        assert cluster.starts("one.service", "two.service") == [1, 1]
        assert [row["machine"] for row in cluster.client.states(["one.service"])] == [machine.id]


def test_a_server_waits_for_a_store_that_is_away_and_says_so(
    cluster: HostCluster, tmp_path: Path
) -> None:
    with etcd(tmp_path) as members:
        server = cluster.init(members)
        machine = cluster.join()
        cluster.start_units("one.service")
        server.stop()
        for member in members.members:
            member.kill()
        super(type(server), server).start()
        eventually(lambda: "waiting for the store" in server.said(), "it says what it waits for")
        members.start()
        eventually(server.client.is_there, "it serves once the store is there")
        eventually(lambda: cluster.state_of(machine) == "ready", "the machine is there")
        assert cluster.starts("one.service") == [1]
