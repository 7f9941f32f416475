#!/bin/sh
# Removes what install.sh put into the user's folders. Sessions, settings and experiments of one's own stay.
set -eu
data=${XDG_DATA_HOME:-$HOME/.local/share}
[ ! -L "$HOME/.local/bin/lemmascope" ] || rm -f "$HOME/.local/bin/lemmascope"
rm -rf "$data/lemmascope/program" "$data/lemmascope/program.new" "$data/lemmascope/program.old"
rm -f "$data/applications/lemmascope.desktop" "$data/mime/packages/lemmascope.xml" \
      "$data/icons/hicolor/scalable/apps/lemmascope.svg" "$data/lemmascope/uninstall.sh"
for tool in "update-mime-database $data/mime" "update-desktop-database $data/applications"; do
    if command -v ${tool%% *} >/dev/null 2>&1; then $tool || true; fi
done
rmdir "$data/lemmascope" 2>/dev/null || true
echo "removed; sessions and settings are where they were"
