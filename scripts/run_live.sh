#!/usr/bin/env bash
# Live trading. Not in this version: the script says so and starts nothing.
# Exit code 3: refused by a safety rule.
set -euo pipefail
cat >&2 <<'END'
error: live trading is not in this version
   = effect: nothing was started; no order was sent
   = why: live needs at least a month of paper trading on a real exchange's feed, its gates passed and a signed review
   = help: scripts/run_paper.sh
END
exit 3
