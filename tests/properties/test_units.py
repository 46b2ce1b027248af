"""The unit-file language under anything that can be thrown at it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import Invalid
from argosy.units import (
    app,
    commands,
    container,
    globs,
    names,
    quoting,
    specifiers,
    values,
    variables,
)
from argosy.units.check import OUR_SECTIONS, check
from argosy.units.container import ContainerEngine, Engine
from argosy.units.text import MAX_BYTES, UnitText
from argosy.units.values import BadValue

SECTIONS = st.sampled_from(["Unit", "Service", "Install", "Container", "X-Flet", *OUR_SECTIONS])
KEYS = st.sampled_from(
    [
        "Description",
        "After",
        "Requires",
        "BindsTo",
        "ExecStart",
        "ExecStop",
        "Environment",
        "Type",
        "Restart",
        "MachineID",
        "MachineOf",
        "MachineMetadata",
        "Conflicts",
        "Global",
        "Replaces",
        "X-Conflicts",
        "Memory",
        "CPU",
        "Spread",
        "Require",
        "MaxPerMachine",
        "WhenCutOff",
        "MoveAfter",
        "Replicas",
        "Port",
        "HTTP",
        "TCP",
        "Command",
        "Status",
        "Host",
        "Interval",
        "Timeout",
        "Rise",
        "Name",
        "Key",
        "TTL",
        "Strategy",
        "Order",
        "Canary",
        "MaxSurge",
        "MaxUnavailable",
        "Bake",
        "Keep",
        "Balancer",
        "Listen",
        "Path",
        "Drain",
        "Min",
        "Max",
        "Metric",
        "Target",
        "StepUp",
        "Window",
        "Image",
        "Exec",
        "Volume",
        "PublishPort",
        "Label",
        "User",
        "Notify",
        "PodmanArgs",
        "ReadOnly",
        "Foo",
    ]
)
PIECES = st.sampled_from(
    [
        *" \t\"'\\%$;#=,:/.-@*?[]()<>!\n\r",
        "%i",
        "%n",
        "%H",
        "a",
        "web",
        "web@1.service",
        "b.service",
        "1",
        "0",
        "80",
        "99999999999999999999",
        "25%",
        "1min",
        "512M",
        "yes",
        "infinity",
        "in",
        "disk=ssd",
        "prometheus:",
        "\\x41",
        "\\\n",
        "é",
        "\ufeff",
        "\u2028",
        "\0",
        "\x1b",
    ]
)
VALUES = st.lists(PIECES, max_size=8).map("".join)
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map("=".join),
    SECTIONS.map("[{}]".format),
    VALUES,
)
TEXTS = st.lists(LINES, max_size=25).map("\n".join).map(str.encode)
FILES = st.sampled_from(
    ["web@1.service", "web@.service", "b.service", "web.container", "x.timer", "bad"]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), TEXTS))
def test_the_bytes_come_back_and_every_place_is_in_the_file(data: bytes) -> None:
    text = UnitText.parse(data)
    assert bytes(text) == data
    lines = text.raw_lines()
    assert b"".join(lines) == data
    for entry in text.entries:
        for offset in range(len(entry.value) + 1):
            line, column = entry.position(offset)
            assert 1 <= line <= len(lines)
            assert 1 <= column <= len(lines[line - 1].decode("utf-8", "surrogateescape")) + 1
    for found in text.diagnostics:
        assert 1 <= found.line <= max(1, len(lines))


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_each_character_of_a_value_is_found_where_it_stands(data: bytes) -> None:
    text = UnitText.parse(data)
    lines = [line.decode("utf-8", "surrogateescape") for line in text.raw_lines()]
    for entry in text.entries:
        for offset, character in enumerate(entry.value):
            line, column = entry.position(offset)
            there = lines[line - 1][column - 1]
            # A backslash that continues the line became the space.
            assert there == character or (character == " " and there == "\\")


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["Unit", "Service", "X-Mine"]),
        st.text(st.sampled_from("ABCabc-"), min_size=1, max_size=5),
        st.text(st.sampled_from("abc =#;[]\\\"'%é"), max_size=10).map(str.strip),
    ),
    max_size=20,
)


@settings(max_examples=200, deadline=None)
@given(ENTRIES)
def test_what_is_written_is_read_back(entries: list[tuple[str, str, str]]) -> None:
    written = [(section, key, value.rstrip("\\").strip()) for section, key, value in entries]
    data = "".join(f"[{section}]\n{key}={value}\n" for section, key, value in written)
    text = UnitText.parse(data.encode())
    assert [(entry.section, entry.key, entry.value) for entry in text.entries] == written
    held: dict[tuple[str, str], list[str]] = {}
    for section, key, value in written:
        held.setdefault((section, key), []).append(value)
        if not value:
            held[section, key].clear()
    for (section, key), expected in held.items():
        assert text.values(section, key) == tuple(expected)


@settings(max_examples=400, deadline=None)
@given(FILES, st.one_of(TEXTS, st.binary(max_size=200)))
def test_no_file_makes_the_checks_fail_and_every_word_of_theirs_is_printable(
    file: str, data: bytes
) -> None:
    checked = check(file, data)
    for found in checked.diagnostics:
        assert str(found).isprintable()
        assert found.excerpt(data).replace("\n", "").replace("\t", "").isprintable()
    if not checked.errors:
        assert checked.name is not None
        for pattern in checked.requirements.conflicts:
            globs.matches(pattern, checked.name)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        FILES | st.sampled_from(["environments/a.env", "argosy.toml"]), TEXTS, max_size=4
    )
)
def test_no_app_makes_the_checks_fail(files: dict[str, bytes]) -> None:
    loaded = app.load(files)
    assert all(str(found).isprintable() for found in loaded.diagnostics)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from(Engine))
def test_a_rendered_container_runs_one_command_whatever_stands_around_it(
    data: bytes, kind: Engine
) -> None:
    text = UnitText.parse(b"[Container]\nImage=nginx\n" + data, file="web.container")
    try:
        rendered = container.render(
            text, "web@1.service", engine=ContainerEngine(kind, "/usr/bin/engine")
        )
    except Invalid:
        return
    again = UnitText.parse(rendered, file="web@1.service")
    assert not any(found.is_error for found in again.diagnostics)
    (start,) = again.values("Service", "ExecStart")
    (command,) = commands.read(start)
    assert command.path == "/usr/bin/engine"
    before_image = command.argv[command.argv.index("run") + 1 : command.argv.index("--")]
    assert all(
        argument.startswith("-") or "PodmanArgs" in data.decode() for argument in before_image
    )
    assert not again.has_section("Container")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=6)
)
def test_quoted_words_are_read_back(words: list[str]) -> None:
    line = " ".join(map(quoting.quote, words))
    assert line.isprintable()
    assert quoting.split(line) == words
    assert quoting.split(line, escapes=quoting.Escapes.RELAXED) == words


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40))
def test_escaped_text_is_part_of_a_valid_name_and_comes_back(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    escaped = names.escape(text)
    assert names.unescape(escaped) == text
    if 0 < len(escaped) < 240:
        assert names.is_valid(f"x@{escaped}.service")


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_readers_of_values_refuse_in_words_or_return(value: str) -> None:
    name = names.parse("web@1.service")
    readers: list[Callable[[str], object]] = [
        values.duration,
        values.size,
        values.cpu,
        values.boolean,
        values.port,
        values.number,
        values.share,
        quoting.split,
        commands.read,
        globs.check,
        lambda text: specifiers.expand(text, name),
    ]
    for read in readers:
        try:
            read(value)
        except BadValue as bad:
            assert 0 <= bad.offset <= len(value)
            assert bad.message


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(list("*?ab[]^-\\")), max_size=12).map("".join),
    st.text("ab-", max_size=12),
)
def test_stars_and_marks_match_as_gos_path_match_defines_them(pattern: str, name: str) -> None:
    try:
        found = globs.matches(pattern, name)
    except BadValue:
        return
    assert found == matches_by_trying(pattern, name)


def matches_by_trying(pattern: str, name: str) -> bool:
    """The definition, written down without any cleverness."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(matches_by_trying(pattern[1:], name[cut:]) for cut in range(len(name) + 1))
    if pattern[0] == "[":
        end, negated = 1, pattern[1] == "^"
        end += negated
        inside = False
        while pattern[end] != "]" or end == 1 + negated:
            end += pattern[end] == "\\"
            low = high = pattern[end]
            if pattern[end + 1] == "-":
                end += 2
                end += pattern[end] == "\\"
                high = pattern[end]
            inside = inside or (bool(name) and low <= name[0] <= high)
            end += 1
        return bool(name) and inside != negated and matches_by_trying(pattern[end + 1 :], name[1:])
    if pattern[0] == "\\":
        pattern = pattern[1:]
    elif pattern[0] == "?":
        return bool(name) and matches_by_trying(pattern[1:], name[1:])
    return bool(name) and name[0] == pattern[0] and matches_by_trying(pattern[1:], name[1:])


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | st.sampled_from(["A=", "\nB="]), max_size=12).map("".join))
def test_no_environment_file_makes_the_reader_fail(text: str) -> None:
    found, wrong = variables.parse(text.encode(), file="e.env")
    assert all(name.isidentifier() and "\n" not in value for name, value in found.items())
    assert all(str(one).isprintable() for one in wrong)


HOSTILE = {
    "backslashes": ("[Unit]\nDescription=", "\\"),
    "continued lines": ("[Unit]\nDescription=", "\\\n"),
    "continued lines with comments": ("[Unit]\nDescription=", "a\\\n# x\n"),
    "one long line": ("[Unit]\nDescription=", "x"),
    "blanks": ("[Unit]\nDescription", " "),
    "sections": ("", "[Unit]\n"),
    "foreign sections": ("", "[X-Foo]\nA=1\n"),
    "misspelled sections": ("", "[X-Flet]\n"),
    "many keys": ("[Service]\n", "Fooo=1\n"),
    "one key": ("[Unit]\n", "After=a.service\n"),
    "resets": ("[Unit]\n", "After=a.service\nAfter=\n"),
    "lines without a key": ("[Unit]\n", "=\n"),
    "stray text": ("", "x\n"),
    "control characters": ("[Unit]\n", "#\x01\n"),
    "dependencies": ("[Unit]\nAfter=", "a.service "),
    "wrong dependencies": ("[Unit]\nAfter=", "a.servce "),
    "quotes": ("[Service]\nExecStart=/bin/a ", "'' "),
    "escapes": ("[Service]\nExecStart=/bin/a ", "\\x41"),
    "commands": ("[Service]\nExecStart=", "/bin/a ; "),
    "environment": ("[Service]\nEnvironment=", "A=1 "),
    "specifiers": ("[Unit]\nDescription=", "%n"),
    "percent signs": ("[Unit]\nDescription=", "%"),
    "conflicts": ("[X-Fleet]\nConflicts=", "a*.service "),
    "lines of conflicts": ("[X-Fleet]\n", "Conflicts=b*.service\n"),
    "wrong conflicts": ("[X-Fleet]\n", "Conflicts=b*.servce\n"),
    "stars": ("[X-Fleet]\nConflicts=", "*a"),
    "brackets": ("[X-Fleet]\nConflicts=", "[a"),
    "metadata": ("[X-Fleet]\nMachineMetadata=", '"a=b" '),
    "peers": ("[X-Fleet]\n", "MachineOf=a.service\n"),
    "conditions": ("[X-Placement]\n", "Require=a!=b\n"),
    "one condition": ("[X-Placement]\nRequire=a in ", "b,"),
    "spread": ("[X-Placement]\nSpread=", "zone "),
    "digits": ("[X-Placement]\nMemory=", "9"),
    "spans": ("[X-Health]\nTCP=yes\nInterval=", "1s "),
    "ports": ("[X-Service]\nPort=", "80 "),
    "container words": ("[Container]\nImage=x\nExec=", "a "),
    "container lines": ("[Container]\nImage=x\n", "Volume=/a:/b\n"),
    "wrong container keys": ("[Container]\nImage=x\n", "Volum=/a:/b\n"),
}


def seconds(file: str, head: str, piece: str, size: int) -> float:
    """CPU time of checking a file of about this size, the best of three."""
    data = (head + piece * ((size - len(head)) // len(piece))).encode()
    best = float("inf")
    for _ in range(3):
        before = time.process_time()
        check(file, data)
        best = min(best, time.process_time() - before)
    return best


@pytest.mark.parametrize(("head", "piece"), HOSTILE.values(), ids=HOSTILE.keys())
def test_time_grows_no_faster_than_the_file(head: str, piece: str) -> None:
    small, large = MAX_BYTES // 64, MAX_BYTES // 8
    # Eight times the size: linear takes 8 times as long, quadratic 64 times. A floor against noise in tiny figures.
    ratio = seconds("web@1.service", head, piece, large) / max(
        seconds("web@1.service", head, piece, small), 0.0005
    )
    assert ratio < 28
