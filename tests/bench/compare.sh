#!/usr/bin/env bash
# Builds the release preset and measures it against its goals, and against others that do the same
# work on the same machine in the same run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
  echo "usage: tests/bench/compare.sh service|processes|core [OPTION ...]"
  echo "  prints 'NAME OURS PEER RATIO GOAL ok|short|no-peer' for each row, as medians with"
  echo "  quartiles; exits with 1 if one is short. Options:"
  echo "  --quick            smallest sizes, one round: shows that it runs, not how fast"
  echo "  --rounds N         how often each is measured, in turns; 5, of core 11, of processes 1"
  echo "  --row NAME         only this row; may be given more than once"
  echo "  --goal NAME=VALUE  another goal for a row"
}

targets=()
case "${1:-}" in
  service) targets=(nurseryd nursery-warden rpc_bench spawn_loop) ;;
  processes) targets=(nursery-warden spawn_bench) ;;
  core) targets=(core_bench core_bench_bare dump_bench tbb_bench) ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
what=$1
shift
for word in "$@"; do
  if [[ $word == -h || $word == --help ]]; then
    usage
    exit 0
  fi
done

cmake --preset release -DNURSERY_BUILD_TESTS=ON >&2
cmake --build --preset release --target "${targets[@]}" >&2
NURSERY_BIN=build/release/bin NURSERY_BUILD=build/release \
  exec /usr/bin/python3 -B "tests/bench/${what}_bench.py" "$@"
