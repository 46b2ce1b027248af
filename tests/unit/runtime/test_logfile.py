"""A unit's log on disk: places that survive rotation, writers that were killed, disks that are full."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.runtime.process.logfile import LogWriter, last_lines, lines_after


def test_lines_of_one_microsecond_get_places_of_their_own(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "a.log")
    log.write("o", [b"one", b"two"], now=5)
    log.write("e", [b"three"], now=4)
    log.close()
    lines = last_lines(tmp_path / "a.log", 10)
    assert [(line.at, line.letter, line.text) for line in lines] == [
        (5, "o", b"one"),
        (6, "o", b"two"),
        (7, "e", b"three"),
    ]


def test_a_writer_goes_on_after_one_that_was_killed_within_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"10 o whole\n20 o torn")
    log = LogWriter(path)
    log.write("o", [b"next"], now=1)
    log.close()
    assert [line.text for line in last_lines(path, 10)] == [b"whole", b"torn", b"next"]
    assert last_lines(path, 1)[0].at == 21


@given(
    st.lists(st.binary(max_size=300).filter(lambda text: b"\n" not in text), max_size=80),
    st.integers(min_value=400, max_value=5000),
)
@settings(deadline=None, max_examples=60)
def test_every_place_finds_exactly_the_lines_after_it(texts: list[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.log"
        log = LogWriter(path, max_bytes=size)
        for number, text in enumerate(texts):
            log.write("o", [text], now=number * 10)
        log.close()
        kept = last_lines(path, 1000)
        assert [line.text for line in kept] == texts[len(texts) - len(kept) :]
        for index, line in enumerate(kept):
            assert list(lines_after(path, line.at)) == kept[index + 1 :]
        assert list(lines_after(path, -1)) == kept
        assert all(file.stat().st_size <= size for file in Path(directory).iterdir())
