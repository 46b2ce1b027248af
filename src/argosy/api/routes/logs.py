"""The units' output, from the machines that run them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from argosy.api import logs
from argosy.api.feed import Feed
from argosy.api.picture import Picture
from argosy.api.routing import Route
from argosy.api.schemas import LogsQuery
from argosy.api.selection import Selection, resolve
from argosy.api.services import Api
from argosy.api.streams import SIGN_OF_LIFE_SECONDS, JsonLines
from argosy.errors import NotFound
from argosy.model.ids import MachineId


async def read_logs(api: Api, query: LogsQuery) -> JsonLines:
    """Lines of the units that match, merged by time, oldest first, one JSON object a line.

    The last `lines`, or all behind the cursor `after`, which means that cursor's machine alone. With `follow` it goes on
    with new lines, also of units and on machines that come later, with an empty line every 15 s as a sign of life.
    """
    picture = await api.feed.catch_up()
    names = resolve(picture, query.name) if query.name else ()
    machine, _, cursor = (query.after or "").partition("/")
    only = query.machine or machine
    if only and MachineId(only) not in picture.machines:
        raise NotFound(f"there is no machine {only}", hint="argosy list-machines")
    if machine and machine != only:
        raise NotFound(
            f"the cursor is of machine {machine}, not {only}", hint="leave one of the two out"
        )
    selection = Selection(query.name)

    def having(picture: Picture) -> set[MachineId]:
        """Machines that are there and have units that match; all of them when none has, since one may have had."""
        if only:
            return {MachineId(only)}
        found = {
            machine_id
            for table in (picture.placements, picture.statuses)
            for name, machines in table.items()
            if selection.includes(name)
            for machine_id in machines
        }
        return (found & picture.present) or set(picture.present)

    reader = logs.Reader(
        source=logs.asking(
            api.services.questions, names=names, patterns=query.name or ("*",), by=api.by
        ),
        machines=having(picture),
        lines=query.lines,
        after=cursor,
        clock=api.services.clock,
    )
    if query.follow:
        return JsonLines(reader.follow(api.closing, _coming(api.feed, selection, having)))
    return JsonLines(reader.read())


async def _coming(
    feed: Feed, selection: Selection, having: Callable[[Picture], set[MachineId]]
) -> AsyncGenerator[set[MachineId], None]:
    """The machines to follow, whenever that may have changed; ends when the feed cannot tell any more."""
    async with feed.subscribe(selection) as (_, _, changes):
        yield having(feed.picture)
        while changes.ended is None:
            if await changes.take(SIGN_OF_LIFE_SECONDS):
                yield having(feed.picture)


ROUTES = (Route(method="GET", path="/v1/logs", handler=read_logs, errors=(404,)),)
