"""Settings files: what they mean, and that every mistake is told with its line and nothing is guessed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from argosy.daemon import settings_file
from argosy.errors import Invalid
from argosy.settings import (
    AgentSettings,
    EngineSettings,
    EtcdSettings,
    MachineSettings,
    PresenceSettings,
    RuntimeKind,
    ServerSettings,
    StoreKind,
    StoreSettings,
)


def file(directory: Path, text: str, mode: int = 0o600) -> Path:
    path = directory / "server.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def problems(directory: Path, text: str, kind: type = ServerSettings) -> list[str]:
    path = file(directory, text)
    with pytest.raises(Invalid) as caught:
        settings_file.read(path, kind)
    assert caught.value.hint == f"edit {path}"
    return [one.removeprefix(f"{path}") for one in caught.value.problems or [caught.value.message]]


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert settings_file.read(file(tmp_path, ""), ServerSettings) == ServerSettings()


def test_tables_are_groups_and_durations_are_written_as_systemd_does(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch(0o600)
    text = f"""
        name = "a"
        addresses = ["10.0.0.1", "a.example.net"]
        [store]
        kind = "etcd"
        [store.etcd]
        endpoints = ["https://10.0.0.1:2379"]
        password_file = "{password}"
        request_timeout = 2.5
        [engine.presence]
        lost_after = "1min 30s"
        brake_share = 1
        """
    assert settings_file.read(file(tmp_path, text), ServerSettings) == ServerSettings(
        name="a",
        addresses=("10.0.0.1", "a.example.net"),
        store=StoreSettings(
            kind=StoreKind.ETCD,
            etcd=EtcdSettings(
                endpoints=("https://10.0.0.1:2379",),
                password_file=password,
                request_timeout=timedelta(seconds=2.5),
            ),
        ),
        engine=EngineSettings(
            presence=PresenceSettings(lost_after=timedelta(seconds=90), brake_share=1.0)
        ),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nmae = 'a'", [":1: error: there is no 'nmae' (did you mean 'name'?)"]),
        (
            "\n[engine.presence]\nlost = '5s'\n",
            [
                (
                    ":3: error: there is no 'lost' in [engine.presence] (known: heartbeat_every, suspect_after, "
                    "lost_after, patience, brake_share, brake_minimum)"
                )
            ],
        ),
        ("name = 7", [":1: error: 'name' is a text in quotes, not 7"]),
        ("addresses = 'x'", [":1: error: 'addresses' is a list of texts, not 'x'"]),
        ("addresses = [1]", [":1: error: 'addresses' is a text in quotes, not 1"]),
        ("directory = 'x'", [":1: error: 'directory' is a path that begins with /, not 'x'"]),
        ("[store]\nkind = 'redis'", [":2: error: 'kind' is one of sqlite, etcd, not 'redis'"]),
        ("store = 'etcd'", [":1: error: 'store' is a table: write [store]"]),
        (
            "[engine]\nleader_ttl = 'soon'\nevents_kept = -1\n[engine.presence]\npatience = 0",
            [
                ":2: error: 'leader_ttl' is a duration such as \"20s\", not 'soon'",
                ":3: error: 'events_kept' is 0 or more, not -1",
                ":5: error: 'patience' is a duration longer than nothing, not 0",
            ],
        ),
        ("[engine]\nevents_kept = true", [":2: error: 'events_kept' is not true or false"]),
        ("name = ", [": Invalid value (at end of document)"]),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, told: list[str], tmp_path: Path) -> None:
    assert problems(tmp_path, text) == told


def test_metadata_is_a_table_of_texts(tmp_path: Path) -> None:
    path = file(tmp_path, 'metadata = { zone = "a" }\nruntime = "process"\nexec = false')
    assert settings_file.read(path, MachineSettings) == MachineSettings(
        metadata={"zone": "a"}, runtime=RuntimeKind.PROCESS, exec=False
    )
    assert problems(tmp_path, "[metadata]\nzone = 1", MachineSettings) == [
        ":1: error: 'metadata' is a text in quotes, not 1"
    ]


def test_a_file_that_others_can_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="can be written by others"):
        settings_file.read(file(tmp_path, "", 0o666), ServerSettings)


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "password").touch(0o644)
    text = f"[store.etcd]\npassword_file = '{tmp_path}/password'"
    [problem] = problems(tmp_path, text)
    assert problem.endswith("holds a secret and can be read or written by others")


def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"agent\.toml: No such file"):
        settings_file.read(tmp_path / "agent.toml", MachineSettings)


def test_bytes_that_are_not_utf8_are_told_with_their_line(tmp_path: Path) -> None:
    path = file(tmp_path, "")
    path.write_bytes(b'name = "a"\n# \xff\n')
    with pytest.raises(Invalid, match=r"server\.toml:2: this is not UTF-8"):
        settings_file.read(path, ServerSettings)


def test_what_is_written_is_read_as_the_same(tmp_path: Path) -> None:
    server = ServerSettings(
        name='a "b" \\ ü\t',
        addresses=("10.0.0.1",),
        certificate_life=timedelta(days=1, milliseconds=250),
        store=StoreSettings(kind=StoreKind.ETCD, etcd=EtcdSettings(endpoints=("http://x:1",))),
        engine=EngineSettings(presence=PresenceSettings(brake_share=0.5)),
    )
    machine = MachineSettings(
        servers=("https://a:1", "https://b:1"),
        metadata={"a b": "c", "zone": "x"},
        exec=False,
        agent=AgentSettings(heartbeat_every=timedelta(seconds=1)),
    )
    text = settings_file.written(server, comment="Of this server.")
    assert text.startswith("# Of this server.\n")
    assert settings_file.read(file(tmp_path, text), ServerSettings) == server
    text = settings_file.written(machine, comment="Of this machine.")
    assert settings_file.read(file(tmp_path, text), MachineSettings) == machine
