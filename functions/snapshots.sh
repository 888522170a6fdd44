#!/bin/sh
# Builds the snapshots of interpreters that `sedge exec` runs code in.
#
#   snapshots.sh             what is missing or older than its source: Python into $SEDGE_GUEST_CACHE
#                            (default: ~/.cache/sedge/guests), where `sedge up` looks for it
#   snapshots.sh javascript  functions/javascript.wasm, which is part of the program, from its source
#
# Needs python3 with pip for Python, and npm for JavaScript; both fetch a compiler of the version named
# below from their registry, so behind a mirror they have to know it. Safe to run again and again.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${SEDGE_GUEST_CACHE:-$HOME/.cache/sedge/guests}
wit=$here/../crates/sedge-functions/wit
mkdir -p "$cache"

python() {
    made_of=$(cat "$here/snapshots/python/run.py" "$wit"/*.wit "$here/snapshots.sh" | sha256sum | cut -c1-64)
    if [ -e "$cache/python.wasm" ] && [ "$(cat "$cache/python.made-of" 2>/dev/null)" = "$made_of" ]; then
        return
    fi
    tools=$cache/componentize-py-0.25.1
    if [ ! -e "$tools/complete" ]; then
        python3 -m pip --version >/dev/null 2>&1 || {
            echo "python3 has no pip (Debian and Ubuntu: apt-get install python3-pip)" >&2
            exit 1
        }
        rm -rf "$tools"
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check \
            --target "$tools" componentize-py==0.25.1
        : >"$tools/complete"
    fi
    # From a copy: the interpreter that is snapshot leaves compiled files beside what it reads.
    rm -rf "$cache/python"
    cp -r "$here/snapshots/python" "$cache/python"
    PYTHONPATH=$tools python3 "$tools/bin/componentize-py" -d "$wit" -w function componentize \
        -p "$cache/python" run --stub-wasi -o "$cache/python.new"
    mv "$cache/python.new" "$cache/python.wasm"
    printf '%s\n' "$made_of" >"$cache/python.made-of"
}

javascript() {
    tools=$cache/jco-1.35.0
    if [ ! -e "$tools/complete" ]; then
        rm -rf "$tools"
        mkdir -p "$tools"
        (cd "$tools" && npm install --no-fund --no-audit --silent \
            @bytecodealliance/jco@1.35.0 @bytecodealliance/componentize-js@0.23.0 componentize-qjs@0.4.5)
        : >"$tools/complete"
    fi
    (cd "$tools" && npx jco componentize "$here/snapshots/javascript/run.js" --wit "$wit" -n function \
        --backend qjs --backend-qjs-disable-async --backend-qjs-stub-wasi -o "$here/javascript.wasm")
    "$here/sources.sh"
}

case ${1:-} in
'') python ;;
javascript) javascript ;;
*)
    echo "unknown snapshot: $1" >&2
    exit 2
    ;;
esac
