"""Our reading of unit files is systemd's, asked of systemd itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.units import (
    commands,
    container,
    directives,
    loading,
    names,
    quoting,
    specifiers,
    values,
)
from argosy.units.check import check
from argosy.units.names import NameParts
from argosy.units.text import Entry, UnitText
from argosy.units.values import BadValue
from system import systemd_analyze

DEBIAN = Path("/lib/systemd/system")
MACHINE_LETTERS = "abCEghHlLmosStTuUvV"
HEAD = b"[Unit]\nDefaultDependencies=no\n"
TAIL = b"\n\n[Service]\nType=oneshot\nExecStart=/bin/true\n"


def debian_files() -> dict[str, bytes]:
    """Every unit file that Debian's packages installed here; a template as an instance of it."""
    found = {}
    for path in sorted(DEBIAN.iterdir()):
        if path.is_file() and not path.is_symlink() and names.is_valid(path.name):
            parts = names.parse(path.name)
            name = parts.with_instance("some-instance") if parts.is_template else parts.full
            found[str(name)] = path.read_bytes()
    assert len(found) > 50, "install Debian's package systemd"
    return found


def machine_specifiers(directory: Path) -> dict[str, str]:
    """What systemd replaces the specifiers of the machine with, here."""
    lines = "".join(f"Environment={letter}=%{letter}\n" for letter in MACHINE_LETTERS)
    text = HEAD + TAIL + lines.encode()
    loaded = systemd_analyze.ask(directory, {"probe.service": text}).units["probe.service"]
    return dict(line.split("=", 1) for line in loaded.properties["Environment"])


def argument_vectors(
    text: UnitText, key: str, name: NameParts, machine: dict[str, str]
) -> list[list[str]]:
    found = []
    for value in text.values("Service", key):
        for command in commands.read(value):
            expanded = command.map(lambda word: specifiers.expand(word, name, machine=machine))
            found.append(list(expanded.argv))
    return found


def environment(text: UnitText, name: NameParts, machine: dict[str, str]) -> list[str]:
    found: dict[str, str] = {}
    for value in text.values("Service", "Environment"):
        for word in quoting.split(value):
            variable, _, content = specifiers.expand(word, name, machine=machine).partition("=")
            found[variable] = content
    return [f"{variable}={content}" for variable, content in found.items()]


def test_every_unit_file_of_debian_round_trips_byte_for_byte() -> None:
    for name, data in debian_files().items():
        text = UnitText.parse(data, file=name)
        assert bytes(text) == data
        assert b"".join(text.raw_lines()) == data
        lines = data.decode().split("\n")
        for entry in text.entries:
            assert lines[entry.line - 1][entry.column - 1 :].startswith(entry.key)
            if entry.value and entry.line == entry.last_line:
                at = entry.position()
                assert lines[at.line - 1][at.column - 1 :].startswith(entry.value)


def test_no_unit_file_of_debian_has_anything_wrong() -> None:
    for name, data in debian_files().items():
        assert [str(found) for found in check(name, data).diagnostics] == []


def test_systemd_reads_the_same_keys_and_values_in_every_unit_file_of_debian(
    tmp_path: Path,
) -> None:
    files = debian_files()
    machine = machine_specifiers(tmp_path)
    answer = systemd_analyze.ask(tmp_path, files)
    assert len(answer.units.keys() & files.keys()) > 50
    compared = 0
    for name, data in files.items():
        loaded = answer.units.get(name)
        if loaded is None:
            continue  # systemd would not load it here, for instance for want of its program's user
        text, parts = UnitText.parse(data, file=name), names.parse(name)
        description = text.last("Unit", "Description")
        if description is not None:
            assert loaded.description == specifiers.expand(description, parts, machine=machine)
            compared += 1
        for key in loading.COMMANDS:
            expected = argument_vectors(text, key, parts, machine)
            assert loaded.commands.get(key, []) == expected, f"{name} {key}"
            compared += len(expected)
        assert loaded.properties.get("Environment", []) == environment(text, parts, machine)
        for key in ("Requires", "Wants", "BindsTo", "Before", "After", "Conflicts", "PartOf"):
            listed = {line.partition(" ")[0] for line in loaded.properties.get(key, [])}
            for _, unit in loading.dependencies(text, key):
                target = specifiers.expand(unit.text, parts, machine=machine)
                aliases = (DEBIAN / target).resolve().name
                assert target in listed or aliases in listed, f"{name} {key}={target}"
                compared += 1
    assert compared > 500


def test_systemd_knows_every_key_that_we_know_of_its_version_and_we_know_all_of_its() -> None:
    done = subprocess.run(
        ["/lib/systemd/systemd", "--dump-configuration-items"],
        capture_output=True,
        text=True,
        check=True,
    )
    section = ""
    for line in done.stdout.split("\n"):
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line:
            key = line.partition("=")[0]
            known = key in directives.SECTIONS[section]
            assert known or key in directives.OBSOLETE, f"[{section}] {key}"


FRAGMENTS = st.sampled_from(
    [
        *"\\\\\\\"' \t;#=[]%ab",
        "\n",
        "\n",
        "\n",
        "\r",
        "\r\n",
        "\n\r",
        "\\\n",
        "\\\r\n",
        "\n#",
        "\n ;",
        "\nDescription=",
        "\nDescription=",
        "\n Description = x",
        "\nEnvironment=A=1 B=",
        "\nEnvironment=",
        "\n[Unit]\n",
        "\n[Service]\n",
        "\n[Install]\n",
        "\n[X-Mine]\n",
        "\nFoo=",
        "\nBar\t= x \\",
        "%n",
        "%%",
        "é",
        "\ufeff",
        "\ufffe",
        "\x80\n",
        "\\x41",
        "\\u00e9",
        "\\101",
        "\\s",
        "\\q",
    ]
)


def as_bytes(fragments: list[str]) -> bytes:
    # A lone 0x80 is the one way in which these files are not UTF-8.
    return "".join(fragments).encode().replace(b"\xc2\x80", b"\x80")


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.lists(FRAGMENTS, max_size=30).map(as_bytes), min_size=12, max_size=12))
def test_systemd_reads_the_same_in_files_made_to_be_difficult(
    tmp_path: Path, middles: list[bytes]
) -> None:
    files = {f"hard{number}.service": HEAD + middle + TAIL for number, middle in enumerate(middles)}
    answer = systemd_analyze.ask(tmp_path, files)
    for name, data in files.items():
        text, parts = UnitText.parse(data, file=name), names.parse(name)
        expected = [
            (entry.last_line, entry.section, entry.key)
            for entry in text.entries
            if entry.section in ("Unit", "Service", "Install")
            and entry.key not in directives.SECTIONS[entry.section]
            and not entry.key.startswith("X-")
        ]
        if name not in answer.units:
            assert check(name, data).errors, "systemd refuses the file and we do not"
            continue
        assert answer.unknown_keys(name) == expected
        loaded = answer.units[name]
        description = text.last("Unit", "Description")
        if description is not None:
            assert loaded.description == specifiers.expand(description, parts, machine={})
        assert loaded.properties.get("Environment", []) == as_systemd_keeps(text, parts)


def as_systemd_keeps(text: UnitText, name: NameParts) -> list[str]:
    """Of each Environment= line what comes before the first fault, and is an assignment: that much systemd keeps."""
    found: dict[str, str] = {}
    for entry in text.assigned("Service", "Environment"):
        for word in words_before_fault(entry):
            variable, equals, content = specifiers.expand(word, name, machine={}).partition("=")
            if equals and variable.isidentifier() and variable.isascii():
                found[variable] = content
    return [f"{variable}={content}" for variable, content in found.items()]


def words_before_fault(entry: Entry) -> list[str]:
    found: list[str] = []
    offset = 0
    while True:
        try:
            word = quoting.next_word(entry.value, offset)
        except BadValue:
            return found
        if word is None:
            return found
        found.append(word.text)
        offset = word.end


WORDS = st.lists(
    st.text(
        st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs", "Cn", "Co"]),
        max_size=12,
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(WORDS, min_size=20, max_size=20))
def test_systemd_reads_back_every_word_that_we_quote(
    tmp_path: Path, lines: list[list[str]]
) -> None:
    written = [
        "ExecStart=/bin/echo " + " ".join(map(quoting.quote, line)).replace("%", "%%")
        for line in lines
    ]
    text = HEAD + TAIL + "\n".join(written).encode()
    loaded = systemd_analyze.ask(tmp_path, {"quoted.service": text}).units["quoted.service"]
    assert loaded.commands["ExecStart"] == [
        ["/bin/true"],
        *(["/bin/echo", *line] for line in lines),
    ]


HARD_COMMANDS = [
    "/bin/echo a ; /bin/echo b",
    "/bin/echo a \\; b",
    "/bin/echo ';' b \";\"",
    "/bin/echo a; b",
    "-@:/bin/echo zero one",
    "+/bin/echo x",
    "!!/bin/echo x",
    "/bin/echo \\x41\\u00e9\\U0001F600\\101\\s\\t| \\q \\$ '\\'' \"it's\" 'say \"x\"' a'b c'd",
    "/bin/echo \\xc3\\xa9",
    "   /bin/echo   spread\t\tout   ",
    "/bin/echo '' \"\"",
    ";",
    "; /bin/echo x",
    "/bin/echo x ;",
    "/bin/echo ${A} $B $$C",
    "echo looked-up",
    '"/bin/echo" quoted',
]


@pytest.mark.parametrize("value", HARD_COMMANDS)
def test_systemd_splits_the_command_line_the_same_way(tmp_path: Path, value: str) -> None:
    text = HEAD + b"\n[Service]\nType=oneshot\nExecStart=/bin/true\nExecStart=" + value.encode()
    loaded = systemd_analyze.ask(tmp_path, {"command.service": text}).units["command.service"]
    assert loaded.commands["ExecStart"][1:] == [list(c.argv) for c in commands.read(value)]


REFUSED_COMMANDS = [
    "/bin/echo 'open",
    '/bin/echo "open',
    "bin/echo",
    "@/bin/echo",
    "-",
    "/bin/",
    "--/bin/echo",
    "+!/bin/echo",
]


@pytest.mark.parametrize("value", REFUSED_COMMANDS)
def test_systemd_refuses_the_command_lines_that_we_refuse(tmp_path: Path, value: str) -> None:
    text = HEAD + b"\n[Service]\nType=oneshot\nExecStart=" + value.encode()
    answer = systemd_analyze.ask(tmp_path, {"command.service": text})
    assert "command.service" not in answer.units
    with pytest.raises(BadValue):
        commands.read(value)


TEXTS = [
    "",
    "foo",
    "/",
    "/dev/sda",
    "a-b",
    ".hidden",
    "x.y",
    "über",
    "a\\b",
    "a b/c_d:e",
    "-",
    "%",
    "@",
]


@pytest.mark.parametrize("text", TEXTS)
def test_escaping_is_that_of_systemd_escape(text: str) -> None:
    def ask(*arguments: str) -> str:
        done = subprocess.run(
            ["systemd-escape", *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.removesuffix("\n")

    escaped = ask("--", text)
    assert names.escape(text) == escaped
    assert names.unescape(escaped) == ask("--unescape", "--", escaped)
    if text:
        assert names.escape_path(text) == ask("--path", "--", text)


DURATIONS = [
    "90",
    "1min 30s",
    "1.5h",
    "2d3h",
    "500ms",
    "1y",
    "1M",
    "infinity",
    "0",
    ".5s",
    "5 min",
    "12us",
    "3weeks",
]


@pytest.mark.parametrize("text", DURATIONS)
def test_durations_mean_what_systemd_takes_them_for(text: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "timespan", text], capture_output=True, text=True, check=True
    )
    shown = done.stdout.split("μs: ")[1].split("\n")[0]
    ours = values.duration(text)
    if text == "infinity":
        assert ours is values.INFINITY
    else:
        assert ours.total_seconds() * 1_000_000 == int(shown)


def test_rendered_containers_are_read_by_systemd_as_the_arguments_that_were_meant(
    tmp_path: Path,
) -> None:
    source = b"""[Unit]
DefaultDependencies=no
[Container]
Image=docker.io/library/nginx:1.27
Exec=sh -c "echo 'a  b' ; exit" \\x41 ; last
Environment=A=1 "B=two words" 'C=say "hi"; [Service]'
Label="x=y \\\\ z"
PublishPort=127.0.0.1:8080:80/tcp
# The file ends in the middle of a value, into which the rendered section must not fall.
[Install]
WantedBy=multi-user.target \\"""
    text = UnitText.parse(source, file="web.container")
    engine = container.ContainerEngine(container.Engine.DOCKER, "/usr/bin/docker")
    rendered = container.render(text, "web.service", engine=engine)
    loaded = systemd_analyze.ask(tmp_path, {"web.service": rendered}).units["web.service"]
    (argv,) = loaded.commands["ExecStart"]
    assert argv[:4] == ["/usr/bin/docker", "run", "--name=systemd-web", "--rm"]
    assert [a for a in argv if a.startswith(("--env=A=", "--env=B=", "--env=C="))] == [
        "--env=A=1",
        "--env=B=two words",
        '--env=C=say "hi"; [Service]',
    ]
    assert "--label=x=y \\ z" in argv
    assert argv[argv.index("--") :] == [
        "--",
        "docker.io/library/nginx:1.27",
        "sh",
        "-c",
        "echo 'a  b' ; exit",
        "A",
        ";",
        "last",
    ]
