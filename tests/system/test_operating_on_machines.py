"""Machines with a real systemd, operated through the servers alone: nobody logs in on any but the first."""

from __future__ import annotations

import json
from typing import Any

from machines.cluster import AGENT, QUICK, Cluster, cluster
from machines.fixtures import on_machines

pytestmark = on_machines

CHATTY = b"""[Unit]
Description=Says a line
[Service]
ExecStart=/bin/sh -c 'echo one line from it; exec sleep infinity'
"""


async def argosy(c: Cluster, *words: str) -> str:
    """What the command prints on the first machine."""
    return (await c.machines["m1"].run(["argosy", *words])).stdout


async def test_journals_commands_clocks_and_drains() -> None:
    async with cluster(2, settings=QUICK) as c:
        await c.start_units("chatty.service", text=CHATTY)
        [place] = (await c.places("chatty.service"))["chatty.service"]
        await read_journals(c, place)
        await run_commands(c)
        await find_a_wrong_clock(c)
        await move_a_unit_away(c, place)


async def read_journals(c: Cluster, place: str) -> None:
    async def about_the_unit() -> str:
        text = await argosy(c, "journal", "chatty")
        return text if "one line from it" in text else ""

    text = await c.until(about_the_unit, "its journal has its line")
    assert "systemd[1]: Started" in text
    assert (await argosy(c, "journal", "chatty", "--priority=err")) == ""
    assert "one line from it" in await argosy(c, "logs", "chatty")
    # What the cluster knows nothing of.
    agent = await argosy(c, "journal", c.machines["m2"].address, "-u", AGENT, "--since", "1h")
    assert f"machine {c.ids['m2']}, servers https://" in agent
    assert len((await argosy(c, "journal", place, "-n", "7")).splitlines()) == 7
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in (await argosy(c, "--json", "journal", "chatty")).splitlines()
    ]
    assert {row["unit"] for row in rows} == {"chatty.service"}


async def run_commands(c: Cluster) -> None:
    assert await argosy(c, "exec", "m2", "--", "cat", "/etc/machine-id") == f"{c.ids['m2']}\n"
    assert await argosy(c, "exec", "m2", "--", "systemctl", "is-active", AGENT) == "active\n"
    # As root, without what hardens the agent's own service in the way.
    written = "echo here > /usr/local/from-afar && cat /usr/local/from-afar"
    assert await argosy(c, "exec", "m2", "--", "sh", "-c", written) == "here\n"


async def find_a_wrong_clock(c: Cluster) -> None:
    await c.machines["m2"].skew_clock(3600, AGENT)

    async def found() -> str:
        told = json.loads(await argosy(c, "--json", "doctor"))
        return next((one["text"] for one in told if one["subject"] == "clocks"), "")

    async def is_named() -> bool:
        return "m2 is 59min" in (text := await found()) or "m2 is 1h ahead" in text

    await c.until(is_named, "doctor names the machine")
    await c.machines["m2"].skew_clock(0, AGENT)

    async def is_well() -> bool:
        return (await found()).startswith("of 2 machines agree within")

    await c.until(is_well, "doctor is content again")


async def move_a_unit_away(c: Cluster, place: str) -> None:
    said = await argosy(c, "drain", place, "--yes", "--reason=new kernel", "--timeout=30s")
    [other] = {"m1", "m2"} - {place}
    assert f"is drained  -> argosy undrain {c.ids[place][:8]}" in said
    assert await c.places("chatty.service") == {"chatty.service": [other]}
    assert await c.state_of(c.machines[place]) == "drained"
    await argosy(c, "undrain", place)
    assert await c.state_of(c.machines[place]) == "ready"
