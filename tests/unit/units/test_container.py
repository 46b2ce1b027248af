"""Quadlet's .container files, rendered. What systemd reads in them is asked of it in `tests/system`."""

from __future__ import annotations

import pytest

from argosy.errors import Invalid
from argosy.units import commands, container, names
from argosy.units.check import check
from argosy.units.container import ContainerEngine, Engine
from argosy.units.text import UnitText
from unit.units.unit_files import errors

DOCKER = ContainerEngine(Engine.DOCKER, "/usr/bin/docker")
PODMAN = ContainerEngine(Engine.PODMAN, "/usr/bin/podman")
PASSED_ON = [f"--env={name}" for name in container.PASSED_ON]


def render(keys: str, *, engine: ContainerEngine = DOCKER, name: str = "web.service") -> UnitText:
    text = UnitText.parse(f"[Container]\nImage=nginx\n{keys}".encode(), file="web.container")
    rendered = UnitText.parse(container.render(text, name, engine=engine), file=name)
    assert not rendered.diagnostics
    return rendered


def run(keys: str, *, engine: ContainerEngine = DOCKER) -> list[str]:
    """The arguments between the variables passed on and the image."""
    (start,) = render(keys, engine=engine).values("Service", "ExecStart")
    (command,) = commands.read(start)
    argv = list(command.argv)
    return argv[argv.index(PASSED_ON[-1]) + 1 : argv.index("--")]


def test_docker_and_podman_run_the_same_container() -> None:
    for engine in (DOCKER, PODMAN):
        rendered = render("Exec=nginx -g 'daemon off;'\n", engine=engine)
        (start,) = rendered.values("Service", "ExecStart")
        argv = commands.read(start)[0].argv
        assert argv[:3] == (engine.path, "run", "--name=systemd-%N")
        assert argv[-4:] == ("nginx", "nginx", "-g", "daemon off;")
        assert rendered.values("Service", "ExecStop") == (f"-{engine.path} stop systemd-%N",)
        assert rendered.values("Service", "ExecStopPost") == (f"-{engine.path} rm -f systemd-%N",)


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("PublishPort=127.0.0.1:80%i:80/tcp", ["--publish=127.0.0.1:80%i:80/tcp"]),
        ('Environment=A=1 "B=two words"', ["--env=A=1", "--env=B=two words"]),
        ("Environment=A=1\nEnvironment=\nEnvironment=B=2", ["--env=B=2"]),
        ("EnvironmentFile=/etc/web.env", ["--env-file=/etc/web.env"]),
        (
            "Volume=/data/%i:/data:ro\nVolume=cache:/cache",
            ["--volume=/data/%i:/data:ro", "--volume=cache:/cache"],
        ),
        ("Label=a=1 'b=x y'", ["--label=a=1", "--label=b=x y"]),
        ("AddCapability=NET_ADMIN SYS_TIME", ["--cap-add=NET_ADMIN", "--cap-add=SYS_TIME"]),
        ("DropCapability=all", ["--cap-drop=all"]),
        ("User=1000\nGroup=50", ["--user=1000:50"]),
        ("User=www", ["--user=www"]),
        ("WorkingDir=/srv", ["--workdir=/srv"]),
        ("Entrypoint=/bin/x", ["--entrypoint=/bin/x"]),
        ("Network=host", ["--network=host"]),
        ("HealthCmd=curl -f http://localhost/", ["--health-cmd=curl -f http://localhost/"]),
        ("HealthInterval=5s\nHealthRetries=3", ["--health-interval=5s", "--health-retries=3"]),
        ("ReadOnly=yes\nTmpfs=/tmp", ["--read-only", "--tmpfs=/tmp"]),
        ("ReadOnly=no", []),
        ("NoNewPrivileges=true", ["--security-opt=no-new-privileges"]),
        ("SecurityLabelType=x_t", ["--security-opt=label=type:x_t"]),
        ("Memory=512m", ["--memory=512m"]),
    ],
)
def test_each_key_becomes_its_option(keys: str, arguments: list[str]) -> None:
    assert run(keys) == arguments


def test_podman_takes_what_docker_has_not() -> None:
    assert run("Secret=token,type=env\nPodmanArgs=--tz local", engine=PODMAN) == [
        "--secret=token,type=env",
        "--tz",
        "local",
    ]
    with pytest.raises(Invalid, match="Secret needs podman"):
        run("Secret=token")
    assert any(
        "only on machines that have podman" in str(w)
        for w in check("web.container", b"[Container]\nImage=x\nSecret=t\n").warnings
    )


@pytest.mark.parametrize(
    ("notify", "how", "kind"),
    [("yes", "container", "notify"), ("healthy", "healthy", "notify"), ("no", "ignore", None)],
)
def test_podman_says_when_the_container_is_ready(notify: str, how: str, kind: str | None) -> None:
    rendered = render(f"Notify={notify}\n", engine=PODMAN)
    assert rendered.last("Service", "Type") == kind
    assert f"--sdnotify={how}" in (rendered.last("Service", "ExecStart") or "")


def test_an_instance_has_a_name_that_engines_allow() -> None:
    start = render("", name="web@1.service").last("Service", "ExecStart") or ""
    assert "--name=systemd-%p_%i " in start


def test_no_value_becomes_a_second_argument_or_directive() -> None:
    hostile = "Environment=\"A=1 --privileged\" 'B=\\n[Service]\\nExecStart=/bin/evil'\nHostName=x --privileged\n"
    rendered = render(hostile)
    assert len(rendered.values("Service", "ExecStart")) == 1
    assert run(hostile) == [
        "--env=A=1 --privileged",
        "--env=B=\n[Service]\nExecStart=/bin/evil",
        "--hostname=x --privileged",
    ]


@pytest.mark.parametrize("end", ["", "\n", "\\", "\\\n", "\r", " \\\n# comment\n"])
def test_the_rendered_section_stands_on_its_own_however_the_text_ends(end: str) -> None:
    rendered = render(f"[Install]\nWantedBy=multi-user.target{end}")
    assert rendered.last("Service", "ExecStart") is not None
    assert rendered.last("Install", "WantedBy") == "multi-user.target"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_other_sections_pass_through_byte_for_byte(line_end: str) -> None:
    before = line_end.join(["# mine", "[Unit]", "Description=x", ""])
    inside = line_end.join(["[Container]", "Image=nginx", "# gone", ""])
    after = line_end.join(
        ["[X-Fleet]", "MachineMetadata=a=b", "", "[Service]", "Restart=always", ""]
    )
    text = UnitText.parse((before + inside + after).encode(), file="web.container")
    rendered = container.render(text, "web.service", engine=DOCKER)
    assert rendered.startswith((before + after).encode())


def test_rendering_is_deterministic() -> None:
    text = UnitText.parse(b"[Container]\nImage=x\nLabel=b=1 a=2\n", file="x.container")
    assert len({container.render(text, "x.service", engine=DOCKER) for _ in range(5)}) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "Image= is missing"),
        ("Image=--privileged", "Image: '--privileged' is no image"),
        ("Image=a b", "Image: 'a b' is no image"),
        ("Image=$IMAGE", "Image: a variable needs braces here (write ${IMAGE}"),
        ("Image=web.build", "Image: 'web.build' is a unit of Quadlet's own"),
        ("Image=x\nImg=y", "unknown key 'Img' in [Container] (did you mean 'Image'?)"),
        ("Image=x\nAutoUpdate=registry", "Argosy does not take AutoUpdate"),
        ("Image=x\nVolume=./data:/data", "Volume: './data' is a relative path"),
        ("Image=x\nVolume=db.volume:/data", "Volume: 'db.volume' is a unit of Quadlet's own"),
        ("Image=x\nNetwork=my.network", "Network: 'my.network' is a unit of Quadlet's own"),
        ("Image=x\nPublishPort=80:80:80:80:80", "PublishPort: '80:80:80:80:80' is no port"),
        ("Image=x\nEnvironment=A", "Environment: 'A' is no NAME=value"),
        ("Image=x\nReadOnly=maybe", "ReadOnly: 'maybe' is neither yes nor no"),
        ("Image=x\nExec=sh -c 'a", "Exec: the quote ' is not closed"),
        ("Image=x\nGroup=1", "Group= needs User="),
        ("Image=x\nContainerName=-x", "ContainerName: '-x' is no name"),
        ("Image=x\n[Service]\nExecStart=/bin/true", "ExecStart follows from [Container]"),
    ],
)
def test_what_cannot_be_run_is_an_error_when_submitted(lines: str, message: str) -> None:
    found = errors(check("web.container", f"[Container]\n{lines}\n".encode()))
    assert any(message.partition(" (")[0] in one for one in found), found


def test_only_a_service_can_be_a_container() -> None:
    checked = check("web.timer", b"[Container]\nImage=x\n")
    assert any("cannot be a container" in one for one in errors(checked))


def test_nothing_wrong_is_rendered() -> None:
    text = UnitText.parse(b"[Container]\nImage=x\0\n", file="x.container")
    with pytest.raises(Invalid):
        container.render(text, names.validate("x.service"), engine=DOCKER)
