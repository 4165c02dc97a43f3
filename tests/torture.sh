#!/usr/bin/env bash
# Full figures of what the tests show with a share: tests/torture.sh processes [OPTION ...]
# --help tells the options. Needs what deploy/test.sh has built, in build/release or where
# NURSERY_BUILD says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} != processes ]]; then
  echo "usage: tests/torture.sh processes [OPTION ...]" >&2
  exit 2
fi
shift
export NURSERY_BUILD=${NURSERY_BUILD:-$PWD/build/release}
export NURSERY_BIN=${NURSERY_BIN:-$NURSERY_BUILD/bin}
exec /usr/bin/python3 tests/torture/kills.py "$@"
