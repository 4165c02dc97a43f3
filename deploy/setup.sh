#!/usr/bin/env bash
# Installs the Debian 12 packages that building and running nursery needs; with --test also those
# that only its tests need. Needs nothing but apt; asks for root through sudo; leaves apt alone when
# every package is there. Debian's prometheus package is never among them: it starts a service. The
# tests run its programs from $NURSERY_TOOLS, into which it is unpacked.
set -euo pipefail

build_packages=(
  clang-19 lld-19 cmake ninja-build ccache pkg-config
  libabsl-dev libprotobuf-dev protobuf-compiler libgrpc++-dev protobuf-compiler-grpc grpc-proto
  libyaml-dev libcli11-dev libssl-dev libcivetweb-dev prometheus-cpp-dev
)
test_packages=(
  g++-12 libclang-rt-19-dev clang-tidy-19 clang-format-19 libclang-19-dev llvm-19-dev
  libgtest-dev libgmock-dev libbenchmark-dev libtbb-dev python3 python3-grpcio python3-yaml git
  openssl parallel valgrind
)

tools=${NURSERY_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/nursery-tools}
export DEBIAN_FRONTEND=noninteractive
apt_options=(-qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)

usage() {
  echo "usage: deploy/setup.sh [--test]"
  echo "  --test  also install what only the tests need"
}

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo --preserve-env=DEBIAN_FRONTEND "$@"
  else
    echo "setup: installing packages needs root, and there is no sudo; run this as root" >&2
    exit 1
  fi
}

unpack_prometheus() {
  [[ -x $tools/usr/bin/prometheus && -x $tools/usr/bin/promtool ]] && return
  echo "setup: unpacking prometheus into $tools"
  local download
  download=$(mktemp -d)
  as_root apt-get "${apt_options[@]}" update
  (cd "$download" && apt-get "${apt_options[@]}" download prometheus)
  mkdir -p "$tools"
  dpkg -x "$download"/prometheus_*.deb "$tools"
  rm -rf "$download"
}

packages=("${build_packages[@]}")
with_tests=''
case "${1:-}" in
  '') ;;
  --test) packages+=("${test_packages[@]}") with_tests=yes ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

if ! command -v apt-get >/dev/null; then
  echo "setup: no apt-get here; on another system install these by hand: ${packages[*]}" >&2
  exit 1
fi

[[ -z $with_tests ]] || unpack_prometheus

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

echo "setup: installing ${missing[*]}"
as_root apt-get "${apt_options[@]}" update
as_root apt-get "${apt_options[@]}" install -y --no-install-recommends "${missing[@]}"
