"""What the schemas themselves promise."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from configs.loader import load
from configs.validators import Configuration, Governance

LIMITS = {
    "per_trade_r_pct_base": 0.8,
    "per_trade_r_pct_green_bonus": 0.3,
    "per_trade_r_pct_max": 1.1,
    "max_daily_loss_pct": 1.8,
    "kill_switch_drawdown_72h": 3.5,
    "leverage_cap": 3.0,
    "max_portfolio_r_pct": 1.5,
    "ntp_skew_ms": 1500,
    "pyramid_add_r": 0.3,
    "canary_r_pct": 0.05,
}


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return load()


@pytest.mark.parametrize(("name", "most"), LIMITS.items())
def test_no_configuration_can_raise_a_limit_of_the_specification(name: str, most: float, configuration: Configuration) -> None:
    """H2, E10: an owner may be more careful than the specification, never less."""
    values = configuration.governance.model_dump()
    assert values[name] == most
    with pytest.raises(ValidationError):
        Governance.model_validate(values | {name: most + (1 if isinstance(most, int) else 1e-9)})


def test_a_configuration_cannot_be_changed_after_loading(configuration: Configuration) -> None:
    with pytest.raises(ValidationError):
        configuration.governance.leverage_cap = 1.0


def test_the_trading_day_has_a_zone(configuration: Configuration) -> None:
    """X1."""
    assert configuration.governance.zone.key == "Europe/Chisinau"
