#!/usr/bin/env bash
# Prints a board's configuration with the places of an installed system: FILE's own are relative, for trying it out.
set -euo pipefail
text=$(cat "$1")
replace() { # KEY PLACE
  grep -q "^$1 = \"out/" <<<"$text" || { echo "board_config.sh: $1 is no longer below out/ in the file" >&2; exit 1; }
  text=$(sed "s|^$1 = \"out/[^\"]*\"|$1 = \"$2\"|" <<<"$text")
}
replace path /var/log/pitcore/verdicts.jsonl
if grep -q '^\[control\]' <<<"$text"; then
  replace socket /run/pitcore/control.sock
  replace state_dir /var/lib/pitcore
fi
if grep -q '^\[capture\]' <<<"$text"; then replace folder /var/lib/pitcore/capture; fi
cat <<'END'
# The board's configuration, read by pitcore.service. It comes with an emulated belt, so that everything can be tried
# without a camera: for real ones start from the file of your board in /usr/share/pitcore/boards.
#   pitcore config check /etc/pitcore/board.toml
#   sudo systemctl enable --now pitcore
# Every key is shown with its default, or commented out where there is none. An unknown key is refused.
END
sed -n '/^schema/,$p' <<<"$text"
