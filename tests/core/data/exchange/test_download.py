"""Recording history: the same as the venue has, whatever interrupts it, and nobody else's files."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.exchange import download as module
from core.data.exchange.clock import VenueClock
from core.data.exchange.download import LISTED, Download, held, joined, series_of
from core.data.exchange.inspect import inspect
from core.data.exchange.rest import VenueRest, settlements
from core.data.sources.folder import Kind, read_columns
from core.data.sources.replay import ReplaySource
from core.errors import SourceError
from core.sim.server.faults import FaultKind
from core.types import Timeframe
from core.venues import binanceusdm
from core.venues.client import Wiring, make_client
from core.venues.market_words import Pages
from tests.core.data.exchange.kit import BTC, ETH, H1, M5, START, Stand, columns_of, record, tell, write
from tests.support.simulation.disk import Loss

SINCE = START - 2 * Timeframe.D1.ms
TFS = (M5, H1)


async def fetch(stand: Stand, folder: Path, since: int = SINCE, until: int = START, symbols: tuple[str, ...] = (BTC, ETH)) -> int:
    """Download as the command does; gives the number of requests."""
    client = make_client("binanceusdm", None, Wiring(timeout_ms=1_000))
    asked = 0
    ask = client.fetch

    async def counted(*how: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*how)

    client.fetch = counted
    try:
        await client.load_markets()
        clock = VenueClock(stand.world.clocks, step_ms=250, every_s=300.0, read_ntp=lambda: None)
        await clock.measure(client)
        download = Download(VenueRest(client, clock.now, 15_000), "binanceusdm", folder, np.random.default_rng(0))
        wanted = series_of(symbols, TFS)
        download.check(wanted)
        asked = 0
        for series in wanted:
            await download.fetch(series, since, until, lambda _: None)
        return asked
    finally:
        await client.close()


def assert_same(
    folder: Path, stand: Stand, since: int = SINCE, until: int = START, symbols: tuple[str, ...] = (BTC, ETH)
) -> None:
    """The folder holds what the market has between two times, and no draft is left."""
    market = stand.world.folder / "market"
    for kind, tf in ((Kind.PERP, M5), (Kind.PERP, H1), (Kind.SPOT, H1), (Kind.FUNDING, None)):
        name = kind.value if tf is None else f"{kind.value}_{tf.value}"
        for symbol in symbols:
            file = f"{symbol.replace('/', '').partition(':')[0]}.parquet"
            mine, theirs = (read_columns(place / name / file, kind, kind.columns) for place in (folder, market))
            inside = (theirs["ts"] >= since) & (theirs["ts"] + (tf.ms if tf else 0) <= until)
            for column in kind.columns:
                if kind is not Kind.SPOT or column in ("ts", "close"):
                    # the venue writes eight digits; sums of floats have more
                    np.testing.assert_allclose(mine[column], theirs[column][inside], rtol=1e-12, err_msg=f"{name} {column}")
    assert not [path for path in folder.rglob("*") if path.suffix == ".tmp" or ".parts" in path.parts]


def test_a_download_is_what_the_venue_has_and_a_replay_plays_it(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await fetch(stand, tmp_path)
        assert_same(tmp_path, stand)
        assert inspect(tmp_path).sound
        replay = ReplaySource(tmp_path, [BTC], START - Timeframe.D1.ms)
        assert replay.info.batches == 288
        assert replay.info.missing == ()

    tell(story, base=M5, prepare=False)


def test_short_pages_leave_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settlements and candles of a venue that tells little at once, from before its first one on."""
    monkeypatch.setattr(binanceusdm, "PAGES", Pages(candles=30, marks=20, funding=2))

    async def story(stand: Stand) -> None:
        folder, since = stand.world.folder / "out", START - 6 * Timeframe.D1.ms
        assert await fetch(stand, folder, since) > 20
        assert_same(folder, stand, since)
        rest = VenueRest(stand.venue.client, stand.venue.clock.now, 15_000)
        await stand.venue.client.load_markets()
        ts, rates = await settlements(rest, BTC, since, START - 1)
        known = stand.replay.funding_history(BTC, START - 1, 100)
        assert list(zip(ts.tolist(), rates.tolist(), strict=True)) == [(row.ts, row.rate) for row in known]
        assert len(known) == 11
        ts, _ = await settlements(rest, BTC, START, START - 1)
        assert ts.size == 0

    tell(story, base=M5, bars=1, prepare=False)


def test_what_was_fetched_is_not_asked_for_again_and_a_longer_time_only_adds() -> None:
    async def story(stand: Stand) -> None:
        folder = stand.world.folder / "out"
        assert await fetch(stand, folder) > 0
        assert await fetch(stand, folder) == 0
        assert await fetch(stand, folder, START - 3 * Timeframe.D1.ms) > 0
        assert_same(folder, stand, START - 3 * Timeframe.D1.ms, START)

    async def later(stand: Stand) -> None:
        await asyncio.sleep(0.1)
        await story(stand)

    tell(later, base=M5, prepare=False, bars=1)


def test_a_hole_between_two_downloads_is_filled() -> None:
    async def story(stand: Stand) -> None:
        folder, day = stand.world.folder / "out", Timeframe.D1.ms
        await fetch(stand, folder, START - 3 * day, START - 2 * day)
        await fetch(stand, folder, START - day, START)
        await fetch(stand, folder, START - 3 * day, START)
        assert_same(folder, stand, START - 3 * day, START)
        listed = json.loads((folder / LISTED).read_bytes())
        assert listed["series"]["perp_5m/BTCUSDT.parquet"] == [[START - 3 * day, START]]

    tell(story, base=M5, prepare=False)


@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_it_goes_on_and_ends_with_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resumable after kill -9: parts are whole or not there, and nothing is lost or twice."""
    monkeypatch.setattr(module, "PAGE", 100)
    monkeypatch.setattr(module, "_PART_ROWS", 200)

    async def story(stand: Stand) -> None:
        world, lives = stand.world, 0

        async def downloader(node: Any) -> None:
            await fetch(stand, node.folder / "out")

        node = world.start("downloader", downloader)
        while not node.task.done():
            world.at(world.loop.time() + world.chance.uniform(0.02, 0.25), world.kill, "downloader")
            await node.gone
            if node.life in world.loop.dead:
                lives += 1
                node = world.restart("downloader", Loss.KILL)
            if lives == 8:
                await node.gone
        assert lives > 1
        assert_same(node.folder / "out", stand)

    tell(story, seed=seed, base=M5, prepare=False)


@pytest.mark.parametrize(("begin", "end"), [(96, 576), (96, 252), (0, 156), (252, 576)])
def test_cut_off_and_asked_for_other_times_it_loses_nothing_that_it_lists(
    begin: int, end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that begin before the new range, or go on beyond it, are taken whole."""
    monkeypatch.setattr(module, "PAGE", 100)
    monkeypatch.setattr(module, "_PART_ROWS", 200)

    async def story(stand: Stand) -> None:
        await asyncio.sleep(60.0)  # until the last bar is over for good
        folder = stand.world.folder / "out"
        parts = folder / ".parts" / "perp_5m" / "BTCUSDT"
        cut_off = asyncio.create_task(fetch(stand, folder, symbols=(BTC,)))
        while len(list(parts.glob("*.parquet"))) < 2:  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.001)
        cut_off.cancel()
        await asyncio.gather(cut_off, return_exceptions=True)
        await fetch(stand, folder, SINCE + begin * M5.ms, SINCE + end * M5.ms, (BTC,))
        listed = json.loads((folder / LISTED).read_bytes())["series"]["perp_5m/BTCUSDT.parquet"]
        ts = read_columns(folder / "perp_5m" / "BTCUSDT.parquet", Kind.PERP, ("ts",))["ts"]
        assert ts.tolist() == [at for first, last in listed for at in range(first, last, M5.ms)]
        assert listed[0][0] <= SINCE + begin * M5.ms
        assert listed[-1][1] >= SINCE + end * M5.ms
        await fetch(stand, folder, symbols=(BTC,))
        assert_same(folder, stand, symbols=(BTC,))

    tell(story, base=M5, prepare=False)


def test_what_was_taken_away_is_fetched_again(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await fetch(stand, tmp_path, symbols=(BTC,))
        (tmp_path / "perp_5m" / "BTCUSDT.parquet").unlink()
        await fetch(stand, tmp_path, START - Timeframe.D1.ms, symbols=(BTC,))
        await fetch(stand, tmp_path, symbols=(BTC,))
        assert_same(tmp_path, stand, symbols=(BTC,))

    tell(story, base=M5, prepare=False)


def test_a_second_download_into_a_folder_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    with held(tmp_path / "out"):
        with pytest.raises(SourceError, match="another brain data fetch writes into") as told, held(tmp_path / "out"):
            pass
        assert told.value.code == "DATA-043"
    with held(tmp_path / "out"):
        pass


@pytest.mark.parametrize("kind", [FaultKind.HTML, FaultKind.TRUNCATED, FaultKind.DROP_AFTER, FaultKind.THROTTLE, FaultKind.HANG])
def test_trouble_on_the_way_costs_time_and_nothing_else(kind: FaultKind, tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        stand.fault(0.0, kind, path="/fapi/v1/klines", nth=2, times=2)
        await asyncio.sleep(0.1)
        await fetch(stand, tmp_path, symbols=(BTC,))
        assert_same(tmp_path, stand, symbols=(BTC,))

    tell(story, base=M5, prepare=False)


@pytest.mark.parametrize("where", ["a part", "the file", "the list"])
def test_on_a_full_disk_it_says_so_and_goes_on_from_there_once_there_is_room(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was fetched is lost, and no draft takes up what room there is."""
    monkeypatch.setattr(module, "PAGE", 100)
    monkeypatch.setattr(module, "_PART_ROWS", 200)

    async def story(stand: Stand) -> None:
        draft = {
            "a part": tmp_path / ".parts" / "perp_5m" / "BTCUSDT" / f"{SINCE + 200 * M5.ms}-{SINCE + 400 * M5.ms}.tmp",
            "the file": tmp_path / "perp_5m" / "BTCUSDT.tmp",
            "the list": tmp_path / f".{LISTED}.{os.getpid()}",
        }[where]
        await asyncio.sleep(60.0)  # until the last bar is over for good
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.symlink_to("/dev/full")
        with pytest.raises(SourceError, match=f"there is no space left in {tmp_path}") as told:
            await fetch(stand, tmp_path, symbols=(BTC,))
        assert told.value.code == "DATA-044"
        assert "free some, then run the same command again: it goes on from where it was" in told.value.help
        assert not draft.is_symlink()
        await fetch(stand, tmp_path, symbols=(BTC,))
        assert_same(tmp_path, stand, symbols=(BTC,))

    tell(story, base=M5, prepare=False)


def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "fetch.lock").mkdir()
    with pytest.raises(SourceError, match="cannot be written: Is a directory") as told, held(tmp_path):
        pass
    assert (told.value.code, "let this account write there" in told.value.help) == ("DATA-044", True)


def test_what_others_wrote_is_never_touched(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        other = tmp_path / "perp_5m" / "BTCUSDT.parquet"
        write(tmp_path, "perp_5m", BTC, columns_of(stand.replay.history(BTC, M5, START, 5)))
        before = other.read_bytes()
        with pytest.raises(SourceError, match="was not written by brain data fetch") as told:
            await fetch(stand, tmp_path)
        assert told.value.code == "DATA-042"
        assert other.read_bytes() == before

    tell(story, base=M5, prepare=False)
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["BTCUSDT.parquet"]


def test_recordings_of_two_venues_never_mix(tmp_path: Path) -> None:
    """X33."""
    (tmp_path / LISTED).write_text('{"exchange": "bybit", "series": {}}')
    with pytest.raises(SourceError, match="holds recordings of bybit"):
        Download(None, "binanceusdm", tmp_path, np.random.default_rng(0))  # type: ignore[arg-type]
    (tmp_path / LISTED).write_text("{")
    with pytest.raises(SourceError, match="cannot be read"):
        Download(None, "binanceusdm", tmp_path, np.random.default_rng(0))  # type: ignore[arg-type]


def test_times_are_joined() -> None:
    assert joined([(5, 7), (1, 3), (3, 4), (6, 9)]) == [(1, 4), (5, 9)]


# --- how good they are ---------------------------------------------------------------------------------


def test_a_sound_folder_has_nothing_wrong_and_bad_rows_are_each_named(tmp_path: Path) -> None:
    record(tmp_path, (BTC,), 60)
    sound = inspect(tmp_path)
    assert sound.sound
    assert [(one.fine, one.coarse, one.differ) for one in sound.agreements] == [("1m", "1h", 0)]
    assert sound.agreements[0].compared == 97
    path = tmp_path / "perp_1m" / "BTCUSDT.parquet"
    columns = read_columns(path, Kind.PERP, Kind.PERP.columns)
    columns = {name: column[2_880:].copy() for name, column in columns.items()}
    order = np.r_[0:10, 12:20, 19, 25:24:-1, 26:300]
    columns = {name: column[order] for name, column in columns.items()}
    columns["high"][4] = 0.5
    columns["ts"][5] += 1
    columns["close"][50] *= 1.0001
    columns["high"][50] *= 1.01
    columns["volume"][60] = 0.0
    write(tmp_path, "perp_1m", BTC, columns)
    settled = [hour * H1.ms for hour in (0, 8, 8, 24)]
    settled[-1] += 5
    write(tmp_path, "funding", BTC, {"ts": settled, "funding_rate": [0.1, 0.2, 0.2, float("nan")]})
    (tmp_path / "mark_1h").mkdir()
    (tmp_path / "mark_1h" / "BTCUSDT.parquet").write_text("no parquet")
    found = {finding.file: finding for finding in inspect(tmp_path).files}
    bars, funding, mark = (found[f"{kind}/BTCUSDT.parquet"] for kind in ("perp_1m", "funding", "mark_1h"))
    assert (bars.duplicates, bars.off_grid, bars.bad, bars.zero_volume) == (1, 1, 1, 1)
    assert bars.gaps >= 2
    assert bars.largest == 5  # minutes 20 to 24
    assert (funding.gaps, funding.duplicates, funding.off_grid, funding.bad) == (1, 1, 1, 1)
    assert "could not be read" in mark.wrong[0]
    assert not inspect(tmp_path).sound
    assert inspect(tmp_path).agreements[0].differ >= 1


def test_rows_that_were_asked_for_and_are_not_there_are_told(tmp_path: Path) -> None:
    record(tmp_path, (BTC,), 60)
    path = tmp_path / "perp_1m" / "BTCUSDT.parquet"
    ts = read_columns(path, Kind.PERP, ("ts",))["ts"].tolist()
    first, end = ts[0], ts[-1] + 60_000

    def found(*ranges: tuple[int, int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        series = {"perp_1m/BTCUSDT.parquet": ranges}
        (tmp_path / LISTED).write_text(json.dumps({"exchange": "binanceusdm", "series": series}))
        (finding,) = (one for one in inspect(tmp_path).files if one.file == "perp_1m/BTCUSDT.parquet")
        return finding.wrong, finding.remarks

    assert found((first, end)) == found() == ((), ())
    wrong, remarks = found((first - 60_000, first), (first, end + 60_000))
    assert wrong == ("ends 2026-01-05 00:59 though asked for until 2026-01-05 01:01",)
    assert remarks == ("begins 2026-01-01 00:00 though asked for from 2025-12-31 23:59: not listed before?",)
    (tmp_path / LISTED).write_text("{")
    assert inspect(tmp_path).files[0].file == LISTED
    assert not inspect(tmp_path).sound


def test_a_folder_without_recordings_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no recordings"):
        inspect(tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        inspect(tmp_path / "nowhere")
