#!/bin/sh
# Brings compilers for guests in Rust and C, and puts them as rustc, cargo and clang into $SEDGE_GUEST_CACHE/bin
# (default: ~/.cache/sedge/guests/bin). Safe to run again and again.
#
# Targets that are named beside wasm32-unknown-unknown come with it: `toolchains.sh wasm32-wasip1`.
#
# They come from the distribution (Debian): installed when they are missing and this runs as root; otherwise it says
# which. On another system the same three programs with the target wasm32-unknown-unknown will do.
set -eu

cache=${SEDGE_GUEST_CACHE:-$HOME/.cache/sedge/guests}
target=wasm32-unknown-unknown
packages="rustc-web cargo-web rust-web-src rust-web-llvm lld-22 clang-19 lld-19"
case " $* " in *" wasm32-wasip1 "*) packages="$packages wasi-libc" ;; esac
mkdir -p "$cache"

command -v dpkg >/dev/null 2>&1 || {
    folder=$("$cache/bin/rustc" --print target-libdir --target "$target" 2>/dev/null) && [ -d "$folder" ] &&
        "$cache/bin/clang" --print-targets 2>/dev/null | grep -q wasm32 && exit 0
    echo "put rustc, cargo and clang, with the targets $target and wasm32, into $cache/bin" >&2
    exit 1
}

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
for each in "$target" "$@"; do
    [ ! -e "$libraries/$each/complete" ] || continue
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
    if [ "$each" = wasm32-wasip1 ]; then
        for file in crt1-command.o crt1-reactor.o libc.a; do
            cp "/usr/lib/wasm32-wasi/$file" "$libraries/$each/lib/self-contained/"
        done
    fi
    host=$(/usr/bin/rustc -vV | sed -n 's/^host: //p')
    ln -sfn "/usr/lib/rustlib/$host" "$libraries/$host"
    rm -rf "$cache/rust/$each"
    : >"$libraries/$each/complete"
done

mkdir -p "$cache/bin"
shim() { # name, what it runs
    printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"$cache/bin/$1.new"
    chmod +x "$cache/bin/$1.new"
    mv "$cache/bin/$1.new" "$cache/bin/$1"
}
shim rustc "/usr/bin/rustc --sysroot $sysroot"
shim cargo /usr/bin/cargo
shim clang clang-19
