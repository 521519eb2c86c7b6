"""`brain live` in a process of its own, whose account is at a local exchange; for tests.

    python -m tests.support.live_process DIGEST PORT CERTIFICATE KEY SECRET HOME FLAGS...

What leads it there is a value made here: the command knows no flag and no variable for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.clock import SystemClock, VirtualClock
from core.venues.client import Wiring
from core.venues.keys import Keys
from graph import readiness
from graph.commands import live
from graph.commands.live_run import LiveFlags
from graph.live.assembly import Reach
from graph.live.local import local_wiring
from tests.support.approved import NOW
from tests.support.commands import SOON_WARM


def main() -> None:
    """The approved month has just ended; everything else is of now."""
    digest, port, certificate, key, secret, home, *flags = sys.argv[1:]
    live.SystemClock = lambda: VirtualClock(NOW)
    readiness.source_digest = lambda: digest  # that which was approved, whatever is edited meanwhile

    def wired() -> Wiring:
        return local_wiring(int(port), Path(certificate))

    reach = Reach(
        SystemClock(),
        Keys(key, secret),
        {"binanceusdm": wired()},
        wired(),
        wanted=SOON_WARM.__getitem__,
        read_ntp=lambda: None,
    )
    folder = Path(home)
    given = LiveFlags(folder / "runs", folder / "live", folder / "configs", "BTC/USDT:USDT", full_size="--full-size" in flags)
    sys.exit(live.run_live(given, json=True, quiet=False, color="never", reach=reach))


if __name__ == "__main__":
    main()
