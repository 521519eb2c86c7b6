#!/usr/bin/env bash
# Paper trading, as a daemon would be started: sets up what is missing, then becomes `brain paper`.
# Without arguments it trades the synthetic market; all arguments go to the command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
make --no-print-directory .venv/.installed-daemon >&2
if [ "$#" -eq 0 ]; then
  set -- --source synthetic
fi
exec .venv/bin/brain paper "$@"
