"""An outbox as somebody from outside sees it, while its broker lives."""

import pytest

from core.errors import StateError
from core.exec.live.halts import HaltKind
from core.exec.live.outbox_reader import Standing, standing
from core.sim.local.values import NewOrder, OrderSide, OrderType
from tests.core.exec.live.kit import BTC, Bench, D, tell


def test_it_shows_what_the_broker_knows_and_disturbs_nothing():
    async def story(b: Bench):
        path = b.folder / "orders.sqlite"
        await b.enter()
        b.venue.place(NewOrder("BTCUSDT", OrderSide.BUY, OrderType.MARKET, D("0.020"), client_id="hand"))
        b.market.server._settle(changed=True)
        await b.hear(1.0)
        found = standing(path)
        assert found.halts == b.broker.halts
        assert [halt.kind for halt in found.halts] == [HaltKind.BOOKS]
        assert (found.held, found.booked) == ({BTC: D("0.030")}, {BTC: D("0.010")})
        assert found.in_flight == ()  # its stop stands, and opens nothing
        b.broker._outbox.settle(BTC, D("-0.005"), 1, "a person")
        assert standing(path).held == {BTC: D("0.025")}
        assert standing(path.with_name("none.sqlite")) == Standing((), {}, {})

    tell(story)


def test_another_version_and_a_broken_file_are_told(tmp_path):
    path = tmp_path / "orders.sqlite"
    path.write_bytes(b"")
    with pytest.raises(StateError, match="is of version 0") as other:
        standing(path)
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StateError, match="can't be read") as broken:
        standing(path)
    assert (other.value.code, broken.value.code) == ("LIVE-004", "LIVE-002")
