"""Who may script faults."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from core.sim.server.control import Control


class _Elsewhere:
    """A request's transport that says where it comes from."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self._address, 1) if name == "peername" else default


@pytest.mark.parametrize("address", ["192.0.2.7", "not an address", ""])
async def test_only_this_machine_may_script_faults(address: str) -> None:
    request = make_mocked_request("GET", "/_control/faults", transport=_Elsewhere(address))
    with pytest.raises(web.HTTPForbidden):
        await Control(None, None).handle(request)
