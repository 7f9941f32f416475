#!/bin/sh
# Removes what install.sh put into the user's folders, and compiled steps. Sessions, settings and experiments of one's own stay.
set -eu
data=${XDG_DATA_HOME:-$HOME/.local/share}
[ ! -L "$HOME/.local/bin/lemmascope" ] || rm -f "$HOME/.local/bin/lemmascope"
rm -rf "$data/lemmascope/program" "$data/lemmascope/program.new" "$data/lemmascope/program.old"
rm -f "$data/applications/lemmascope.desktop" "$data/mime/packages/lemmascope.xml" \
      "$data/icons/hicolor/scalable/apps/lemmascope.svg" "$data/lemmascope/uninstall.sh"
rm -rf "${XDG_CACHE_HOME:-$HOME/.cache}/lemmascope"
if command -v update-mime-database >/dev/null 2>&1; then update-mime-database "$data/mime" || true; fi
if command -v update-desktop-database >/dev/null 2>&1; then update-desktop-database "$data/applications" || true; fi
# What the two made of our entries alone, and folders that are empty now.
if rmdir "$data/mime/packages" 2>/dev/null; then
    (cd "$data/mime" && rm -f aliases generic-icons globs globs2 icons magic mime.cache subclasses treemagic types version XMLnamespaces)
fi
if [ "$(ls -A "$data/applications" 2>/dev/null)" = mimeinfo.cache ]; then rm -f "$data/applications/mimeinfo.cache"; fi
for folder in "$data/lemmascope" "$data/mime/application" "$data/mime" "$data/applications" "$data/icons/hicolor/scalable/apps" \
    "$data/icons/hicolor/scalable" "$data/icons/hicolor" "$data/icons" "$HOME/.local/bin"; do
    rmdir "$folder" 2>/dev/null || true
done
echo "removed; sessions and settings are where they were"
