"""An order is absent only by the word of several look-ups past its fence; what did not answer has said nothing (F2)."""

from core.exec.live.settings import LiveOptions
from core.exec.live.states import State
from core.sim.server.faults import FaultKind as F
from tests.core.exec.live.kit import Bench, tell

ENTRY = "k0000000b-BTCUSDT-0123-e0"
STOP = "k0000000b-BTCUSDT-0123-s1"
PLAIN, ALGO = "/fapi/v1/order", "/fapi/v1/algoOrder"
PAST_THE_FENCE_S = 6.0
"""3 s of receive window and 1.5 s of margin, and more."""


def test_one_look_up_that_does_not_know_an_order_is_not_enough():
    """Two instances of the venue may not know the same: three are asked, and those that do not answer do not count."""

    async def story(b: Bench):
        account, begun = b.broker._account, b.world.loop.time()
        real, unknown = account.look_up, []

        async def look_up(*what, **how):
            if b.world.loop.time() - begun < PAST_THE_FENCE_S:
                raise ConnectionError
            seen = await real(*what, **how)
            unknown.append(b.rows()[ENTRY])
            return seen

        account.look_up = look_up
        b.inject(F.DROP_BEFORE, method="POST", path=PLAIN)
        await b.broker.place(b.order())
        await b.until(lambda: b.rows()[ENTRY] is State.ABSENT)
        assert len(unknown) >= LiveOptions().least_misses == 3
        assert all(state.doubtful for state in unknown)

    tell(story)


def test_a_conditional_order_is_given_up_later_than_a_plain_one():
    """Its look-ups have been slow to know it: 3 s of receive window, and 3 s more."""

    async def story(b: Bench):
        await b.enter()
        b.inject(F.DROP_BEFORE, method="POST", path=ALGO)
        begun = b.world.loop.time()
        await b.broker.place(b.stop())
        await b.until(lambda: b.rows()[STOP] is State.ABSENT)
        assert 6.0 <= b.world.loop.time() - begun < 8.0

    tell(story, options=LiveOptions(leverage=3, look_up_every_s=0.05))  # so that no pause hides when the fence was passed
