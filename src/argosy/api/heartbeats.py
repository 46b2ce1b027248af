"""Heartbeats, answered before HTTP gets to see them.

A thousand machines say three hundred times a second that they are there, each in the same few bytes; h11, ASGI and routing
would make more than a tenth of a core of that. Only what our own agents send (`agent/https_link.py`) is taken here, and
only when there is nothing else to say to it than yes. All else goes the long way (`routes/agents.py`), which decides the
same and has the words for it.
"""

from __future__ import annotations

import re

from argosy.api.access import Peer, check_loaded, identify
from argosy.api.services import Api
from argosy.errors import ArgosyError

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_HEARTBEAT = re.compile(
    rb"POST /v1/agent/report HTTP/1\.1\r\n"
    rb"host: [0-9A-Za-z.:\[\]-]+\r\n"
    rb"accept: \*/\*\r\n"
    rb"argosy-holder: ([0-9A-Za-z._:-]{1,128})\r\n"
    rb"content-type: application/json\r\n"
    rb"content-length: ([0-9]{1,3})\r\n"
    rb"\r\n"
    rb'({"session":"([0-9a-f]{1,64})"})'
)


class Heartbeats:
    """Of all machines that speak to this server."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def may_acknowledge(self, peer: Peer, data: bytes) -> bool:
        """Whether what has arrived is one heartbeat, and is to be answered with ANSWER; it is noted then."""
        asked = _HEARTBEAT.fullmatch(data)
        api, agents = self._api, self._api.agents
        if asked is None or agents is None:
            return False
        holder, length, body, session = asked.groups()
        if int(length) != len(body):
            return False
        picture = api.feed.picture
        try:
            check_loaded(picture)
            machine = identify(peer, None, picture, api.services.clock(), holder=holder.decode())
            if machine is None or machine.machine is None:
                return False
            if len(picture.identities[machine.machine].serials) > 1:
                return False  # a new certificate: the long way settles which one counts
            agents.door(machine.machine).count(is_bulk=False, size=len(body))
            agents.sessions.vouch(agents.sessions.heard(machine.machine, session.decode()))
        except ArgosyError:
            return False
        return True
