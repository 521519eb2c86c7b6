"""Scripted faults for a person or another process: ``/_control/faults``, from this machine only."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
from aiohttp import web

from core.sim.server.faults import Fault, FaultPlan
from core.sim.server.mishaps import Mishaps

PATH = "/_control/faults"


class Control:
    """GET lists the faults to come, POST adds one or a list of them, DELETE clears."""

    def __init__(self, plan: FaultPlan, mishaps: Mishaps) -> None:
        self._plan, self._mishaps = plan, mishaps

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request."""
        if not _here(request.remote):
            raise web.HTTPForbidden
        if request.method == "POST":
            try:
                sent = msgspec.json.decode(await request.read(), type=Fault | list[Fault])
            except msgspec.DecodeError as wrong:
                return web.json_response({"error": str(wrong)}, status=400)
            for fault in sent if isinstance(sent, list) else [sent]:
                self._mishaps.add(fault)
        elif request.method == "DELETE":
            self._mishaps.clear()
        return web.Response(body=msgspec.json.encode(self._plan.waiting), content_type="application/json")


def _here(remote: str | None) -> bool:
    try:
        return ip_address(remote or "").is_loopback
    except ValueError:
        return False
