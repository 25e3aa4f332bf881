#!/usr/bin/env bash
# Unpacks packages of another Debian suite or architecture into a folder; this machine's own packages stay as they are.
#
#   debian.sh SUITE ARCH FOLDER PACKAGE...            these packages alone
#   debian.sh --with-needs SUITE ARCH FOLDER PACKAGE...   and everything they depend on
set -euo pipefail

needs=no
if [ "$1" = --with-needs ]; then needs=yes; shift; fi
suite=$1 arch=$2 folder=$3
shift 3

command -v apt-get >/dev/null || { echo "debian.sh: no apt-get here; this needs Debian or Ubuntu" >&2; exit 2; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || { echo "debian.sh: no $keyring; apt-get install debian-archive-keyring" >&2; exit 2; }

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state/lists/partial" "$state/archives/partial" "$folder"
touch "$state/status"  # nothing is installed, so that every dependency is fetched
echo "deb [signed-by=$keyring] http://deb.debian.org/debian $suite main" >"$state/sources.list"
options=(
  -qq -o APT::Architecture="$arch" -o APT::Architectures::="$arch" -o APT::Sandbox::User=root
  -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives"
  -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=- -o Acquire::Languages=none
)
apt-get "${options[@]}" update
cd "$state/archives"
if [ "$needs" = yes ]; then
  apt-get "${options[@]}" install --yes --no-install-recommends --download-only "$@"
else
  apt-get "${options[@]}" download "$@"
fi
for package in *.deb; do dpkg -x "$package" "$folder"; done
