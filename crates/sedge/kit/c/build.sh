#!/bin/sh
# Builds {{name}}.wasm. Needs clang with the target wasm32 and its linker, wasm-ld; reads CC.
set -eu
cd "$(dirname "$0")"
${CC:-clang} --target=wasm32 -O2 -nostdlib -Wall -Wextra -Wl,--no-entry -Wl,--strip-all -o {{name}}.wasm function.c
