"""The page of measured regime quality belongs to the rule that runs (G11, X19)."""

from __future__ import annotations

from core.types import Timeframe
from scripts import regime_quality
from scripts.regime_quality import Measured, render, thresholds, wilson
from tests.support.features import shipped_params


def test_the_page_was_measured_with_the_thresholds_that_run() -> None:
    text = regime_quality.PAGE.read_text(encoding="utf-8")
    assert thresholds(shipped_params().regimes) in text, "thresholds have changed: run `python -m scripts.regime_quality --write`"


def test_the_page_says_that_recordings_were_seen_and_how_f1_does_on_surrogates() -> None:
    text = regime_quality.PAGE.read_text(encoding="utf-8")
    assert "Recordings are not held out." in text
    assert "| synthetic, base 5m | 1h | known truth of the data |" in text
    assert "| recorded, 2024 | 1h | hindsight |" in text


def test_an_interval_of_a_share_is_wilsons() -> None:
    """5 of 100: (0.05 + 1.96^2/200 -+ 1.96 sqrt(0.05 x 0.95/100 + 1.96^2/40000)) / (1 + 1.96^2/100) = 2.15 to 11.18 %."""
    low, high = wilson(5, 100)
    assert (round(low, 4), round(high, 4)) == (0.0215, 0.1118)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_page_can_be_made_without_recordings_but_not_written(tmp_path, capsys, monkeypatch) -> None:
    params = shipped_params()
    series = list(regime_quality.synthetic_series(seeds=(1001,), symbols=("BTC/USDT:USDT",), hours=3000))
    sets = [Measured("synthetic, base 1h", regime_quality.evaluate(params, series, tf, 1)) for tf in (Timeframe.H1, Timeframe.H4)]
    text = render(params.regimes, sets, [])
    assert "| macro-F1, synthetic, base 1h, 1h labels | >= 0.40 |" in text
    assert "{" not in text
    monkeypatch.setattr(regime_quality, "PAGE", tmp_path / "regimes.md")
    assert regime_quality.main(["--write", "--data", str(tmp_path / "absent")]) == 4
    assert "written only with recordings" in capsys.readouterr().err
    assert not (tmp_path / "regimes.md").exists()
