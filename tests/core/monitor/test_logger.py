from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from loguru import logger

from core.errors import BrainError, StateError
from core.monitor.logger import LogHandle, LogSettings, Redactor, configure, set_trace, trace_id

KEY = "kA9/x+secret=="
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----"
ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., LogHandle]


@pytest.fixture
def start() -> Iterator[Start]:
    handles: list[LogHandle] = []

    def make(settings: LogSettings, stream: io.StringIO | None = None) -> LogHandle:
        handles.append(configure(settings, stream))
        return handles[-1]

    yield make
    for handle in handles:
        handle.close()


def _read(folder: Path) -> str:
    return "".join(file.read_text(encoding="utf-8") for file in sorted(folder.iterdir()))


def _ask_exchange(key: str) -> None:
    url = f"https://exchange.example/order?apiKey={quote(key, safe='')}"
    raise ValueError(f"403 from {url} with key {key!r}")


@pytest.mark.parametrize("json_lines", [False, True])
def test_a_secret_never_reaches_a_file(tmp_path: Path, start: Start, json_lines: bool) -> None:
    """H5: not in messages, bound facts, exceptions, tracebacks, URLs or JSON escapes."""
    console = io.StringIO()
    handle = start(LogSettings(tmp_path, json_lines=json_lines, console=True, secrets=(KEY, PEM, 'quo"te\\d')), console)
    logger.info("key is {}", KEY)
    logger.bind(headers={"X-MBX-APIKEY": KEY}, plain=KEY, n=3).warning("bound")
    logger.info('escaped quo"te\\d')
    logger.info("line MIIEvQIBADANBg of a key")
    try:
        _ask_exchange(KEY)
    except ValueError:
        logger.exception("it failed")
    logging.getLogger("ccxt").warning("library says %s", KEY)
    handle.close()
    for text in (_read(tmp_path), console.getvalue()):
        for form in (KEY, quote(KEY, safe=""), "MIIEvQIBADANBg", 'quo"te', 'quo\\"te'):
            assert form not in text
        assert "it failed" in text
        assert "_ask_exchange" in text
        assert text.count("***") >= 7


def test_a_failing_sink_prints_no_secret(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError("disk full")

    handle = start(LogSettings(console=True, secrets=(KEY,)), Full())
    try:
        _ask_exchange(KEY)
    except ValueError:
        logger.exception("with {}", KEY)
    logger.info("again")
    assert capsys.readouterr().err == "warning: the log cannot be written: disk full\n"
    assert handle.lost == 2


_FULL_DISK = """
import sys
from pathlib import Path
from loguru import logger
from core.monitor.logger import LogSettings, configure
handle = configure(LogSettings(Path(sys.argv[1]), secrets=(sys.argv[2],)))
try:
    raise ValueError("key " + sys.argv[2])
except ValueError:
    logger.exception("with {}", sys.argv[2])
logger.info("again")
lost = handle.lost
handle.close()
print(lost)
"""


def test_a_full_disk_loses_records_and_neither_the_run_nor_a_secret(tmp_path: Path) -> None:
    (tmp_path / "brain.log").symlink_to("/dev/full")
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path), KEY], check=True, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "2\n"
    assert done.stderr == "warning: the log cannot be written: [Errno 28] No space left on device\n"


def test_short_values_are_no_secrets() -> None:
    assert Redactor(("", "abc"))("abc def") == "abc def"
    assert Redactor(("abcd", "abcdef"))("abcdef abcd") == "*** ***"


def test_records_carry_the_trace_of_their_bar(tmp_path: Path, start: Start) -> None:
    """I1: trace id per bar, also across tasks."""
    handle = start(LogSettings(tmp_path, json_lines=True))

    async def bar(seq: int) -> None:
        set_trace("r1", seq)
        await asyncio.sleep(0)
        logger.info("bar {}", seq)

    async def run() -> None:
        await asyncio.gather(bar(1), bar(2))

    assert trace_id() == "-"
    asyncio.run(run())
    logger.bind(symbol="BTC", price=1.5).info("outside")
    handle.close()
    lines = [json.loads(line) for line in _read(tmp_path).splitlines()]
    assert [(line["message"], line["trace"]) for line in lines] == [("bar 1", "r1-1"), ("bar 2", "r1-2"), ("outside", "-")]
    assert (lines[2]["symbol"], lines[2]["price"], lines[2]["level"]) == ("BTC", 1.5, "INFO")


def test_text_lines_are_for_people(tmp_path: Path, start: Start) -> None:
    console = io.StringIO()
    handle = start(LogSettings(tmp_path, console=True), console)
    set_trace("r1", 7)
    logger.bind(symbol="BTC").info("a {{brace}} <tag> {}", "ok")
    handle.close()
    for text in (_read(tmp_path), console.getvalue()):
        assert text.endswith("r1-7 test_logger: a {brace} <tag> ok symbol=BTC\n") or ": a {brace} <tag> ok symbol=BTC\n" in text
        assert text.count("symbol=BTC") == 1
        assert "r1-7" in text


def test_levels_are_obeyed_and_checked(tmp_path: Path, start: Start) -> None:
    handle = start(LogSettings(tmp_path, level="WARNING"))
    logger.info("quiet")
    logger.warning("loud")
    handle.close()
    assert "quiet" not in _read(tmp_path)
    assert "loud" in _read(tmp_path)
    with pytest.raises(BrainError, match="expected one of TRACE"):
        LogSettings(level="LOUD")


def test_a_full_file_is_followed_by_a_new_one_and_old_ones_stay_for_half_a_year(tmp_path: Path, start: Start) -> None:
    """I1: rotation by size, at least six months kept."""
    recent, ancient = tmp_path / "brain.2024-01-01_00-00-00_000000.log", tmp_path / "brain.2023-01-01_00-00-00_000000.log"
    day = 86_400
    for file, age_days in ((recent, 185), (ancient, 187)):
        file.write_text("old")
        os.utime(file, (time.time() - age_days * day,) * 2)
    handle = start(LogSettings(tmp_path, rotation_bytes=2_000))
    for number in range(60):
        logger.info("line {} {}", number, "x" * 50)
    handle.close()
    text = _read(tmp_path)
    assert len(list(tmp_path.iterdir())) > 2
    assert all(f"line {number} " in text for number in range(60))
    assert recent.exists()
    assert not ancient.exists()


def test_less_than_half_a_year_is_refused() -> None:
    """I1."""
    with pytest.raises(BrainError, match="186 or more"):
        LogSettings(retention_days=30)
    assert LogSettings().retention_days >= 186


def test_nothing_goes_to_the_terminal_unless_asked(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start(LogSettings(tmp_path))
    logger.error("to the file")
    assert capsys.readouterr() == ("", "")
    start(LogSettings(console=True, colour=True))
    logger.error("to the terminal")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "to the terminal" in printed.err


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError, match="cannot be written"):
        configure(LogSettings(tmp_path / "file" / "logs"))


def test_closing_takes_down_what_was_set_up(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    handle = configure(LogSettings(tmp_path))
    assert handle.path == tmp_path / "brain.log"
    handle.close()
    handle.close()
    assert logging.getLogger().handlers == before


def test_import_changes_nothing() -> None:
    code = (
        "import logging, loguru; a = (len(logging.getLogger().handlers), len(loguru.logger._core.handlers));"
        "import core.monitor.logger; b = (len(logging.getLogger().handlers), len(loguru.logger._core.handlers));"
        "assert a == b, (a, b)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
