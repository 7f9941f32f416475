#!/bin/sh
# Installs Lemmascope for the user who runs it: program, menu entry, icon, file type. Nothing outside the home folder.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
data=${XDG_DATA_HOME:-$HOME/.local/share}
program=$data/lemmascope/program
bin=$HOME/.local/bin
if [ ! -x "$here/lemmascope/lemmascope" ]; then
    echo "install.sh: there is no folder 'lemmascope' beside it; unpack the whole archive" >&2
    exit 1
fi
mkdir -p "$data/lemmascope" "$data/applications" "$data/mime/packages" "$data/icons/hicolor/scalable/apps" "$bin"
rm -rf "$program.new"
cp -R "$here/lemmascope" "$program.new"
rm -rf "$program.old"
[ ! -e "$program" ] || mv "$program" "$program.old"
mv "$program.new" "$program"
rm -rf "$program.old"
ln -sf "$program/lemmascope" "$bin/lemmascope"
sed "s|^Exec=lemmascope|Exec=\"$program/lemmascope\"|" "$here/share/lemmascope.desktop" > "$data/applications/lemmascope.desktop"
cp "$here/share/lemmascope.xml" "$data/mime/packages/lemmascope.xml"
cp "$here/share/lemmascope.svg" "$data/icons/hicolor/scalable/apps/lemmascope.svg"
cp "$here/uninstall.sh" "$data/lemmascope/uninstall.sh"
if command -v update-mime-database >/dev/null 2>&1; then update-mime-database "$data/mime" || true; fi
if command -v update-desktop-database >/dev/null 2>&1; then update-desktop-database "$data/applications" || true; fi
echo "installed in $program; start it from the menu or with $bin/lemmascope"
echo "remove it with: sh \"$data/lemmascope/uninstall.sh\""
