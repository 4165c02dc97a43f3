#!/usr/bin/env bash
# Sets up, builds and passes every test, and shows what each step took against its budget on two
# cores. A failing step does not stop the ones after it; the exit status is 0 only if all passed.
# The last line is 'N passed, N failed[, N skipped]': deploy/count_cases.py says what a case is.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

logs=build/test-logs
steps=()       # name:preset of each step that writes test results
failed=()      # names of the steps that failed
table=()       # one line per step

usage() {
  echo "usage: deploy/test.sh [STEP ...]"
  echo "  steps: setup release asan tsan gcc tidy install docs; all of them by default"
}

# configure_and_build PRESET [TARGET ...]
configure_and_build() {
  local preset=$1
  shift
  rm -rf "build/$preset/test-results"
  cmake --preset "$preset" -DNURSERY_BUILD_TESTS=ON &&
    cmake --build --preset "$preset" ${1:+--target "$@"}
}

# run_tests STEP PRESET [CTEST-ARGUMENT ...]: no test that matches is a failure, by the preset; so
# is anything that the tests leave behind. Half of the tests wait most of the time, so that two for
# each core keep it busy.
run_tests() {
  local step=$1 preset=$2
  shift 2
  /usr/bin/python3 -B tests/leftovers.py \
    ctest --preset "$preset" -j"$((2 * $(nproc)))" --output-junit "$PWD/$logs/$step.xml" "$@"
}

setup() { deploy/setup.sh --test; }

release() { configure_and_build release && run_tests release release -LE '^(tidy|install|docs)$'; }

# Sanitizers are slow: a fifth of the seeds of a seeded test, which says how many it ran.
sanitized_seeds=200

asan() {
  # A benchmark says nothing there, and killing the same processes again nothing new.
  configure_and_build asan &&
    NURSERY_SEEDS=$sanitized_seeds \
      run_tests asan asan -LE '^(tidy|install|docs|deploy|bench|torture)$'
}

tsan() {
  configure_and_build tsan tests_core tests_engine tests_warden &&
    NURSERY_SEEDS=$sanitized_seeds run_tests tsan tsan -L '^(core|engine|warden)$'
}

gcc() { configure_and_build gcc && run_tests gcc gcc -L '^(core|client)$'; }

tidy() { run_tests tidy release -L '^tidy$'; }

install() { run_tests install release -L '^install$'; }

docs() { run_tests docs release -L '^docs$'; }

# step NAME PRESET BUDGET: runs the function NAME; over twice the budget (seconds) is a failure.
step() {
  local name=$1 preset=$2 budget=$3 began=$SECONDS result=passed
  [[ -z ${wanted[*]} || " ${wanted[*]} " == *" $name "* ]] || return 0
  printf '\n==== %s\n' "$name"
  rm -f "$logs/$name.xml"
  "$name" || result=FAILED
  local took=$((SECONDS - began))
  if ((took > 2 * budget)); then
    result="FAILED: over twice its budget"
  fi
  [[ $result == passed ]] || failed+=("$name")
  [[ $preset == - ]] || steps+=("$name:$preset")
  table+=("$(printf '%-10s %7ss %7ss  %s' "$name" "$took" "$budget" "$result")")
}

wanted=("$@")
for name in "${wanted[@]}"; do
  case $name in
    setup | release | asan | tsan | gcc | tidy | install | docs) ;;
    *) usage >&2; exit 2 ;;
  esac
done

mkdir -p "$logs"
export UBSAN_OPTIONS=print_stacktrace=1

step setup - 240
step release release 540
step asan asan 540
step tsan tsan 240
step gcc gcc 360
step tidy release 240
step install release 60
step docs release 60

printf '\n%-10s %8s %8s  %s\n' step took budget result
printf '%s\n' "${table[@]}"
printf 'NOLINT marks: %s\n' "$(git grep -I -o NOLINT -- '*.cc' '*.h' | wc -l)"
/usr/bin/python3 deploy/count_cases.py --logs "$logs" --failed-steps "${failed[*]}" "${steps[@]}"
