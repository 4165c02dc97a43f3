#!/usr/bin/env bash
# Full figures of what the tests show with a share:
#   tests/torture.sh processes [OPTION ...]   kills again and again; --help tells the options
#   tests/torture.sh teardown                 a cancel of 100,000 nodes, 1,000 of them started
# Needs what deploy/test.sh has built, in build/release or where
# NURSERY_BUILD says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  echo "usage: tests/torture.sh processes [OPTION ...] | teardown" >&2
  exit 2
}

what=${1:-}
[[ $what == processes || ($what == teardown && $# == 1) ]] || usage
shift
export NURSERY_BUILD=${NURSERY_BUILD:-$PWD/build/release}
export NURSERY_BIN=${NURSERY_BIN:-$NURSERY_BUILD/bin}
[[ $what != processes ]] || exec /usr/bin/python3 tests/torture/kills.py "$@"
cd tests/service
export NURSERY_TEARDOWN_LEAVES=${NURSERY_TEARDOWN_LEAVES:-1000}
exec /usr/bin/python3 -B -m unittest -v \
  cancel_test.ManyTest.test_of_a_hundred_thousand_nodes_all_is_gone_in_the_time_that_was_shown
