"""Every directory under examples/ runs by the real command, does what its page says, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from system.running import ARGOSY, ROOT, App, eventually, get, is_free

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def example(name: str, *ports: int) -> pytest.MarkDecorator:
    """Gives the test the fixture `app`: a copy of that example. `ports` are those it listens on."""
    return pytest.mark.parametrize("app", [(name, ports)], indirect=True, ids=[name])


@contextmanager
def fresh_state_directories(app: App) -> Iterator[None]:
    """Give the app's units state directories that nobody has, and take them away afterwards.

    As root these are below /var/lib, whatever the environment says; what earlier runs and real shops keep there stays.
    """
    names = set()
    for file in app.directory.glob("*.service"):
        text = file.read_text()
        names |= set(re.findall(r"^StateDirectory=(.+)$", text, re.MULTILINE))
        file.write_text(
            re.sub(r"^(StateDirectory=.+)$", rf"\1-{os.getpid()}", text, flags=re.MULTILINE)
        )
    try:
        yield
    finally:
        if app.client.is_there():
            app.run("down")
        for name in names:
            shutil.rmtree(f"/var/lib/{name}-{os.getpid()}", ignore_errors=True)


@pytest.fixture
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    """A copy of an example, whose ports are free before and after; nothing of it is left when the test is over."""
    name, ports = request.param
    eventually(lambda: all(map(is_free, ports)), f"ports {ports} are free for examples/{name}")
    shutil.copytree(ROOT / "examples" / name, tmp_path / name)
    app = App(tmp_path / name, tmp_path / "state")
    app.environ["XDG_STATE_HOME"] = str(tmp_path / "xdg-state")
    with app.cleaned_up(), fresh_state_directories(app):
        yield app
    assert [port for port in ports if not is_free(port)] == []


HELLO = example("hello", 8000, 8001, 8002, 8003)


def instances() -> list[str]:
    """Names that the worker lists."""
    return re.findall(r"^(\S+)  http", get("http://127.0.0.1:8000/"), re.MULTILINE)


def pid_of_page(port: int) -> str:
    return "".join(re.findall(r"process (\d+)", get(f"http://127.0.0.1:{port}/")))


@HELLO
def test_hello_answers_on_three_ports_and_the_worker_hears_of_each_instance(app: App) -> None:
    app.up()
    for port in (8001, 8002, 8003):
        eventually(partial(pid_of_page, port), f"port {port} answers")
        assert f"Hello from port {port}" in get(f"http://127.0.0.1:{port}/")
    eventually(lambda: instances() == ["web@1", "web@2", "web@3"], "all instances announced")


@HELLO
def test_a_web_instance_that_is_killed_comes_back_with_its_sidekick(app: App) -> None:
    app.up()
    old = eventually(lambda: pid_of_page(8002), "web@2 answers")
    eventually(lambda: "web@2" in instances(), "web@2 announced")
    os.kill(int(old), signal.SIGKILL)
    eventually(lambda: pid_of_page(8002) not in ("", old), "web@2 answers from another process")
    eventually(lambda: app.state_of("follow@2.service") == "active", "the sidekick runs")
    eventually(lambda: "web@2" in instances(), "web@2 announced again")


@HELLO
def test_stopping_a_web_instance_stops_and_withdraws_its_sidekick_only(app: App) -> None:
    app.up()
    eventually(lambda: len(instances()) == 3, "all instances announced")
    app.run("stop", "web@1.service")
    eventually(lambda: instances() == ["web@2", "web@3"], "web@1 withdrawn")
    eventually(lambda: app.state_of("follow@1.service") == "inactive", "its sidekick stopped")
    app.run("start", "web@1.service")
    eventually(lambda: len(instances()) == 3, "web@1 announced again")


@HELLO
def test_units_outlive_a_killed_daemon_and_the_next_one_finds_them(app: App) -> None:
    app.up()
    before = eventually(lambda: pid_of_page(8001), "web@1 answers")
    os.kill(app.daemon_pid(), signal.SIGKILL)
    eventually(lambda: not app.client.is_there(), "the daemon is gone")
    assert pid_of_page(8001) == before
    app.up()
    eventually(lambda: app.state_of("web@1.service") == "active", "the next daemon knows web@1")
    assert pid_of_page(8001) == before


@HELLO
def test_up_says_where_units_listen_and_ctrl_c_leaves_no_process(app: App, tmp_path: Path) -> None:
    command = [str(ARGOSY), "up", str(app.directory)]
    shown = tmp_path / "shown"
    with shown.open("wb") as output:
        up = subprocess.Popen(command, env=app.environ, stdout=output, stderr=output)
    try:
        eventually(
            lambda: "127.0.0.1:8003" in shown.read_text(), f"{shown} says where web@3 listens"
        )
        eventually(
            lambda: "is announced at" in shown.read_text(), "the worker's output is followed"
        )
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=60) == 0, shown.read_text()
        assert app.processes() == {}
    finally:
        up.kill()


SHOP = example("shop", 8080, 14369, 15673, 16379, 25673)


@pytest.fixture
def servers() -> None:
    missing = [
        name for name in ("redis-server", "rabbitmq-server") if not shutil.which(name, path=PATH)
    ]
    if missing:
        pytest.fail(
            f"examples/shop needs {' and '.join(missing)}: run scripts/install-test-programs"
        )


PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"


def order(good: str) -> int:
    request = urllib.request.Request("http://127.0.0.1:8080/orders", good.encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code


@SHOP
@pytest.mark.usefixtures("servers")
def test_the_shop_starts_in_order_fulfils_orders_and_keeps_its_stock(app: App) -> None:
    app.up()
    eventually(lambda: "apples    12" in get("http://127.0.0.1:8080/"), "the shop shows its stock")
    since = {row["name"]: row["since"] or "" for row in app.client.states()}
    assert since["redis.service"] <= since["migrate.service"] <= since["web.service"]
    assert since["rabbitmq.service"] <= since["web.service"]
    assert order("apples") == 202
    assert order("1; drop") == 400
    eventually(lambda: "apples    11" in get("http://127.0.0.1:8080/"), "the order is fulfilled")
    (redis,) = app.client.states(["redis.service"])
    assert redis["main_pid"]
    os.kill(redis["main_pid"], signal.SIGKILL)
    eventually(
        lambda: (
            app.client.states(["redis.service"])[0]["main_pid"] not in (None, redis["main_pid"])
        ),
        "redis restarts",
    )
    eventually(lambda: "apples    11" in get("http://127.0.0.1:8080/"), "the stock is what it was")


@example("shop-failing-migration", 8081)
def test_a_failing_migration_is_shown_with_its_last_lines_and_holds_the_web_service_back(
    app: App,
) -> None:
    shown = app.up(status=3)
    assert "migrate.service" in shown
    assert "prices.csv, line 3: 'three' is no price" in shown
    assert app.state_of("migrate.service") == "failed"
    assert "not started" in "".join(line for line in shown.splitlines() if "web.service" in line)
    prices = app.directory / "prices.csv"
    prices.write_text(prices.read_text().replace("three", "0.20"))
    app.up()
    assert "plums    0.20" in eventually(lambda: get("http://127.0.0.1:8081/"), "the price list")


@example("fleet", 8090)
def test_fleets_examples_run(app: App) -> None:
    app.up()
    eventually(lambda: "Hello World" in app.run("logs", "hello.service"), "hello says so")
    eventually(lambda: app.state_of("stats.service") == "active", "the global unit runs")
    app.run("start", "apache@1.service", "apache-discovery@1.service")
    assert "hello.service" in eventually(
        lambda: get("http://127.0.0.1:8090/"), "the web server answers"
    )
    assert "Conflicts" in app.run("start", "apache@2.service", status=2)
    assert "Conflicts" in app.run("why", "apache@2.service", status=2)
    app.run("stop", "apache@1.service")
    eventually(
        lambda: app.state_of("apache-discovery@1.service") == "inactive", "the sidekick stopped too"
    )


@example("fleet-placement")
def test_refused_placements_are_explained(app: App) -> None:
    app.up(status=2)
    assert "disk=ssd" in app.run("why", "ssd.service", status=2)
    assert "Replaces" in app.run("why", "green.service", status=2)
    assert app.state_of("blue.service") == "active"


def test_the_app_in_the_readme_counts(tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text()
    (unit,) = re.findall(r"^    # counter/counter\.service\n((?:    .*\n)+)", page, re.MULTILINE)
    directory = tmp_path / "counter"
    directory.mkdir()
    (directory / "counter.service").write_text(textwrap.dedent(unit))
    app = App(directory, tmp_path / "state")
    with app.cleaned_up():
        app.up()
        eventually(
            lambda: re.search(r"\b3$", app.run("logs", "counter.service"), re.MULTILINE),
            "it counts to three",
        )
