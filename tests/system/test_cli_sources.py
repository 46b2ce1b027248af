"""What the words after start, load and submit mean, with files beside a cluster that has units of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from argosy.cli import sources
from argosy.cli.sources import Meant
from argosy.errors import ArgosyError, Invalid, NotFound
from system import recorded
from unit.api.serving import running

Find = Callable[..., Awaitable[Meant]]
SERVICE = "[Service]\nExecStart=/bin/sleep 1000\n"
CONTAINER = "[Container]\nImage=docker.io/library/nginx\n"


@pytest.fixture
async def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Find]:
    """`sources.find` in an empty directory, with the recorded cluster."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    async with running(tmp_path) as server:
        await recorded.write(server.store)

        async def find(*words: str) -> Meant:
            return await server.call(lambda client: sources.find(words, client))

        yield find


async def test_a_name_without_a_file_is_the_cluster_s(find: Find) -> None:
    meant = await find("db", "web@*")
    assert (meant.named, meant.texts) == (["db.service", "web@*"], {})


async def test_a_file_comes_before_the_cluster_s_unit(find: Find) -> None:
    Path("db.service").write_text(SERVICE)
    for word in ("db", "db.service", "./db.service"):
        meant = await find(word)
        assert meant.named == []
        assert [text.data for text in meant.texts.values()] == [SERVICE.encode()]


async def test_a_container_file_is_the_service_of_its_name(find: Find) -> None:
    Path("shop.container").write_text(CONTAINER)
    for word in ("shop", "shop.container", "shop.service"):
        assert list((await find(word)).texts) == ["shop.service"]


async def test_an_instance_is_made_from_the_local_template(find: Find) -> None:
    Path("web@.service").write_text(SERVICE)
    meant = await find("web@7")
    assert {name: text.data for name, text in meant.texts.items()} == {
        "web@7.service": SERVICE.encode()
    }


async def test_an_instance_without_a_local_template_is_made_from_the_cluster_s(find: Find) -> None:
    meant = await find("web@7")
    assert {name: text.data for name, text in meant.texts.items()} == {
        "web@7.service": recorded.TEXT
    }


async def test_an_instance_that_the_cluster_has_is_the_cluster_s(find: Find) -> None:
    assert (await find("web@1")).named == ["web@1.service"]


async def test_an_instance_s_own_file_comes_before_its_template(find: Find) -> None:
    Path("web@.service").write_text(SERVICE)
    Path("web@7.service").write_text(SERVICE + "# its own\n")
    [text] = (await find("web@7")).texts.values()
    assert text.data.endswith(b"# its own\n")


async def test_a_template_with_replicas_brings_its_instances(find: Find) -> None:
    Path("many@.service").write_text(SERVICE + "[X-Service]\nReplicas=2\n")
    meant = await find("many@.service")
    assert list(meant.texts) == ["many@.service", "many@1.service", "many@2.service"]
    assert meant.runnable == ["many@1.service", "many@2.service"]


async def test_a_directory_is_an_app_that_is_told_where_it_is(find: Find) -> None:
    Path("shop").mkdir()
    Path("shop/one.service").write_text(SERVICE)
    Path("shop/README.md").write_text("not a unit")
    for word in ("shop/", "./shop"):
        meant = await find(word)
        assert meant.app == "shop"
        [text] = meant.texts.values()
        assert text.variables == {"ARGOSY_APP_DIR": str(Path("shop").resolve())}


async def test_a_directory_without_a_slash_is_a_name(find: Find) -> None:
    Path("shop").mkdir()
    assert (await find("shop")).named == ["shop.service"]


async def test_a_single_file_is_told_where_it_is_only_if_it_asks(find: Find) -> None:
    Path("plain.service").write_text(SERVICE)
    Path("asks.service").write_text("[Service]\nExecStart=/bin/cat ${ARGOSY_APP_DIR}/x\n")
    meant = await find("plain", "asks")
    assert {name: dict(text.variables) for name, text in meant.texts.items()} == {
        "plain.service": {},
        "asks.service": {"ARGOSY_APP_DIR": str(Path.cwd())},
    }


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["./none.service"], NotFound, "there is no file ./none.service"),
        (["other/", "db"], Invalid, "submitted as a whole and alone"),
        (["empty/"], NotFound, "there are no unit files in empty"),
        (["link.service"], Invalid, "it is a link"),
        (["broken.service"], Invalid, "broken.service:2:1: error"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
async def test_what_cannot_be_meant_is_refused(
    words: list[str], error: type[ArgosyError], said: str, find: Find
) -> None:
    Path("other").mkdir()
    Path("empty").mkdir()
    Path("link.service").symlink_to("/etc/shadow")
    Path("broken.service").write_text("[Service]\nno equals sign\n")
    with pytest.raises(error) as caught:
        await find(*words)
    assert said in str(caught.value)


async def test_nothing_is_read_from_a_fifo(find: Find) -> None:
    os.mkfifo("pipe.service")
    async with asyncio.timeout(5):
        with pytest.raises(Invalid, match="FIFO"):
            await find("pipe.service")
