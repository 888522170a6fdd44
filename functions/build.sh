#!/bin/sh
# Builds the guest components and writes functions/*.wasm and functions/SOURCES.sha256.
#
# Needs: a Rust toolchain for the host. The guests' own compilers are installed from the
# distribution (Debian) when they are missing and this runs as root; otherwise it says which.
# Everything it makes on the way stays in $SEDGE_GUEST_CACHE (default: ~/.cache/sedge/guests).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${SEDGE_GUEST_CACHE:-$HOME/.cache/sedge/guests}
target=wasm32-unknown-unknown
wasi=wasm32-wasip1
packages="rustc-web cargo-web rust-web-src rust-web-llvm lld-22 clang-19 lld-19 wasi-libc"
mkdir -p "$cache"

missing=
for package in $packages; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "missing packages:$missing" >&2
        echo "install them with: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    apt-get update
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $missing
fi

# The distribution has the compiler for Wasm but not the standard library: build it once for each target.
version=$(/usr/bin/rustc --version | tr ' ()' '___')
sysroot=$cache/sysroot-$version
libraries=$sysroot/lib/rustlib
for each in "$target" "$wasi"; do
    if [ -e "$libraries/$each/complete" ]; then
        continue
    fi
    rm -rf "${libraries:?}/$each" "$cache/std"
    mkdir -p "$cache/std/src" "$libraries/$each/lib/self-contained"
    : >"$cache/std/src/lib.rs"
    printf '%s\n' '[package]' 'name = "empty"' 'version = "0.1.0"' 'edition = "2024"' '[workspace]' \
        '[profile.release]' 'panic = "abort"' 'lto = true' >"$cache/std/Cargo.toml"
    (
        cd "$cache/std"
        PATH=/usr/bin:$PATH RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_DIR=$cache/std/target \
            /usr/bin/cargo build --release -Zbuild-std=std,panic_abort --target "$each"
    )
    for library in "$cache/std/target/$each/release/deps/"*.rlib; do
        case $library in
        */libempty-*) ;;
        *) cp "$library" "$libraries/$each/lib/" ;;
        esac
    done
    if [ "$each" = "$wasi" ]; then
        for file in crt1-command.o crt1-reactor.o libc.a; do
            cp "/usr/lib/wasm32-wasi/$file" "$libraries/$each/lib/self-contained/"
        done
    fi
    host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
    ln -sfn "/usr/lib/rustlib/$host" "$libraries/$host"
    printf '#!/bin/sh\nexec /usr/bin/rustc --sysroot %s "$@"\n' "$sysroot" >"$sysroot/rustc"
    chmod +x "$sysroot/rustc"
    rm -rf "$cache/rust/$each"
    : >"$libraries/$each/complete"
done

CARGO_TARGET_DIR=$cache/tools cargo build --locked --manifest-path "$here/tools/componentize/Cargo.toml"
componentize=$cache/tools/debug/componentize

# Rust guests carry their world with them.
PATH=/usr/bin:$PATH RUSTC=$sysroot/rustc CARGO_TARGET_DIR=$cache/rust \
    /usr/bin/cargo build --locked --release --manifest-path "$here/Cargo.toml" --target "$target" \
    --config "build.rustflags=['--remap-path-prefix=$here=functions','--remap-path-prefix=$HOME=home']"
for guest in environ fixed keep probe shape tick web; do
    "$componentize" "$cache/rust/$target/release/$guest.wasm" "$here/$guest.wasm"
done

# What others write for WASI with a standard library, as it is.
PATH=/usr/bin:$PATH RUSTC=$sysroot/rustc CARGO_TARGET_DIR=$cache/rust \
    /usr/bin/cargo build --locked --release --manifest-path "$here/spin/Cargo.toml" --target "$wasi" \
    --config "build.rustflags=['--remap-path-prefix=$here=functions','--remap-path-prefix=$HOME=home']"
"$componentize" "$cache/rust/$wasi/release/visits.wasm" "$here/visits.wasm"

# C guests get it here.
for guest in count stuck upper; do
    clang-19 --target=wasm32 -Oz -nostdlib -Wall -Wextra -Werror -Wl,--no-entry -Wl,--strip-all \
        -o "$cache/$guest.core.wasm" "$here/c/$guest.c"
    "$componentize" "$cache/$guest.core.wasm" "$here/$guest.wasm" \
        "$here/../crates/sedge-functions/wit" function
done

"$here/sources.sh"
cd "$here"
ls -l ./*.wasm
