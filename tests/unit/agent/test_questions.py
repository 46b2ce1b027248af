"""Questions to a machine, from asking to the answer: the server's end and the agent's in one loop, real commands."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argosy.agent.facts import FactsOf
from argosy.agent.questions import Answerer
from argosy.api import questions as server_side
from argosy.api.questions import Questions
from argosy.errors import Conflict, Invalid, NotAllowed, NotFound, Temporary, Unsupported
from argosy.model.ids import MachineId
from argosy.model.question import Answer, AskFacts, Exec, Input, Part, Question
from argosy.runtime.process.runtime import ProcessRuntime

ONE, OTHER = MachineId("1" * 32), MachineId("2" * 32)


def clock() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def machine(
    questions: Questions, directory: Path, *, may_exec: bool = True
) -> AsyncIterator[asyncio.Task[None]]:
    """A machine that answers, on a runtime without units."""
    runtime = ProcessRuntime(directory / "runtime")
    await runtime.open()
    facts = FactsOf(clock=clock, runtime="process", directories=(directory,))
    answerer = Answerer(runtime, gather_facts=facts.gather, may_exec=may_exec)
    serving = asyncio.create_task(answerer.serve(questions.line(ONE)))
    try:
        yield serving
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await runtime.close()


@pytest.fixture
async def questions(tmp_path: Path) -> AsyncIterator[Questions]:
    found = Questions()
    async with machine(found, tmp_path):
        yield found


def command(*argv: str, has_terminal: bool = False) -> Question:
    return Question(id="", by="tester", exec=Exec(argv=argv, has_terminal=has_terminal))


async def answer(questions: Questions, question: Question) -> list[Part]:
    async with asyncio.timeout(30):
        return [part async for part in questions.ask(ONE, question)]


def out(parts: list[Part]) -> bytes:
    return b"".join(part.out for part in parts)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_command_s_output_error_and_exit_code_come_back(questions: Questions) -> None:
    parts = await answer(questions, command("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert out(parts) == b"out\n"
    assert b"".join(part.err for part in parts) == b"err\n"
    assert parts[-1] == Part(exit_code=7)


async def test_words_reach_the_command_as_they_are(questions: Questions) -> None:
    words = ["$HOME", "a b", "; rm -rf /nowhere", "*", "--help", "", "ä"]
    parts = await answer(questions, command("printf", "[%s]", *words))
    assert out(parts).decode() == "".join(f"[{word}]" for word in words)


async def test_a_command_that_a_signal_ended_says_which(questions: Questions) -> None:
    parts = await answer(questions, command("sh", "-c", "kill -TERM $$"))
    assert parts[-1] == Part(exit_code=143, signal="SIGTERM")


async def test_a_command_gets_a_clean_environment(
    questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    printed = out(await answer(questions, command("env"))).decode()
    assert "PATH=/" in printed
    assert "NOTIFY_SOCKET" not in printed


async def test_a_program_that_is_not_there_is_named(questions: Questions) -> None:
    with pytest.raises(NotFound, match="no-such-program"):
        await answer(questions, command("no-such-program"))
    with pytest.raises(Invalid):
        await answer(questions, command("echo", "a\0b"))


async def test_a_machine_may_refuse_to_run_commands(tmp_path: Path) -> None:
    questions = Questions()
    async with machine(questions, tmp_path, may_exec=False):
        with pytest.raises(NotAllowed, match="runs no commands"):
            await answer(questions, command("true"))


async def test_a_command_reads_what_is_sent_to_it(questions: Questions) -> None:
    async with asyncio.timeout(20), aclosing(questions.ask(ONE, command("cat"))) as parts:
        await anext(parts)
        id_ = next(iter(questions._asked))
        for number in range(50):
            await questions.tell(ONE, id_, Input(data=b"%d\n" % number + b"x" * 20_000))
        await questions.tell(ONE, id_, Input(is_end=True))
        found = [part async for part in parts]
    assert len(out(found)) == 50 * 20_000 + sum(len(f"{n}\n") for n in range(50))
    assert found[-1].exit_code == 0


async def test_another_machine_s_question_cannot_be_answered_or_read(questions: Questions) -> None:
    async with aclosing(questions.ask(ONE, command("cat"))) as parts:
        await anext(parts)
        id_ = next(iter(questions._asked))
        stranger = questions.line(OTHER)
        with pytest.raises(NotFound):
            await stranger.answer(id_, Answer(parts=(Part(out=b"lie"),)))
        with pytest.raises(NotFound):
            async with stranger.inputs(id_):
                pass
        with pytest.raises(NotFound):
            await questions.tell(OTHER, id_, Input(data=b"x"))


async def test_a_command_on_a_terminal_has_one_of_the_size_asked_for(questions: Questions) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size </dev/tty"
    parts = await answer(
        questions,
        Question(
            id="", exec=Exec(argv=("sh", "-c", script), has_terminal=True, rows=17, columns=71)
        ),
    )
    assert out(parts) == b"17 71\r\n"
    assert parts[-1].exit_code == 0


async def test_a_terminal_changes_its_size_and_passes_ctrl_c_on(questions: Questions) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
    printed = b""
    async with (
        asyncio.timeout(20),
        aclosing(questions.ask(ONE, command("sh", "-c", script, has_terminal=True))) as parts,
    ):
        async for part in parts:
            printed += part.out
            id_ = next(iter(questions._asked))
            if part.out == b"ready\r\n":
                await questions.tell(ONE, id_, Input(rows=33, columns=99))
            if b"33 99" in part.out:
                await questions.tell(ONE, id_, Input(data=b"\x03"))
            last = part
    assert last == Part(exit_code=130, signal="SIGINT")
    assert b"33 99" in printed


@pytest.mark.parametrize("has_terminal", [False, True])
async def test_a_command_ends_when_nobody_listens_any_more(
    questions: Questions, has_terminal: bool
) -> None:
    script = "trap '' HUP TERM; sleep 1000 & echo $! $$; while :; do wait; done"
    pids: list[int] = []
    async with (
        asyncio.timeout(20),
        aclosing(
            questions.ask(ONE, command("bash", "-c", script, has_terminal=has_terminal))
        ) as parts,
    ):
        async for part in parts:
            if part.out:
                pids = [int(word) for word in part.out.split()]
                break
    assert len(pids) == 2
    await until(lambda: not any(map(is_alive, pids)))


async def test_a_hundred_megabytes_that_nobody_reads_do_not_fill_the_memory(
    questions: Questions,
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = 0
    async with aclosing(
        questions.ask(ONE, command("head", "-c", "104857600", "/dev/zero"))
    ) as parts:
        await anext(parts)
        await asyncio.sleep(0.5)  # it could write meanwhile, if anybody let it
        asked = next(iter(questions._asked.values()))
        assert asked._parts_bytes < server_side.BUFFERED_BYTES + 1024 * 1024
        async for part in parts:
            size += len(part.out)
    assert size == 100 * 1024 * 1024
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


async def test_a_machine_that_is_not_connected_is_an_error_after_a_short_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_side, "CONNECT_SECONDS", 0.05)
    with pytest.raises(Temporary, match="not connected"):
        await answer(Questions(), command("true"))


async def test_a_machine_that_connects_meanwhile_is_asked(tmp_path: Path) -> None:
    questions = Questions()
    asking = asyncio.create_task(answer(questions, command("echo", "here")))
    await asyncio.sleep(0)
    async with machine(questions, tmp_path):
        assert out(await asking) == b"here\n"


async def test_questions_end_with_an_error_when_the_machine_goes_away(tmp_path: Path) -> None:
    questions = Questions()
    async with (
        machine(questions, tmp_path) as serving,
        aclosing(questions.ask(ONE, command("sleep", "1000"))) as parts,
    ):
        await anext(parts)
        serving.cancel()
        with pytest.raises(Temporary, match="went away"):
            async with asyncio.timeout(20):
                await anext(parts)
    assert not questions.is_connected(ONE)


async def test_an_agent_without_a_word_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_side, "BEGIN_SECONDS", 0.05)
    questions = Questions()
    async with questions.line(ONE).questions():
        with pytest.raises(Temporary, match="does not answer"):
            await answer(questions, command("true"))


async def test_a_question_of_a_newer_server_gets_a_clear_answer(questions: Questions) -> None:
    with pytest.raises(Unsupported, match="too old"):
        await answer(questions, Question(id=""))


async def test_more_than_a_machine_can_bear_is_refused(
    questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_side, "OPEN_AT_ONCE", 1)
    async with aclosing(questions.ask(ONE, command("sleep", "1000"))) as parts:
        await anext(parts)
        with pytest.raises(Conflict, match="asked 1 things already"):
            await answer(questions, command("true"))
    assert (await answer(questions, command("true")))[-1].exit_code == 0


async def test_facts_tell_of_the_machine(questions: Questions, tmp_path: Path) -> None:
    [facts] = [
        part.facts
        for part in await answer(questions, Question(id="", facts=AskFacts()))
        if part.facts
    ]
    assert abs((facts.at - clock()).total_seconds()) < 10
    assert facts.memory_total_bytes > 2**20
    [disk] = facts.disks
    assert disk.path == str(tmp_path)
    assert 0 < disk.free_bytes <= disk.total_bytes
    assert facts.kernel == os.uname().release
