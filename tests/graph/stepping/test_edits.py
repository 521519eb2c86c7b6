"""A value is changed only to what could really stand there: type, enum, range, unit; the old value is kept."""

from __future__ import annotations

import pytest

from core.canonical import encode
from core.codes import RefusalCode
from core.types import GovernorView, Regime
from graph.stepping.edits import edited
from graph.stepping.errors import StepError
from graph.stepping.paths import parse_path
from tests.graph.stepping.making import STATE, SYMBOLS
from tools.state import Execution, Regimes, Status


def change(place: str, text: str) -> object:
    return edited(STATE, parse_path(place, SYMBOLS), text)[0]


def test_a_regime_is_changed_by_position_by_symbol_and_everywhere() -> None:
    up, unknown = Regime.TREND_UP, Regime.UNKNOWN
    assert change("regimes.h1[0]", "trend_up") == Regimes((up, unknown), (unknown, unknown))
    assert change("regimes.h1[ETH]", "trend_up") == Regimes((Regime.PANIC, up), (unknown, unknown))
    assert change("regimes.h4[*]", "trend_up") == Regimes((Regime.PANIC, unknown), (up, up))


def test_the_old_value_stays_visible() -> None:
    _, edit = edited(STATE, parse_path("regimes.h1[*]"), "trend_up")
    assert (edit.old, edit.new) == (("panic", "unknown"), "trend_up")
    assert str(edit) == "regimes.h1[*]=trend_up (was panic, unknown)"


def test_nothing_else_is_changed() -> None:
    before = encode(STATE["status"])
    value = change("status.governor.equity", "250.5")
    assert isinstance(value, Status)
    assert value.governor.equity == 250.5
    assert encode(STATE["status"]) == before
    assert type(value.governor) is GovernorView
    assert value.health == STATE["status"].health


@pytest.mark.parametrize("text", ["0.5", "0.5%", "0.5 %"])
def test_a_number_may_bear_its_own_unit(text: str) -> None:
    value = change("status.governor.r_pct", text)
    assert isinstance(value, Status)
    assert value.governor.r_pct == 0.5


@pytest.mark.parametrize(
    ("place", "text", "why"),
    [
        ("regimes.h1[0]", "trend_upp", "did you mean trend_up"),
        ("status.governor.state", "on", "active"),
        ("status.governor.equity", "-3", "allowed is above 0 usd"),
        ("status.governor.equity", "0", "allowed is above 0 usd"),
        ("status.governor.equity", "nan", "a number in usd"),
        ("status.governor.equity", "1e999", "allowed is above 0"),
        ("status.governor.equity", "3 %", "a number in usd"),
        ("status.governor.r_pct", "101", "at least 0 and at most 100 %"),
        ("status.governor.dd_72h_pct", "-1", "at least 0 and at most 100"),
        ("status.governor.day_lock", "yes", "true or false"),
        ("status.governor.loss_streak", "1.5", "of type int"),
        ("status.governor.loss_streak", "-1", "at least 0"),
        ("event.ts", "-5", "at least 0"),
        ("status.governor", "3", "cannot be '3'"),
        ("status.governor", "many", "no single value"),
        ("regimes.h1", '["panic", "chaos"]', "Invalid enum value"),
        ("regimes.h1", "[", "is no JSON"),
        ("regimes.h1", "[" * 100_000, "is no JSON"),
        ("event.seq", "1" + "0" * 400, "allowed is at least 0"),
        ("event.seq", "9" * 5_000, "of type int"),
        ("status.governor", '{"ts": 1' + "0" * 400 + "}", "cannot have ts="),
        ("status.health.blocked", '[["ETH/USDT:USDT", 3]]', "cannot be"),
    ],
)
def test_what_could_not_stand_there_is_refused_with_the_reason(place: str, text: str, why: str) -> None:
    with pytest.raises(StepError) as caught:
        change(place, text)
    assert why in caught.value.what
    assert caught.value.code == "STEP-003"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("regime.h1[0]", "did you mean regimes"),
        ("regimes.h2", "there is h1, h4"),
        ("regimes.h1[SOL]", "no position and no symbol"),
        ("status.governor.equity.x", "has no fields"),
        ("event.seq[0]", "has no positions"),
        ("regimes..h1", "is no place"),
        ("regimes.h1[²]", "no position and no symbol"),
        ("regimes.h1[٣]", "no position and no symbol"),
        (f"regimes.h1[{'9' * 5_000}]", "no position and no symbol"),
        ("", "is no place"),
        ("regimes.h1[0", "is no place"),
        ("__class__", "does not begin with a key"),
        ("event.__class__", "has no '__class__'"),
    ],
)
def test_a_place_that_does_not_exist_is_named_with_the_nearest(place: str, why: str) -> None:
    with pytest.raises(StepError) as caught:
        parse_path(place, SYMBOLS)
    assert why in caught.value.what
    assert caught.value.code == "STEP-002"


def test_what_is_not_there_cannot_be_changed() -> None:
    for place in ("regimes.h1[7]", "risk.plans[0].qty"):
        with pytest.raises(StepError, match="nothing stands at"):
            change(place, "panic")


def test_none_is_a_value_only_where_it_may_be() -> None:
    value = change("status.health.drift_ms", "12")
    assert isinstance(value, Status)
    assert value.health.drift_ms == 12.0
    assert change("status.health.drift_ms", "none") == STATE["status"]
    with pytest.raises(StepError):
        change("status.governor.equity", "none")


def test_a_whole_value_is_given_as_json_and_checked_inside() -> None:
    value = change("status.health.blocked", '[["BTC/USDT:USDT", "COST_SHARE"]]')
    assert isinstance(value, Status)
    assert value.health.blocked == (("BTC/USDT:USDT", RefusalCode.COST_SHARE),)
    view = '{"ts": 1, "state": "active", "equity": -1.0}'
    with pytest.raises(StepError, match="cannot have equity=-1"):
        change("status.governor", view)
    assert change("execution", "{}") == Execution()
