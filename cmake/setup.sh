#!/usr/bin/env bash
# Installs what building merganser needs and this machine lacks, by apt.
#   cmake/setup.sh          for the build, the tests and the demo
#   cmake/setup.sh --all    also clang with its sanitizers and clang-tidy, OpenMP and an emulator, as .ci/run uses them
#   cmake/setup.sh --full   also a compiler for AArch64, as .ci/full uses it
#   cmake/setup.sh PACKAGE...   for the build, and these
set -euo pipefail

packages=(ninja-build libeigen3-dev catch2 libbenchmark-dev nlohmann-json3-dev libcli11-dev)
command -v c++ >/dev/null || packages+=(g++)
command -v cmake >/dev/null || packages+=(cmake)
case ${1:-} in --all | --full)
  packages+=(g++ clang clang-tidy libomp-dev libclang-rt-dev qemu-user) ;;
*)
  packages+=("$@") ;;
esac
[ "${1:-}" != --full ] || packages+=(g++-aarch64-linux-gnu)

if ! command -v dpkg-query >/dev/null; then
  echo "setup.sh: no apt on this machine; please install the equivalents of: ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "setup.sh: installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
available=()
for package in "${missing[@]}"; do  # libclang-rt-dev is part of clang on some releases
  ! apt-cache show "$package" >/dev/null 2>&1 || available+=("$package")
done
[ ${#available[@]} -eq 0 ] ||
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${available[@]}"
