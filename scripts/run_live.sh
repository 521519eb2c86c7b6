#!/usr/bin/env bash
# Live trading, as a daemon would be started: becomes `brain live`, which refuses (exit code 3) until the evidence is there
# and a person has approved it. Sets nothing up: what trades money is not installed by the way. Keys come from the environment
# or .env, never from an argument. All arguments go to the command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ ! -x .venv/bin/python ]; then
  cat >&2 <<'END'
error: Brain is not set up in this folder
   = effect: nothing was started; no order was sent
   = help: make paper, which sets up what is needed
END
  exit 4
fi
exec .venv/bin/python -m graph.cli live "$@"
