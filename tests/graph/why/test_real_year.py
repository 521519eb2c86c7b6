"""Everything in months of real bars, explained (``make acceptance``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.monitor.reader import StoreReader
from graph.sessions import find
from graph.why.records import Records
from tests.graph.why.checks import assert_complete
from tests.graph.why.conftest import chosen_ids, explain_all, fingerprint
from tests.support.commands import paper

SYMBOLS = "BTC/USDT:USDT,ETH/USDT:USDT,SOL/USDT:USDT"


@pytest.mark.acceptance
def test_every_trade_and_every_code_of_real_months_is_explained(shared_data: Path, tmp_path: Path):
    """Issue 3: complete, arithmetic checked, files untouched."""
    state = tmp_path / "real"
    said = paper(
        state,
        "--source",
        "replay",
        "--data",
        str(shared_data),
        "--symbols",
        SYMBOLS,
        "--from",
        "2024-01-01",
        "--to",
        "2024-03-20",
        "--unlock-after",
        "24h",
        "--quiet",
    )
    assert said.code == 0
    session = find(str(state))
    records = Records(StoreReader(session.folder.database))
    found = explain_all(session, records, chosen_ids(records, 5))
    codes = {refusal.code.value for _, refusal in records.refusals()}
    explained_codes = {one.refusal.code.value for one in found.subjects.values() if one.refusal is not None}
    assert explained_codes == codes
    for why in found.whys.values():
        if why.verdict.symbol:  # research has no market to look at
            assert_complete(found, why)
    assert fingerprint(found.folder) == found.before
