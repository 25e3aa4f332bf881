#!/usr/bin/env bash
# Builds dist/pitcore-*.whl for one CPython and one machine, on any x86-64 Debian, without that Python or that machine.
#
#   tools/wheels/build.sh 3.11 aarch64
#   tools/wheels/build.sh all            # CPython 3.11 and 3.13, x86_64 and aarch64, and the sdist
#
# The compiler is zig's clang from PyPI, which links against any glibc. The headers are Debian's: bookworm has CPython
# 3.11, trixie 3.13, the same two that Raspberry Pi OS has. Our own code needs glibc 2.17; ONNX Runtime's wheels need 2.28.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
python=${PITCORE_BUILD_PYTHON:-$root/.venv/bin/python}
glibc=2.28

build() {
  local version=$1 machine=$2
  local short=cp${version/./} debian_arch suite triplet=$machine-linux-gnu
  case $machine in
    x86_64) debian_arch=amd64 ;;
    aarch64) debian_arch=arm64 ;;
    *) echo "build.sh: machine '$machine'; known are x86_64 and aarch64" >&2; exit 2 ;;
  esac
  case $version in
    3.11) suite=bookworm ;;
    3.13) suite=trixie ;;
    *) echo "build.sh: CPython '$version'; known are 3.11 and 3.13" >&2; exit 2 ;;
  esac
  local headers=$root/build/wheels/headers-$short-$machine work=$root/build/wheels/$short-$machine
  [ -d "$headers/usr/include/python$version" ] ||
    tools/wheels/debian.sh "$suite" "$debian_arch" "$headers" "libpython$version-dev"

  mkdir -p dist
  rm -rf "$work/wheel" build/lib.* build/temp.* build/bdist.*
  PITCORE_CMAKE_ARGS="-DCMAKE_TOOLCHAIN_FILE=$root/tools/wheels/$machine.cmake -DCMAKE_MODULE_LINKER_FLAGS=-s" \
  PITCORE_PYTHON_INCLUDE="$headers/usr/include/python$version;$headers/usr/include" \
  SETUPTOOLS_EXT_SUFFIX=".cpython-${version/./}-$triplet.so" \
    "$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/wheel" .
  rm -rf build/lib.* build/temp.* build/bdist.*  # else the next build for this machine would go on with that compiler
  rm -f dist/pitcore-*-"$short"-"$short"-*"$machine".whl
  "$python" -m wheel tags --remove --python-tag "$short" --abi-tag "$short" \
    --platform-tag "manylinux_${glibc/./_}_$machine" "$work"/wheel/pitcore-*.whl
  mv "$work"/wheel/pitcore-*.whl dist/
  check "$short" "$machine"
}

# auditwheel reads the symbols that the module asks of glibc, and says the oldest one that has them.
check() {
  local wheel report policy minor
  wheel=$(ls dist/pitcore-*-"$1"-"$1"-*"$2".whl)
  report=$("$python" -m auditwheel show "$wheel" | tr '\n' ' ')
  policy=$(grep -o '"manylinux_[0-9_a-z]*"' <<<"$report" | head -1 | tr -d '"')
  minor=${policy#manylinux_2_}
  [ -n "$policy" ] && [ "${minor%%_*}" -le "${glibc#*.}" ] ||
    { echo "build.sh: $wheel asks for more than glibc $glibc: $report" >&2; exit 1; }
  printf '%s: %s\n' "$wheel" "$policy"
}

if [ "${1:-}" = all ]; then
  for version in 3.11 3.13; do
    for machine in x86_64 aarch64; do build "$version" "$machine"; done
  done
  "$python" -m build --sdist --no-isolation --outdir dist . >/dev/null
  # Whoever has no wheel builds from it: prove that it builds.
  "$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheels/from-sdist dist/pitcore-*.tar.gz
  printf '%s: builds %s\n' dist/pitcore-*.tar.gz "$(ls build/wheels/from-sdist)"
elif [ $# = 2 ]; then
  build "$1" "$2"
else
  echo "usage: tools/wheels/build.sh VERSION MACHINE | all" >&2
  exit 2
fi
