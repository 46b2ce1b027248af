"""What the looking verbs show of a known cluster, word for word: their wording is under test here."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

from argosy import __version__
from argosy.cli import exits, main, moments
from argosy.model.ids import UnitName
from argosy.store import base, codec, keys
from system import recorded
from unit.api.serving import Running, running

NOBODY = """\
argosy: this would {}, and there is nobody to ask
  -> add --yes when that is what you want
"""
Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, output={recorded.ONE: recorded.Output()}) as server:
        await recorded.write(server.store)
        yield server


@pytest.fixture
async def argosy(
    server: Running, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> AsyncIterator[Run]:
    """Runs a command line against the recorded cluster; gives exit code and all that it printed."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(moments, "now", lambda: recorded.AT + timedelta(seconds=90))
    monkeypatch.setenv("ARGOSY_ENDPOINT", f"unix://{server.path}")

    async def run(*argv: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main.main, argv)
        captured = capsysbinary.readouterr()
        return code, (captured.out + captured.err).decode(errors="backslashreplace")

    yield run
    monkeypatch.undo()
    time.tzset()


async def test_list_units(argosy: Run) -> None:
    assert await argosy("list-units") == (
        0,
        dedent("""\
        UNIT             MACHINE               ACTIVE      SUB
        agent.service    113f16a7.../10.0.0.1  active      running
        agent.service    2c5a0d3e...           activating  auto-restart
        migrate.service  113f16a7.../10.0.0.1  failed      failed
        web@1.service    113f16a7.../10.0.0.1  active      running
        """),
    )


async def test_list_units_with_more_fields(argosy: Run) -> None:
    fields = "unit,load,machine,since,pid,result,restarts,hash"
    assert await argosy("list-units", "web@*", "--full", "--fields", fields) == (
        0,
        dedent("""\
        UNIT           LOAD    MACHINE                                    SINCE         PID   RESULT   RESTARTS  HASH
        web@1.service  loaded  113f16a7111111111111111111111111/10.0.0.1  1min 30s ago  4711  success  0         00539e4
        """),
    )


async def test_list_unit_files(argosy: Run) -> None:
    assert await argosy("list-unit-files") == (
        0,
        dedent("""\
        UNIT             HASH     DSTATE    STATE     TARGET
        agent.service    00539e4  launched  -         global
        db.service       00539e4  launched  pending   -
        migrate.service  00539e4  launched  launched  113f16a7.../10.0.0.1
        old.service      00539e4  inactive  inactive  -
        web@.service     00539e4  inactive  inactive  -
        web@1.service    00539e4  launched  launched  113f16a7.../10.0.0.1
        """),
    )


async def test_list_machines(argosy: Run) -> None:
    assert await argosy("list-machines") == (
        0,
        dedent("""\
        MACHINE      IP        METADATA         STATE    WHY
        113f16a7...  10.0.0.1  disk=ssd,zone=a  ready    -
        2c5a0d3e...  -         -                suspect  no server hears of it; its units stay where they are
        """),
    )


async def test_list_machines_has_fleet_s_columns_and_no_others_when_all_are_well(
    argosy: Run, server: Running
) -> None:
    await server.store.txn([], [base.Put(keys.presence(recorded.TWO), b"")])
    assert await argosy("list-machines") == (
        0,
        dedent("""\
        MACHINE      IP        METADATA
        113f16a7...  10.0.0.1  disk=ssd,zone=a
        2c5a0d3e...  -         -
        """),
    )


async def test_machines_says_how_each_is_and_why(argosy: Run, server: Running) -> None:
    await server.store.txn([], [base.Put(keys.presence(recorded.TWO), b"")])
    assert (await argosy("cordon", "one", "--reason", "looks ill"))[0] == 0
    code, text = await argosy("machines", "--fields", "machine,hostname,ip,state,units,why")
    assert code == 0
    [_, first, second] = text.splitlines()
    assert first.split(maxsplit=5)[:5] == ["113f16a7...", "one", "10.0.0.1", "cordoned", "3"]
    assert first.endswith(": looks ill")
    assert second.split() == ["2c5a0d3e...", "two", "-", "ready", "1", "-"]


async def test_orders_are_told_in_words_and_mistakes_change_nothing(argosy: Run) -> None:
    assert await argosy("cordon", "one", "nowhere") == (
        6,
        "argosy: there is no machine 'nowhere'\n  -> argosy list-machines\n",
    )
    assert await argosy("cordon", "one") == (
        0,
        "one (113f16a7...) gets no more units; those that it has stay\n",
    )
    code, text = await argosy("cordon", "113f", "--for", "1h")
    assert code == 0
    assert "stay, until 20" in text
    assert (await argosy("cordon", "one", "--for", "soon"))[0] == exits.USAGE
    assert await argosy("status") == (
        3,
        dedent("""\
        2 machines, 5 units, 1 template; 2 running
          failed: migrate.service
          without a machine: db.service
          absent machines: two (suspect)
          machines without new units: one (cordoned)
          -> argosy status migrate.service
        """),
    )
    assert await argosy("uncordon", "one") == (0, "one (113f16a7...) takes units again\n")


async def test_metadata_is_set_taken_away_and_given_back(argosy: Run) -> None:
    one = "one (113f16a7...) has "
    assert await argosy("machine", "set", "one", "rack=7") == (0, f"{one}disk=ssd,rack=7,zone=a\n")
    assert await argosy("machine", "unset", "one", "disk", "zone") == (0, f"{one}rack=7\n")
    assert await argosy("machine", "unset", "--forget", "one", "zone", "rack") == (
        0,
        f"{one}zone=a\n",
    )
    assert await argosy("machine", "set", "one", "rack") == (
        64,
        "argosy: 'rack' is no KEY=VALUE\n  -> argosy machine set MACHINE disk=ssd zone=b\n",
    )
    assert await argosy("machine", "set", "one", "rack=1", "rack=2") == (
        64,
        "argosy: 'rack' is set twice\n  -> leave one of the two out\n",
    )


async def test_a_drain_shows_what_would_stay_and_why(argosy: Run, server: Running) -> None:
    await server.store.txn([], [base.Put(keys.presence(recorded.TWO), b"")])
    assert await argosy("drain", "one", "--dry-run") == (
        0,
        dedent("""\
        3 units would leave one (113f16a7...):
          migrate.service  -> 2c5a0d3e...
          web@1.service    -> 2c5a0d3e...
          agent.service    stops here: it is global
        """),
    )
    assert await argosy("drain", "one") == (
        64,
        NOBODY.format("drain one (113f16a7...)"),
    )
    code, text = await argosy("drain", "one", "--yes", "--no-block")
    assert code == 0
    assert text.splitlines()[-1] == (
        "one (113f16a7...) gets no more units, and those that it has move away"
    )
    # Now there is no other machine that is open.
    assert await argosy("drain", "two", "--dry-run") == (
        0,
        dedent("""\
        1 unit would leave two (2c5a0d3e...):
          agent.service  stops here: it is global
        """),
    )


async def test_units_that_have_no_other_place_are_named_and_make_code_2(argosy: Run) -> None:
    code, text = await argosy("drain", "one", "--yes", "--no-block")
    assert code == exits.CANNOT_PLACE
    lines = text.splitlines()
    assert lines[0] == "0 units would leave one (113f16a7...); 3 would stay:"
    assert any(line.startswith("  web@1.service    stays: ") for line in lines)
    assert lines[-1].startswith("  -> argosy why ")


async def test_a_rebalance_shows_its_moves(argosy: Run, server: Running) -> None:
    assert await argosy("rebalance") == (0, "No move would make it more even.\n")
    await server.store.txn([], [base.Put(keys.presence(recorded.TWO), b"")])
    assert await argosy("rebalance", "--dry-run", "--budget", "1") == (
        0,
        dedent("""\
        1 unit would move:
          migrate.service  113f16a7.../10.0.0.1 -> 2c5a0d3e...
        """),
    )
    assert (await argosy("rebalance", "--budget", "0"))[0] == exits.USAGE
    code, text = await argosy("rebalance", "--yes", "--no-block")
    assert (code, text.splitlines()[-1]) == (0, "asked for 1 unit to move")
    [_] = (await server.store.range(keys.move(UnitName("migrate.service")))).kvs


async def test_a_machine_is_removed_only_on_purpose(argosy: Run, server: Running) -> None:
    assert await argosy("machine", "remove", "two") == (
        64,
        NOBODY.format("remove the machine two (2c5a0d3e...)"),
    )
    assert (await argosy("machine", "show", "two"))[0] == 0
    assert await argosy("machine", "remove", "two", "--yes") == (
        0,
        "removed two (2c5a0d3e...)\n",
    )
    assert (await argosy("machine", "show", "two"))[0] == exits.NOT_FOUND


async def test_machine_show_says_what_its_agent_says_now(argosy: Run) -> None:
    code, text = await argosy("machine", "show", "one")
    assert code == 0
    found = {
        label.strip(): value
        for label, colon, value in (line.partition(": ") for line in text.splitlines()[1:])
        if colon
    }
    assert found["state"].startswith("ready")
    assert found["metadata"] == "disk=ssd,zone=a"
    assert found["capacity"] == "8.0 GiB, 4 CPUs"
    assert f"{__version__}, recorded, Linux" in found["agent"]
    assert found["units"] == "3, 2 active"
    assert {"load", "memory", "disk", "clock"} <= found.keys()
    _, text = await argosy("machine", "show", "two")
    assert "agent: no server hears of it" in text
    code, text = await argosy("--json", "machine", "show", "one")
    shown = json.loads(text)
    assert (shown["machine"]["hostname"], shown["facts"]["runtime"]) == ("one", "recorded")


async def test_a_word_that_may_be_machine_or_unit_is_never_guessed_wrong(
    argosy: Run, server: Running
) -> None:
    argv = ["exec", "--no-input"]
    said = "argosy: there is no unit 'none.service'\n  -> argosy list-unit-files\n"
    assert await argosy(*argv, "none.service", "--", "true") == (6, said)
    assert await argosy(*argv, "web@1", "--", "sh", "-c", "exit 7") == (7, "")
    assert await argosy(*argv, "113f", "--", "true") == (0, "")
    said = "argosy: db.service is on no machine\n  -> argosy why db.service\n"
    assert await argosy(*argv, "db", "--", "true") == (4, said)
    code, text = await argosy(*argv, "agent", "--", "true")
    assert (code, text.splitlines()[0]) == (
        64,
        "argosy: agent.service is on 2 machines: 113f16a7.../10.0.0.1, 2c5a0d3e...",
    )
    assert await argosy(*argv, "--machine", "one", "agent", "--", "true") == (0, "")
    named = msgspec.structs.replace(recorded.MACHINES[1], hostname="migrate")
    await server.store.txn([], [base.Put(keys.machine(named.id), codec.encode(named))])
    code, text = await argosy(*argv, "migrate", "--", "true")
    assert (code, text.splitlines()[0]) == (
        64,
        "argosy: 'migrate' is a machine, and a unit that is elsewhere",
    )


async def test_exec_gives_output_errors_and_the_exit_code(argosy: Run) -> None:
    script = "echo out; echo err >&2; exit 3"
    code, text = await argosy("exec", "--no-input", "one", "--", "sh", "-c", script)
    assert (code, sorted(text.split())) == (3, ["err", "out"])
    assert await argosy("exec", "--no-input", "one", "--", "/no/such/program") == (
        6,
        (
            "argosy: there is no program '/no/such/program' on the machine\n"
            "  -> give its path; what a shell knows runs in one: sh -c '...'\n"
        ),
    )
    assert await argosy("exec", "one") == (
        64,
        "argosy: run which command?\n  -> argosy exec one -- uptime\n",
    )
    code, text = await argosy("--json", "exec", "--no-input", "one", "--", "echo", "hello")
    out, end = map(json.loads, text.splitlines())
    assert (code, base64.b64decode(out["out"]), end) == (
        0,
        b"hello\n",
        {"exit_code": 0, "signal": ""},
    )


async def test_status_of_a_failed_unit(argosy: Run) -> None:
    assert await argosy("status", "migrate") == (
        3,
        dedent("""\
        × migrate.service - Brings the tables up to date
             wanted: launched, as part of shop
              state: failed (failed) on 113f16a7.../10.0.0.1 since 2026-03-14 15:09:26; 1min 30s ago
              cause: ExecStart=/srv/migrate exited with code 1
              place: fewest units of 2 machines that fit
          15:09:27.000 line 3: no number: 'x'
          15:09:28.000 -- failed with result 'exit-code'
          -> argosy logs migrate.service; then argosy start migrate.service
        """),
    )


async def test_status_of_a_running_unit(argosy: Run) -> None:
    assert await argosy("status", "web@1") == (
        0,
        dedent("""\
        ● web@1.service - Front ?[31mend
             wanted: launched, as part of shop
              state: active (running) on 113f16a7.../10.0.0.1 since 2026-03-14 15:09:26; 1min 30s ago
           main pid: 4711
               says: 3 clients
              place: fewest units of 2 machines that fit
          15:09:26.000 listening
        """),
    )


async def test_status_of_a_global_unit_shows_every_machine(argosy: Run) -> None:
    assert await argosy("status", "agent", "-n0") == (
        0,
        dedent("""\
        ● agent.service
             wanted: launched on every machine that fits
              state: active (running) on 113f16a7.../10.0.0.1 since 2026-03-14 15:09:26; 1min 30s ago
           main pid: 11
              place: fewest units of 2 machines that fit
              state: activating (auto-restart) on 2c5a0d3e... since 2026-03-14 15:09:26; 1min 30s ago
              cause: the main process exited with code 127 (a shell's way to say: command not found)
           restarts: 2
            machine: suspect: no server hears of it; its units stay where they are
              place: fewest units of 2 machines that fit
        """),
    )


async def test_status_of_a_unit_without_a_machine(argosy: Run) -> None:
    assert await argosy("status", "db") == (
        2,
        dedent("""\
        ○ db.service - Data base
             wanted: launched
            pending: no machine of 2 can run db.service: 1 lacks memory, 1 lacks disk=ssd
                     Memory           needs 16G, 8G are free  (113f16a7.../10.0.0.1)
                     MachineMetadata  needs disk=ssd, has no disk  (2c5a0d3e...)
                     to place it: free 8G on machine 113f16a7 (one)
          -> argosy why db.service
        """),
    )


async def test_status_of_the_cluster(argosy: Run) -> None:
    assert await argosy("status") == (
        3,
        dedent("""\
        2 machines, 5 units, 1 template; 2 running
          failed: migrate.service
          without a machine: db.service
          absent machines: two (suspect)
          -> argosy status migrate.service
        """),
    )


async def test_why_a_unit_is_where_it_is(argosy: Run) -> None:
    assert await argosy("why", "web@1") == (
        0,
        dedent("""\
        web@1.service is on 113f16a7.../10.0.0.1, placed 1min 30s ago
          because: fewest units of 2 machines that fit
          on 113f16a7.../10.0.0.1 it is active (running) for 1min 30s
        lately:
          2026-03-14 15:09:26  submitted  wanted launched
          2026-03-14 15:09:27  placed     fewest units (113f16a7.../10.0.0.1)
        """),
    )


async def test_why_a_unit_has_no_machine(argosy: Run) -> None:
    assert await argosy("why", "db") == (
        2,
        dedent("""\
        db.service is wanted launched but has no machine, for 1min 30s now
          no machine of 2 can run db.service: 1 lacks memory, 1 lacks disk=ssd
          Memory           needs 16G, 8G are free  (113f16a7.../10.0.0.1)
          MachineMetadata  needs disk=ssd, has no disk  (2c5a0d3e...)
          to place it: free 8G on machine 113f16a7 (one)
        """),
    )


async def test_why_an_inactive_unit_is_nowhere(argosy: Run) -> None:
    assert await argosy("why", "old") == (
        0,
        dedent("""\
        old.service is on no machine
          because: it is wanted inactive; to start it: argosy start old.service
        """),
    )


async def test_why_a_template_is_nowhere(argosy: Run) -> None:
    assert await argosy("why", "web@.service") == (
        0,
        dedent("""\
        web@.service is on no machine
          because: it is a template; only its instances run
        """),
    )


async def test_events(argosy: Run) -> None:
    assert await argosy("events") == (
        0,
        dedent("""\
        2026-03-14 15:09:26  machine.joined   one joined  (113f16a7.../10.0.0.1)
        2026-03-14 15:09:26  unit.submitted   web@1.service  wanted launched
        2026-03-14 15:09:27  unit.placed      web@1.service  fewest units  (113f16a7.../10.0.0.1)
        2026-03-14 15:09:28  unit.failed      migrate.service  exited with 1  (113f16a7.../10.0.0.1)
        """),
    )


async def test_logs_of_several_units(argosy: Run) -> None:
    assert await argosy("logs", "--time") == (
        0,
        dedent("""\
        15:09:26.000 web@1.service   | listening
        15:09:27.000 migrate.service | line 3: no number: 'x'
        15:09:28.000 migrate.service | -- failed with result 'exit-code'
        """),
    )


async def test_logs_of_one_unit_have_no_name_before_them(argosy: Run) -> None:
    assert await argosy("logs", "web@1", "--show-cursor") == (
        0,
        dedent("""\
        listening
        -- cursor: 113f16a7111111111111111111111111/1
        """),
    )


async def test_a_unit_that_is_not_there(argosy: Run) -> None:
    assert await argosy("status", "web@1", "wbe@1") == (
        6,
        dedent("""\
        argosy: no unit of the cluster is called or matches wbe@1.service
          -> did you mean web@1.service?
        """),
    )


async def test_start_of_a_directory_that_lacks_its_slash(
    argosy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path)
    assert await argosy("start", "shop") == (
        6,
        dedent("""\
        argosy: no unit of the cluster is called or matches shop.service
          -> for the directory, add a slash: shop/
        """),
    )


async def test_start_of_a_template_says_what_to_start(argosy: Run) -> None:
    assert await argosy("start", "web@.service") == (
        64,
        dedent("""\
        argosy: web@.service is a template: its instances run, not the template itself
          -> argosy start web@1.service
        """),
    )


async def test_cat_gives_back_every_byte(argosy: Run) -> None:
    assert await argosy("cat", "web@1") == (0, recorded.TEXT.decode(errors="backslashreplace"))


LOOKING = [
    ["list-units"],
    ["list-unit-files"],
    ["list-machines"],
    ["status"],
    ["status", "web@1", "migrate"],
    ["why", "db"],
    ["cat", "db"],
    ["version"],
    ["doctor"],
]


@pytest.mark.parametrize("argv", LOOKING, ids=" ".join)
async def test_with_json_every_verb_prints_one_value(argv: list[str], argosy: Run) -> None:
    _, text = await argosy(*argv, "--json")
    assert json.loads(text)


@pytest.mark.parametrize("argv", [["logs"], ["events"]], ids=" ".join)
async def test_with_json_streams_print_a_value_a_line(argv: list[str], argosy: Run) -> None:
    code, text = await argosy(*argv, "--json")
    assert code == exits.DONE
    values = [json.loads(line) for line in text.splitlines()]
    assert len(values) > 2
    assert all("at" in value for value in values)


async def test_logs_go_on_behind_a_cursor(argosy: Run) -> None:
    _, text = await argosy("logs", "migrate", "-n1", "--json")
    first = f"{recorded.ONE}/{recorded.OUTPUT[1].cursor}"
    assert json.loads(text)["text"] == "failed with result 'exit-code'"
    assert await argosy("logs", "migrate", "--since-cursor", first) == (
        0,
        "-- failed with result 'exit-code'\n",
    )


async def test_events_of_one_machine_or_kind(argosy: Run) -> None:
    _, text = await argosy("events", "--machine", "one", "--kind", "unit.failed")
    assert [line.split()[2:4] for line in text.splitlines()] == [["unit.failed", "migrate.service"]]


async def test_a_restart_leaves_units_that_should_not_run_alone(argosy: Run) -> None:
    assert await argosy("restart", "old") == (
        0,
        "old.service is not wanted launched: not restarted; to start it: argosy start old.service\n",
    )


async def test_a_stop_of_a_unit_that_is_nowhere_places_it_nowhere(argosy: Run) -> None:
    assert await argosy("stop", "old") == (
        0,
        "old.service is on no machine: nothing to do; to start it: argosy start old.service\n",
    )
    _, text = await argosy("list-unit-files", "old", "--no-legend", "--fields", "dstate")
    assert text == "inactive\n"


async def test_one_mistyped_name_of_two_changes_neither(argosy: Run) -> None:
    code, _ = await argosy("stop", "web@1", "web@3")
    assert code == exits.NOT_FOUND
    _, text = await argosy("list-unit-files", "web@1", "--no-legend", "--fields", "dstate")
    assert text == "launched\n"


async def test_a_glob_is_not_destroyed_where_nobody_can_be_asked(argosy: Run) -> None:
    code, text = await argosy("destroy", "web@*")
    assert code == exits.USAGE
    assert "--yes" in text
    assert (await argosy("list-unit-files", "web@*", "--no-legend"))[1].count("\n") == 2


async def test_destroying_by_glob_with_yes(argosy: Run) -> None:
    code, _ = await argosy("destroy", "o*", "--yes", "--no-block")
    assert code == exits.DONE
    assert (await argosy("cat", "old"))[0] == exits.NOT_FOUND


async def test_completion_asks_for_names(argosy: Run) -> None:
    assert await argosy("complete", "units", "web@") == (0, "web@.service\nweb@1.service\n")
    assert await argosy("complete", "machines", "2c") == (0, f"{recorded.TWO}\n")


async def test_waiting_is_bounded_and_says_what_for(argosy: Run) -> None:
    # Nobody acts here: the unit that failed before the request is not what it asked for.
    assert await argosy("start", "migrate", "--timeout", "300ms") == (
        3,
        dedent("""\
        · migrate.service  113f16a7.../10.0.0.1 has yet to act
        argosy: not done within 0.3 s; it goes on, only the waiting ended
          -> argosy status migrate.service, or wait longer: --timeout 5min
        """),
    )


async def test_a_unit_that_no_machine_can_have_ends_the_wait_with_the_reason(argosy: Run) -> None:
    assert await argosy("start", "db") == (
        2,
        dedent("""\
        ! db.service  no machine of 2 can run db.service: 1 lacks memory, 1 lacks disk=ssd
            Memory           needs 16G, 8G are free  (113f16a7.../10.0.0.1)
            MachineMetadata  needs disk=ssd, has no disk  (2c5a0d3e...)
            to place it: free 8G on machine 113f16a7 (one)
        argosy: it stays wanted, and starts as soon as a machine fits
          -> argosy why db.service
        """),
    )


async def test_no_block_does_not_wait(argosy: Run) -> None:
    assert await argosy("start", "db", "--no-block") == (0, "db.service: asked for\n")


async def test_doctor_finds_what_is_wrong_with_the_cluster(argosy: Run) -> None:
    _, text = await argosy("doctor")
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("bad   engine"))
    assert (
        lines[start : start + 4]
        == dedent("""\
        bad   engine      no server leads: nothing is decided
                          -> look at the server's log
        warn  machines    1 of 2 are absent, first two, suspect: no server hears of it; its units stay where they are
                          -> argosy machines
        """).splitlines()
    )
    told = "\n".join(lines)
    assert "ok    clocks      of 1 machines agree within " in told
    assert "ok    disks       of 1 machines have room" in told
    assert (
        dedent("""\
        warn  units       1 failed, first migrate.service
                          -> argosy status migrate.service
        warn  units       1 have no machine, first db.service
                          -> argosy why db.service
        """)
        in told
    )
    assert "ms" in next(line for line in lines if line.startswith("ok    store       a read takes"))
