"""Words for what a field may hold."""

from __future__ import annotations

import pytest

from configs.describe import allowed, field_docs, keys_at, type_at
from configs.loader import FILES
from configs.validators import Blackouts, EnableMap, Environment, Governance, StrategiesFile, SymbolsFile


@pytest.mark.parametrize(
    ("schema", "path", "phrase"),
    [
        (Governance, ("per_trade_r_pct_base",), "a number from 0.05 to 0.8"),
        (Governance, ("leverage_cap",), "a number above 0, up to 3"),
        (Governance, ("kill_switch_action",), "one of flatten, hold"),
        (Governance, ("no_martingale",), "true"),
        (Governance, ("volatility_target_enabled",), "true or false"),
        (Governance, ("take_levels_r",), "a list of items, each a number above 0, up to 20"),
        (Governance, ("take_levels_r", 7), "a number above 0, up to 20"),
        (SymbolsFile, ("symbols",), "a list of at least 1 mappings"),
        (SymbolsFile, ("symbols", 3, "min_vol"), "a number of 0 or more"),
        (SymbolsFile, ("symbols", 3, "maintenance_margin_rate"), "a number above 0, below 0.5"),
        (SymbolsFile, ("symbols", 3, "tick_size"), "a number above 0"),
        (SymbolsFile, ("defaults",), "a mapping"),
        (StrategiesFile, ("regimes", "shock_sigma"), "a number from -50, below 0"),
        (StrategiesFile, ("score", "cost_points", 0), "a list of 2 items: a number from 0 to 1; a number from 0 to 2"),
        (StrategiesFile, ("score", "cost_points", 0, 1), "a number from 0 to 2"),
        (StrategiesFile, ("score", "cost_points", 0, 2), ""),
        (StrategiesFile, ("nowhere",), ""),
        (Blackouts, ("reviewed_until",), "a time with offset, e.g. 2027-01-13T13:20:00Z, or null"),
        (EnableMap, ("switching_rules",), "a mapping with min_bars_hold, cooldown_after_2_losses"),
        (Environment, ("api_key",), "a secret text"),
    ],
)
def test_a_field_is_described_from_its_schema(schema, path, phrase: str) -> None:
    assert allowed(type_at(schema, path)) == phrase


def test_the_keys_of_a_mapping_are_known() -> None:
    assert keys_at(EnableMap, ("regimes",)) == ("trend_up", "trend_down", "range_lowvol", "range_highvol", "panic")
    assert "stop_atr" in keys_at(StrategiesFile, ("funding_rev",))
    assert keys_at(SymbolsFile, ("defaults",)) == keys_at(SymbolsFile, ("nowhere",)) == ()


@pytest.mark.parametrize("schema", [*FILES.values(), Environment])
def test_every_field_has_a_meaning_and_says_what_is_allowed(schema) -> None:
    """A field without a text under it would leave a hole in docs/configuration.md."""
    docs = list(field_docs(schema))
    assert docs
    assert [d.path for d in docs if not d.meaning or not d.allowed] == []
