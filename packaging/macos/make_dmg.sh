#!/bin/sh
# UNTESTED: written to the documentation of hdiutil and codesign, never run. It packs the application that
# `python3 packaging/bootstrap.py bundle` leaves in dist/Lemmascope.app on macOS.
#   sh packaging/macos/make_dmg.sh VERSION [SIGNING-IDENTITY]
set -eu
version=${1:?say the version}
identity=${2:--}   # "-" signs for this machine only; others then have to allow it by hand
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
app=$root/dist/Lemmascope.app
[ -d "$app" ] || { echo "make_dmg.sh: there is no $app; build it first" >&2; exit 1; }
codesign --force --deep --options runtime --sign "$identity" "$app"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp -R "$app" "$stage/"
ln -s /Applications "$stage/Applications"
hdiutil create -volname "Lemmascope $version" -srcfolder "$stage" -ov -format UDZO \
    "$root/dist/lemmascope-$version-macos-$(uname -m).dmg"
