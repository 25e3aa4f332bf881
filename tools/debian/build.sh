#!/usr/bin/env bash
# Builds dist/pitcore_VERSION_ARCH.deb for Debian 12 (CPython 3.11) out of our own wheel, on any x86-64 Debian.
#
#   tools/debian/build.sh amd64
#   tools/debian/build.sh arm64
#
# What pitcore needs from PyPI is laid into /usr/lib/pitcore as its wheels have it, so that the package installs without a
# network and changes no Python package of the system. NumPy is of the 1.26 series: Debian's own modules, which
# picamera2 brings into our process, were built for NumPy 1 and cannot be loaded beside NumPy 2.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD here=$root/tools/debian
python=${PITCORE_BUILD_PYTHON:-$root/.venv/bin/python}
extras=gpio,metrics,modbus,mqtt,ota,page
numpy=1.26.4

case ${1:-} in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) echo "usage: tools/debian/build.sh amd64 | arm64" >&2; exit 2 ;;
esac
arch=$1
wheel=$(ls dist/pitcore-*-cp311-cp311-*"$machine".whl) ||
  { echo "build.sh: no wheel in dist/; tools/wheels/build.sh 3.11 $machine" >&2; exit 2; }
version=$(basename "$wheel" | cut -d- -f2)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
maintainer="${DEBFULLNAME:-pitcore developers} <${DEBEMAIL:-pitcore@localhost}>"  # as Debian's own tools take it
umask 022

work=$root/build/debian/$arch stage=$root/build/debian/$arch/stage
rm -rf "$work"
mkdir -p "$stage"
{ grep -v '^numpy==' constraints.txt; echo "numpy==$numpy"; } >"$work/constraints.txt"

# 1. Python: our wheel and what it needs, for that machine. Their test suites stay behind.
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux2014; do platforms+=(--platform "${tag}_$machine"); done
PIP_CONSTRAINT=$work/constraints.txt "$python" -m pip install --quiet --no-compile --no-warn-conflicts --only-binary :all: \
  --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none "${platforms[@]}" \
  --target "$stage/usr/lib/pitcore" "${wheel}[$extras]"
# So does what a board never loads: ONNX Runtime for C programs, tools for building, what CPython has no use for.
(cd "$stage/usr/lib/pitcore" && rm -rf bin numpy/{f2py,distutils} onnxruntime/{tools,transformers,quantization} \
  onnxruntime/capi/libonnxruntime.so.* zstandard/{_cffi.*,backend_cffi.py} securesystemslib/_vendor/test-*)
find "$stage/usr/lib/pitcore" -depth -type d -name tests -exec rm -rf {} +
find "$stage/usr/lib/pitcore" -type f \( -name '*.pyi' -o -name '*.h' -o -name '*.pxd' -o -name '*.a' -o -name '.git*' \) ! -path '*/pitcore/pitcore/*' -delete

# 2. Commands: those the wheel declares.
mkdir -p "$stage/usr/bin"
while IFS='= :' read -r command module function; do
  sed -e "s/@MODULE@/$module/" -e "s/@FUNCTION@/$function/" "$here/command.py.in" >"$stage/usr/bin/$command"
  chmod 755 "$stage/usr/bin/$command"
done < <(sed -n '/console_scripts/,/^$/{/=/p}' "$stage"/usr/lib/pitcore/pitcore-*.dist-info/entry_points.txt)

# 3. The system's part.
install -Dm644 -t "$stage/lib/systemd/system" firmware_configs/systemd/*.service
if compgen -G 'firmware_configs/systemd/*.timer' >/dev/null; then
  install -Dm644 -t "$stage/lib/systemd/system" firmware_configs/systemd/*.timer
fi
install -Dm644 -t "$stage/usr/lib/sysusers.d" firmware_configs/sysusers.d/pitcore.conf
install -Dm644 -t "$stage/usr/lib/tmpfiles.d" firmware_configs/tmpfiles.d/pitcore.conf
install -Dm644 -t "$stage/lib/udev/rules.d" firmware_configs/udev/60-pitcore.rules
install -Dm644 -t "$stage/usr/share/pitcore/boards" firmware_configs/boards/*.toml
install -Dm644 -t "$stage/usr/share/pitcore/libcamera" firmware_configs/libcamera/*.json
install -Dm644 -t "$stage/usr/share/pitcore/prometheus" firmware_configs/prometheus/*.yml
install -Dm644 -t "$stage/usr/share/pitcore/grafana" firmware_configs/grafana/*.json
"$here/board_config.sh" firmware_configs/boards/emulated.toml >"$work/board.toml"
install -Dm644 "$work/board.toml" "$stage/etc/pitcore/board.toml"

# 4. Documents.
documents=$stage/usr/share/doc/pitcore
mkdir -p "$documents" "$stage/usr/share/man/man1"
"$python" "$here/copyright.py" "$stage/usr/lib/pitcore" >"$documents/copyright"
printf 'pitcore (%s) bookworm; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' \
  "$version" "$maintainer" "$(date -R --utc -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$documents/changelog.gz"
install -m644 -t "$documents" README.md CHANGELOG.md
for command in "$stage"/usr/bin/*; do
  name=$(basename "$command")
  "$python" "$here/man_page.py" "$name" | gzip -9n >"$stage/usr/share/man/man1/$name.1.gz"
done
install -Dm644 "$here/lintian-overrides" "$stage/usr/share/lintian/overrides/pitcore"

# 5. The package.
mkdir "$stage/DEBIAN"
install -m755 -t "$stage/DEBIAN" "$here"/{postinst,prerm,postrm}
echo /etc/pitcore/board.toml >"$stage/DEBIAN/conffiles"
size=$(du -sk --apparent-size --exclude=DEBIAN "$stage" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@MAINTAINER@/$maintainer/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" "$here/control.in" >"$stage/DEBIAN/control"
(cd "$stage" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
find "$stage" -type d -exec chmod 755 {} +
find "$stage/usr/lib/pitcore" -type f -exec chmod 644 {} +
rm -f dist/pitcore_*_"$arch".deb
dpkg-deb --root-owner-group -Zxz -z2 --build "$stage" dist/ >/dev/null
deb=dist/pitcore_${version}_$arch.deb
printf '%s: %s kB packed, %s kB installed\n' "$deb" "$(($(stat -c %s "$deb") / 1024))" "$size"
