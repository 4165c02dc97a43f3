#!/usr/bin/env bash
# From a bare Debian 12 to the first job: installs packages, builds the release preset, runs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deploy/setup.sh
cmake --preset release -DNURSERY_BUILD_TESTS=OFF
cmake --build --preset release
build/release/bin/nursery run deploy/examples/count-words/count-words.yaml
