#!/bin/sh
# Writes functions/SOURCES.sha256: what a test compares, so that a committed component cannot be
# older than its source.
set -eu
cd "$(dirname "$0")"
find . ../crates/sedge-functions/wit -type f \( -name '*.rs' -o -name '*.c' -o -name '*.wit' -o -name '*.js' \
    -o -name '*.py' -o -name 'Cargo.*' -o -name '*.wasm' -o -name build.sh -o -name snapshots.sh -o -name toolchains.sh \) \
    ! -path '*/target/*' ! -path '*/__pycache__/*' |
    LC_ALL=C sort | xargs sha256sum >SOURCES.sha256
