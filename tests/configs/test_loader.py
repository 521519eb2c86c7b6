"""Loading: what is valid comes through unchanged, and every kind of bad input is named exactly (H1)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from configs.errors import NOTHING_STARTED, ConfigCode
from configs.loader import FILES, load

GOVERNANCE = "governance.yaml"


class Slip(NamedTuple):
    """One way to spoil a file, and what must be said about it."""

    file: str
    old: str
    new: str
    code: ConfigCode
    field: str
    value: str
    allowed: str
    help: str


SLIPS = {
    "text for a number": Slip(
        GOVERNANCE,
        "leverage_cap: 3.0",
        'leverage_cap: "3.0"',
        ConfigCode.WRONG_TYPE,
        "leverage_cap",
        "3.0",
        "above 0, up to 3",
        "set it",
    ),
    "yes for a number": Slip(
        GOVERNANCE, "leverage_cap: 3.0", "leverage_cap: true", ConfigCode.WRONG_TYPE, "leverage_cap", "true", "a number", "set it"
    ),
    "no for a truth value": Slip(
        GOVERNANCE,
        "volatility_target_enabled: false",
        "volatility_target_enabled: no",
        ConfigCode.WRONG_TYPE,
        "volatility_target_enabled",
        "no",
        "true or false",
        "set it to true or false",
    ),
    "a fraction for a whole number": Slip(
        GOVERNANCE,
        "ntp_skew_ms: 1500",
        "ntp_skew_ms: 1499.5",
        ConfigCode.WRONG_TYPE,
        "ntp_skew_ms",
        "1499.5",
        "whole number from 1",
        "set",
    ),
    "a list for a number": Slip(
        GOVERNANCE, "leverage_cap: 3.0", "leverage_cap: [3.0]", ConfigCode.WRONG_TYPE, "leverage_cap", "", "a number", "set it"
    ),
    "a number for a list": Slip(
        GOVERNANCE,
        "take_levels_r: [1.0, 2.0]",
        "take_levels_r: 1.0",
        ConfigCode.WRONG_TYPE,
        "take_levels_r",
        "1.0",
        "a list",
        "set it",
    ),
    "nothing for a number": Slip(
        GOVERNANCE, "leverage_cap: 3.0", "leverage_cap:", ConfigCode.WRONG_TYPE, "leverage_cap", "", "a number", "set it"
    ),
    "time of day read as a number by old YAML": Slip(
        GOVERNANCE,
        "ntp_skew_ms: 1500",
        "ntp_skew_ms: 1:30",
        ConfigCode.WRONG_TYPE,
        "ntp_skew_ms",
        "1:30",
        "a whole number",
        "set it",
    ),
    "octal of old YAML": Slip(
        GOVERNANCE,
        "ntp_skew_ms: 1500",
        "ntp_skew_ms: 01500",
        ConfigCode.WRONG_TYPE,
        "ntp_skew_ms",
        "01500",
        "a whole number",
        "set it",
    ),
    "missing field": Slip(
        GOVERNANCE, "max_daily_loss_pct: 1.8\n", "", ConfigCode.MISSING, "max_daily_loss_pct", "", "up to 1.8", "add it"
    ),
    "missing field inside a list": Slip(
        "symbols.yaml", ', tick_size: "0.1"', "", ConfigCode.MISSING, "symbols[0].tick_size", "", "above 0", "add it"
    ),
    "above the range": Slip(
        GOVERNANCE,
        "max_daily_loss_pct: 1.8",
        "max_daily_loss_pct: 1.9",
        ConfigCode.OUT_OF_RANGE,
        "max_daily_loss_pct",
        "1.9",
        "above 0, up to 1.8",
        "set it to a number above 0, up to 1.8",
    ),
    "below the range": Slip(
        GOVERNANCE,
        "min_bars_hold: 6",
        "min_bars_hold: 5",
        ConfigCode.OUT_OF_RANGE,
        "min_bars_hold",
        "5",
        "from 6 to 100",
        "set it",
    ),
    "out of range inside a list": Slip(
        GOVERNANCE,
        "take_fractions: [0.25, 0.25]",
        "take_fractions: [0.25, -0.25]",
        ConfigCode.OUT_OF_RANGE,
        "take_fractions[1]",
        "-0.25",
        "from 0 to 1",
        "set it",
    ),
    "not a number": Slip(
        GOVERNANCE, "leverage_cap: 3.0", "leverage_cap: .nan", ConfigCode.NOT_FINITE, "leverage_cap", ".nan", "a number", "set it"
    ),
    "infinite": Slip(
        "symbols.yaml",
        "min_vol: 5000",
        "min_vol: .inf",
        ConfigCode.NOT_FINITE,
        "symbols[0].min_vol",
        ".inf",
        "0 or more",
        "set it",
    ),
    "infinite by size": Slip(
        "symbols.yaml",
        "min_vol: 5000",
        "min_vol: 1e999",
        ConfigCode.NOT_FINITE,
        "symbols[0].min_vol",
        "1e999",
        "0 or more",
        "set it",
    ),
    "NaN as a decimal": Slip(
        "symbols.yaml",
        'tick_size: "0.1"',
        'tick_size: "NaN"',
        ConfigCode.NOT_FINITE,
        "symbols[0].tick_size",
        "NaN",
        "above 0",
        "set it",
    ),
    "misspelt key": Slip(
        "strategies.yaml",
        "  adx_min: 20.0",
        "  adx_min: 20.0\n  adx_mni: 20.0",
        ConfigCode.UNKNOWN,
        "breakout_4h.adx_mni",
        "20.0",
        "adx_min",
        "did you mean adx_min?",
    ),
    "misspelt key among many": Slip(
        GOVERNANCE,
        "leverage_cap: 3.0",
        "leverage_cap: 3.0\nlevrage_cap: 3.0",
        ConfigCode.UNKNOWN,
        "levrage_cap",
        "3.0",
        "leverage_cap",
        "did you mean leverage_cap?",
    ),
    "unknown key near nothing": Slip(
        "blackouts.yaml", "windows: []", "windows: []\nzzz: 1", ConfigCode.UNKNOWN, "zzz", "1", "reviewed_until", "remove it"
    ),
    "unknown regime": Slip(
        "enable_map.yaml",
        "  panic: []",
        "  panic: []\n  panik: []",
        ConfigCode.UNKNOWN,
        "regimes.panik",
        "",
        "range_lowvol",
        "did you mean panic?",
    ),
    "unknown strategy": Slip(
        "enable_map.yaml",
        "panic: []",
        "panic: [breakout]",
        ConfigCode.NOT_A_CHOICE,
        "regimes.panic[0]",
        "breakout",
        "funding_rev",
        "did you mean breakout_4h?",
    ),
    "word outside its set": Slip(
        GOVERNANCE,
        "kill_switch_action: flatten",
        "kill_switch_action: Flaten",
        ConfigCode.NOT_A_CHOICE,
        "kill_switch_action",
        "Flaten",
        "one of flatten, hold",
        "did you mean flatten?",
    ),
    "martingale": Slip(
        GOVERNANCE,
        "no_martingale: true",
        "no_martingale: false",
        ConfigCode.NOT_A_CHOICE,
        "no_martingale",
        "false",
        "true",
        "set it to true",
    ),
    "duplicate key": Slip(
        GOVERNANCE,
        "leverage_cap: 3.0",
        "leverage_cap: 3.0\nleverage_cap: 2.0",
        ConfigCode.DUPLICATE_KEY,
        "leverage_cap",
        "leverage_cap",
        "each key once",
        "remove one of the two",
    ),
    "unknown time zone": Slip(
        GOVERNANCE,
        "Europe/Chisinau",
        "Europe/Kishinev9",
        ConfigCode.INCONSISTENT,
        "day_boundary_tz",
        "Europe/Kishinev9",
        "IANA",
        "governance sign",
    ),
    "a folder of the time zone database": Slip(
        GOVERNANCE,
        "day_boundary_tz: Europe/Chisinau",
        "day_boundary_tz: Europe",
        ConfigCode.INCONSISTENT,
        "day_boundary_tz",
        "Europe",
        "IANA",
        "",
    ),
    "streams without funding": Slip(
        GOVERNANCE,
        '["candles", "funding"]',
        '["candles"]',
        ConfigCode.INCONSISTENT,
        "require_streams",
        "",
        "candles and funding",
        "agree",
    ),
    "fractions above one": Slip(
        GOVERNANCE,
        "take_fractions: [0.25, 0.25]",
        "take_fractions: [0.5, 0.6]",
        ConfigCode.INCONSISTENT,
        "take_fractions",
        "",
        "more than 1",
        "",
    ),
    "symbol of the wrong form": Slip(
        "symbols.yaml", '"BTC/USDT:USDT"', '"BTCUSDT"', ConfigCode.FORMAT, "symbols[0].symbol", "BTCUSDT", "of the form", "set it"
    ),
    "spot name for a perp": Slip(
        "symbols.yaml",
        '"BTC/USDT:USDT"',
        '"BTC/USDT"',
        ConfigCode.INCONSISTENT,
        "symbols[0].symbol",
        "BTC/USDT",
        "BASE/QUOTE:SETTLE",
        "",
    ),
    "symbol twice": Slip(
        "symbols.yaml", '"BTC/USDT:USDT"', '"ETH/USDT:USDT"', ConfigCode.INCONSISTENT, "symbols", "", "more than once", ""
    ),
    "decimal that is none": Slip(
        "symbols.yaml",
        'tick_size: "0.1"',
        'tick_size: "a tenth"',
        ConfigCode.FORMAT,
        "symbols[0].tick_size",
        "a tenth",
        "above 0",
        "",
    ),
    "pair with three items": Slip(
        "strategies.yaml",
        "[0.30, 0.5]]",
        "[0.30, 0.5, 0.1]]",
        ConfigCode.LENGTH,
        "score.cost_points[3]",
        "",
        "a list of 2 items",
        "",
    ),
    "pair with one item": Slip(
        "strategies.yaml", "[0.30, 0.5]]", "[0.30]]", ConfigCode.LENGTH, "score.cost_points[3]", "", "a list of 2 items", ""
    ),
    "points that do not fall": Slip(
        "strategies.yaml",
        "[0.10, 1.5]",
        "[0.10, 2.0]",
        ConfigCode.INCONSISTENT,
        "score.cost_points",
        "",
        "falling points",
        "",
    ),
    "band upside down": Slip(
        "strategies.yaml",
        "adx_leave: 15.0",
        "adx_leave: 28.0",
        ConfigCode.INCONSISTENT,
        "regimes.adx_leave",
        "28.0",
        "above adx_enter",
        "",
    ),
    "window that ends before it starts": Slip(
        "blackouts.yaml",
        "windows: []",
        "windows: [{start: 2027-01-13T13:20:00Z, end: 2027-01-13T13:00:00Z, reason: x}]",
        ConfigCode.INCONSISTENT,
        "windows[0].end",
        "2027-01-13T13:00:00Z",
        "after start",
        "",
    ),
    "time without an offset": Slip(
        "blackouts.yaml",
        "reviewed_until: null",
        "reviewed_until: 2027-01-01T00:00:00",
        ConfigCode.INCONSISTENT,
        "reviewed_until",
        "2027-01-01T00:00:00",
        "offset",
        "",
    ),
    "time that is none": Slip(
        "blackouts.yaml",
        "reviewed_until: null",
        "reviewed_until: soon",
        ConfigCode.FORMAT,
        "reviewed_until",
        "soon",
        "or null",
        "",
    ),
    "another version": Slip(
        "enable_map.yaml", "version: 1", "version: 2", ConfigCode.NOT_A_CHOICE, "version", "2", "1", "set it to 1"
    ),
    "hold that differs from governance": Slip(
        "enable_map.yaml",
        "min_bars_hold: 6",
        "min_bars_hold: 7",
        ConfigCode.FILES_DISAGREE,
        "switching_rules.min_bars_hold",
        "7",
        "6, as in governance.yaml",
        "agree",
    ),
    "cooldown that differs from governance": Slip(
        "enable_map.yaml",
        "cooldown_after_2_losses: 3",
        "cooldown_after_2_losses: 4",
        ConfigCode.FILES_DISAGREE,
        "switching_rules.cooldown_after_2_losses",
        "4",
        "3, as in governance.yaml",
        "agree",
    ),
    "strategy enabled where it has no points": Slip(
        "enable_map.yaml",
        "panic: []",
        "panic: [funding_rev]",
        ConfigCode.FILES_DISAGREE,
        "regimes.panic[0]",
        "funding_rev",
        "points",
        "",
    ),
    "blackout of a symbol that is not traded": Slip(
        "blackouts.yaml",
        "windows: []",
        'windows: [{start: 2027-01-13T13:20:00Z, end: 2027-01-13T14:00:00Z, reason: x, symbols: ["BTC/USDT"]}]',
        ConfigCode.FILES_DISAGREE,
        "windows[0].symbols[0]",
        "BTC/USDT",
        "symbols.yaml",
        "did you mean BTC/USDT:USDT?",
    ),
}


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS.keys())
def test_a_slip_is_named_with_file_field_value_and_remedy(slip: Slip, edit, refusal) -> None:
    """H1: a bad value stops the program with exit code 2, naming file, field, value and what is allowed (X21, X41)."""
    edit(slip.file, slip.old, slip.new)
    error = refusal()
    found = [p for p in error.problems if (p.code, p.field) == (slip.code, slip.field)]
    assert found, error.render()
    problem = found[0]
    assert error.exit_code == 2
    assert problem.file.endswith(f"conf/{slip.file}")
    assert problem.value == slip.value
    assert slip.allowed in problem.allowed
    assert slip.help in problem.help
    assert all(part in error.render() for part in (f"error[{slip.code}]", NOTHING_STARTED, slip.field.split("[")[0]))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", ConfigCode.EMPTY),
        (b"# only a comment\n\n", ConfigCode.EMPTY),
        (b"version: [1\n", ConfigCode.NOT_YAML),
        (b"version: 1\n---\nversion: 1\n", ConfigCode.NOT_YAML),
        (b"\tversion: 1\n", ConfigCode.NOT_YAML),
        (b"- 1\n", ConfigCode.NOT_A_MAPPING),
        (b"just words\n", ConfigCode.NOT_A_MAPPING),
        (b"version: 1 # caf\xe9\n", ConfigCode.ENCODING),
        ("version: 1\n".encode("utf-16"), ConfigCode.ENCODING),
        ("version: 1\n".encode("utf-16-le"), ConfigCode.ENCODING),
        (b"version: !!python/object/apply:os.getcwd []\n", ConfigCode.TAG),
        (b"version: &a [*a]\n", ConfigCode.TOO_LARGE),
        (b"version: " + b"[" * 1000, ConfigCode.TOO_LARGE),
        (b"# " + b"x" * 1_000_001, ConfigCode.TOO_LARGE),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(name: str, content: bytes, code: ConfigCode, folder: Path, refusal) -> None:
    """H1: empty, not YAML, wrong encoding, tags and aliases without end."""
    (folder / name).write_bytes(content)
    error = refusal()
    assert error.exit_code == 2
    assert [(p.code, Path(p.file).name) for p in error.problems] == [(code, name)], error.render()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, folder: Path, refusal) -> None:
    (folder / name).unlink()
    error = refusal()
    assert error.exit_code == 2
    assert [(p.code, Path(p.file).name) for p in error.problems] == [(ConfigCode.FILE_MISSING, name)]


def test_a_folder_in_place_of_a_file_is_named(folder: Path, refusal) -> None:
    (folder / GOVERNANCE).unlink()
    (folder / GOVERNANCE).mkdir()
    assert [p.code for p in refusal().problems] == [ConfigCode.FILE_UNREADABLE]


def test_a_missing_folder_is_named(folder: Path, refusal) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert [(p.code, p.file) for p in refusal().problems] == [(ConfigCode.FILE_MISSING, str(folder))]


def test_aliases_that_unfold_to_billions_are_refused_at_once(folder: Path, refusal) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (folder / "symbols.yaml").write_text("\n".join(lines), encoding="utf-8")
    assert [p.code for p in refusal().problems] == [ConfigCode.TOO_LARGE]


def test_everything_that_is_wrong_is_said_at_once(edit, refusal) -> None:
    edit(GOVERNANCE, "leverage_cap: 3.0", "leverage_cap: 30")
    edit(GOVERNANCE, "kill_switch_action: flatten", "kill_switch_action: pray")
    edit("symbols.yaml", "min_vol: 5000", "min_vol: many")
    edit("enable_map.yaml", "panic: []", "panik: []")
    error = refusal()
    found = {(Path(p.file).name, p.field) for p in error.problems}
    assert {
        (GOVERNANCE, "leverage_cap"),
        (GOVERNANCE, "kill_switch_action"),
        ("symbols.yaml", "symbols[0].min_vol"),
        ("enable_map.yaml", "regimes.panik"),
    } <= found
    assert error.render().endswith(f"{len(error.problems)} problems were found.")


def test_the_place_is_that_of_the_value(edit, refusal) -> None:
    """The form of a problem is the one that the command line promises for every error."""
    edit(GOVERNANCE, "per_trade_r_pct_base: 0.8", "per_trade_r_pct_base: 1.2")
    problem = refusal().problems[0]
    file = problem.file
    assert problem.render().splitlines() == [
        "error[CFG-014]: per_trade_r_pct_base is out of range",
        f"  --> {file}:6:23",
        "   |",
        " 6 | per_trade_r_pct_base: 1.2",
        "   |                       ^^^ allowed: a number from 0.05 to 0.8",
        "   = effect: nothing was started; no order was sent",
        f"   = help: set it to a number from 0.05 to 0.8, then `brain governance sign --configs {Path(file).parent}`",
        "   = more: brain explain CFG-014",
    ]


def test_regimes_are_confirmed_no_sooner_than_governance_demands(edit, refusal) -> None:
    """X18, X21: confirm_bars is at least min_bars_hold."""
    edit(GOVERNANCE, "min_bars_hold: 6", "min_bars_hold: 10")
    edit("enable_map.yaml", "min_bars_hold: 6", "min_bars_hold: 10")
    found = {p.field: p for p in refusal().problems}
    assert found["regimes.confirm_bars"].code is ConfigCode.FILES_DISAGREE
    assert (found["regimes.confirm_bars"].value, found["regimes.confirm_bars"].allowed) == ("9", "10 or more")


def test_a_shared_value_is_reported_where_it_stands(edit, refusal) -> None:
    """A value that comes in by ``<<`` is mended at its anchor, not where it is merged."""
    edit("symbols.yaml", "  max_spread: 0.05", "  max_spread: 7")
    problem = next(p for p in refusal().problems if p.field == "symbols[3].max_spread")
    assert problem.source.strip() == "max_spread: 7"


def test_an_own_value_replaces_a_merged_one_in_either_order(folder: Path, edit) -> None:
    edit("symbols.yaml", '{<<: *perp, symbol: "BTC/USDT:USDT",', '{taker_fee_bps: 4.5, <<: *perp, symbol: "BTC/USDT:USDT",')
    edit("symbols.yaml", '{<<: *perp, symbol: "ETH/USDT:USDT",', '{<<: *perp, taker_fee_bps: 3.5, symbol: "ETH/USDT:USDT",')
    fees = [s.taker_fee_bps for s in load(folder).symbols.symbols[:3]]
    assert fees == [4.5, 3.5, 5.0]


def test_the_configuration_that_comes_with_the_program_is_valid_and_signed() -> None:
    """H2: the user's own numbers."""
    found = load()
    governance = found.governance
    assert (governance.per_trade_r_pct_base, governance.per_trade_r_pct_green_bonus) == (0.8, 0.3)
    assert (governance.max_daily_loss_pct, governance.kill_switch_drawdown_72h) == (1.8, 3.5)
    assert (governance.leverage_cap, governance.max_portfolio_r_pct) == (3.0, 1.5)
    assert (governance.no_martingale, governance.pyramiding, governance.ntp_skew_ms) == (True, "anti", 1500)
    assert governance.require_streams == ("candles", "funding")
    assert found.symbols.by_name()["BTC/USDT:USDT"].tick_size == Decimal("0.1")
    assert found.enable_map.order("panic") == found.enable_map.order("never heard of") == ()


def test_the_same_files_give_the_same_digest_and_a_changed_value_another(folder: Path, edit) -> None:
    first = load(folder)
    assert load(folder) == first
    edit("strategies.yaml", "volume_z_min: 1.0", "volume_z_min: 1.1")
    second = load(folder)
    assert second.digest != first.digest
    assert second.governance_digest == first.governance_digest


def test_comments_order_and_spelling_of_numbers_do_not_change_the_digest(folder: Path) -> None:
    before = load(folder).digest
    for name in FILES:
        path = folder / name
        path.write_text(
            "# a remark\n" + path.read_text(encoding="utf-8").replace("version: 1\n", "version: 1   # same\n"), encoding="utf-8"
        )
    governance = folder / GOVERNANCE
    lines = governance.read_text(encoding="utf-8").replace("leverage_cap: 3.0", "leverage_cap: 3").splitlines()
    governance.write_text("\n".join(reversed(lines)), encoding="utf-8")
    assert load(folder).digest == before


def test_a_byte_order_mark_is_no_fault(folder: Path) -> None:
    path = folder / "blackouts.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    load(folder)


def test_control_characters_of_a_file_never_reach_the_terminal(folder: Path, edit, refusal) -> None:
    edit("blackouts.yaml", "reviewed_until: null", 'reviewed_until: "\\e[31mred"')
    assert "\x1b" not in refusal().render()
