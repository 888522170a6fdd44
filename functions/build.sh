#!/bin/sh
# Builds the guest components and writes functions/*.wasm and functions/SOURCES.sha256.
#
# Needs: a Rust toolchain for the host. The guests' own compilers are those of toolchains.sh.
# Everything it makes on the way stays in $SEDGE_GUEST_CACHE (default: ~/.cache/sedge/guests).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${SEDGE_GUEST_CACHE:-$HOME/.cache/sedge/guests}
target=wasm32-unknown-unknown
wasi=wasm32-wasip1
SEDGE_GUEST_CACHE=$cache "$here/toolchains.sh" "$wasi"

CARGO_TARGET_DIR=$cache/tools cargo build --locked --manifest-path "$here/tools/componentize/Cargo.toml"
componentize=$cache/tools/debug/componentize

# Rust guests carry their world with them.
PATH=$cache/bin:/usr/bin:$PATH CARGO_TARGET_DIR=$cache/rust \
    cargo build --locked --release --manifest-path "$here/Cargo.toml" --target "$target" \
    --config "build.rustflags=['--remap-path-prefix=$here=functions','--remap-path-prefix=$HOME=home']"
for guest in agent component dial environ fixed hear keep probe shape tick web; do
    "$componentize" "$cache/rust/$target/release/$guest.wasm" "$here/$guest.wasm"
done

# What others write for WASI with a standard library, as it is.
PATH=$cache/bin:/usr/bin:$PATH CARGO_TARGET_DIR=$cache/rust \
    cargo build --locked --release --manifest-path "$here/spin/Cargo.toml" --target "$wasi" \
    --config "build.rustflags=['--remap-path-prefix=$here=functions','--remap-path-prefix=$HOME=home']"
"$componentize" "$cache/rust/$wasi/release/visits.wasm" "$here/visits.wasm"

# C guests get it here.
for guest in count stuck upper; do
    "$cache/bin/clang" --target=wasm32 -Oz -nostdlib -Wall -Wextra -Werror -Wl,--no-entry -Wl,--strip-all \
        -o "$cache/$guest.core.wasm" "$here/c/$guest.c"
    "$componentize" "$cache/$guest.core.wasm" "$here/$guest.wasm" \
        "$here/../crates/sedge-functions/wit" function
done

"$here/sources.sh"
cd "$here"
ls -l ./*.wasm
