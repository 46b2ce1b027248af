"""`.container` files run by a real Docker."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.running import App, eventually, get, is_free

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

IMAGE = "argosy-test/busybox"
PORT = 8870


@pytest.fixture
def docker_host() -> Iterator[str]:
    """A Docker daemon of the test's own, with one image of busybox alone."""
    for program in ("dockerd", "docker", "busybox"):
        assert shutil.which(program), f"the test needs {program}: scripts/install-test-programs"
    if os.geteuid() != 0:
        pytest.skip("only root may run a Docker daemon")
    # Not below tmp_path: the path of containerd's socket would be longer than sun_path.
    here = Path(tempfile.mkdtemp(prefix="docker-"))
    host = f"unix://{here}/docker.sock"
    with (here / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                "dockerd",
                *("--host", host, "--pidfile", here / "pid"),
                *("--data-root", here / "data", "--exec-root", here / "exec"),
                *("--bridge=none", "--iptables=false", "--ip6tables=false"),
                "--storage-driver=vfs",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: is_answering(host), f"dockerd answers; its log: {here}/log", seconds=30)
        docker(host, "import", str(image_archive(here)), IMAGE)
        yield host
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
    # A name of a network namespace that dockerd mounts and leaves.
    subprocess.run(["umount", *(here / "exec" / "netns").glob("*")], check=False)
    shutil.rmtree(here)


def is_answering(host: str) -> bool:
    version = ["docker", "--host", host, "version"]
    return subprocess.run(version, capture_output=True, timeout=30).returncode == 0


def image_archive(directory: Path) -> Path:
    busybox = shutil.which("busybox")
    assert busybox is not None
    archive = directory / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
    return archive


def docker(host: str, *arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments],
        env=os.environ | {"DOCKER_HOST": host},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_container_file_runs_answers_and_leaves_nothing(docker_host: str, tmp_path: Path) -> None:
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "page.txt").write_text("from the container\n")
    (directory / "web.container").write_text(
        f"""\
[Container]
Image={IMAGE}
ContainerName=argosy-test-web
Network=host
RunInit=yes
Volume={directory}:/srv:ro
Environment="GREETING=a $HOME of 100%%"
Exec=/bin/busybox sh -c 'echo "$$GREETING"; exec /bin/busybox httpd -f -p 127.0.0.1:{PORT} -h /srv'

[Service]
Environment=DOCKER_HOST={docker_host}
"""
    )
    app = App(directory, tmp_path / "state")
    with app.cleaned_up():
        assert is_free(PORT)
        app.up()
        url = f"http://127.0.0.1:{PORT}/page.txt"
        eventually(lambda: get(url) == "from the container\n", "the container answers")
        assert "a $HOME of 100%" in app.run("logs", "web.service")
        assert "[Container]" in app.run("cat", "web.service")
        assert docker(docker_host, "ps", "--format", "{{.Names}}") == "argosy-test-web"
        app.run("restart", "web.service")
        eventually(lambda: get(url) == "from the container\n", "it answers again")
        app.run("down")
        assert docker(docker_host, "ps", "--all", "--format", "{{.Names}}") == ""


def test_an_image_that_is_not_there_is_told_with_dockers_words(
    docker_host: str, tmp_path: Path
) -> None:
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "web.container").write_text(
        "[Container]\nImage=argosy-test/none\nPull=never\n\n"
        f"[Service]\nEnvironment=DOCKER_HOST={docker_host}\n"
    )
    app = App(directory, tmp_path / "state")
    with app.cleaned_up():
        told = app.up(status=3)
        assert "argosy-test/none" in told
