#!/bin/sh
# What cargo calls for the workspace's own crates when `fuzz/run.sh` builds: rustc, with the coverage that libFuzzer
# reads. Crates of others are compiled without it, once, for these builds and for the tests.
rustc=$1
shift
name=
for it in "$@"; do
  [ "$name" = - ] && name=$it
  [ "$it" = --crate-name ] && name=-
done
case $name in
  '' | ___ | build_script_*) exec "$rustc" "$@" ;;
  sedge_fuzz) set -- "$@" -C "link-arg=$SEDGE_FUZZ_ENGINE/libfuzzer.a" -C link-arg=-lstdc++ ;;
esac
exec "$rustc" "$@" --cfg fuzzing -C debug-assertions=on -C overflow-checks=on \
  -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
  -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
  -C llvm-args=-sanitizer-coverage-trace-compares -C llvm-args=-simplifycfg-branch-fold-threshold=0
