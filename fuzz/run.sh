#!/usr/bin/env bash
# Builds the fuzz targets on the pinned toolchain and runs each for a bounded time.
#
#   fuzz/run.sh                     every target
#   fuzz/run.sh NAME...             only these
#   fuzz/run.sh --replay NAME FILE  feeds one input and shows what becomes of it
#   fuzz/run.sh --keep NAME...      puts the dozen inputs that cover most of what was learnt into fuzz/corpus
#
# Needs the Rust toolchain and a C++ compiler. Reads:
#   CARGO_TARGET_DIR      where build output, findings and what was learnt go (default: target/)
#   SEDGE_FUZZ_SECONDS    how long each target runs (default: 4)
#   SEDGE_FUZZ_SEED       what the inputs are drawn from (default: 1, so that a failure comes with a change; 0: the time)
#   SEDGE_FUZZ_JOBS       how many targets run at the same time (default: one for each processor)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
seconds=${SEDGE_FUZZ_SECONDS:-4}
seed=${SEDGE_FUZZ_SEED:-1}
jobs=${SEDGE_FUZZ_JOBS:-$(nproc)}
home=$target/fuzz
KEPT=12
export CARGO_TARGET_DIR=$target

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

# libFuzzer itself; cargo says where it put the archive.
build_engine() {
  local said
  said=$(CARGO_TARGET_DIR=$home/engine cargo build --locked --manifest-path fuzz/engine/Cargo.toml \
    --message-format=json-render-diagnostics)
  SEDGE_FUZZ_ENGINE=$(sed -n 's/.*libfuzzer-sys.*"linked_paths":\["native=\([^"]*\)".*/\1/p' <<<"$said")
  [ -f "$SEDGE_FUZZ_ENGINE/libfuzzer.a" ] || fail 'libFuzzer was not built'
  export SEDGE_FUZZ_ENGINE
}

# As `cargo test --workspace` builds, so that crates of others are compiled once for both; the wrapper gives ours
# their coverage. Its name holds what it says, since cargo looks at the name alone.
build() {
  local wrapper said
  mkdir -p "$home"
  wrapper=$home/rustc-$(cksum <fuzz/rustc.sh | cut -d' ' -f1)
  cp fuzz/rustc.sh "$wrapper"
  said=$(CARGO_INCREMENTAL=0 RUSTC_WORKSPACE_WRAPPER=$wrapper cargo test --locked --workspace --no-run \
    --bin sedge-fuzz --message-format=json-render-diagnostics)
  program=$(sed -n 's/.*"name":"sedge-fuzz".*"executable":"\([^"]*\)".*/\1/p' <<<"$said")
  [ -x "$program" ] || fail 'the fuzz targets were not built'
}

# Runs one target; prints a line, and everything when it failed.
run() { # target
  local name=$1 log=$home/log/$1 learnt=$home/learnt/$1 found=$home/found/$1
  local from=("fuzz/corpus/$name") bounds=("-seed=$seed" -max_len=65536 -timeout=25 -rss_limit_mb=1024)
  [ -d "fuzz/regressions/$name" ] && from+=("fuzz/regressions/$name")
  mkdir -p "$home/log" "$learnt" "$found"
  # What was learnt is a help, not a truth: too much of it only takes time to read.
  [ "$(find "$learnt" -type f | wc -l)" -gt 4000 ] && find "$learnt" -type f -delete
  if "$program" "--target=$name" "-max_total_time=$seconds" "${bounds[@]}" -print_final_stats=1 \
    "-artifact_prefix=$found/" "$learnt" "${from[@]}" >"$log" 2>&1; then
    printf '   ok      %-22s %9s inputs, %6s of them new, coverage %s\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
      "$(sed -n 's/^stat::new_units_added: *//p' "$log")" "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1)"
    return
  fi
  local input
  input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
  {
    printf '   FAILED  %s\n' "$name"
    tail -n 60 "$log"
    printf '\n   the input: %s\n' "${input:-none was written; the log is $log}"
    printf '   again:     fuzz/run.sh --replay %s %s\n' "$name" "$input"
    printf '   kept:      cp it to fuzz/regressions/%s/ with a name, once it is understood\n' "$name"
  } >&2
  return 1
}

every() {
  "$program" --list
}

# What the tests wrote stays; of the rest as many as KEPT, those first that cover most.
keep() { # target
  local name=$1 fewest
  fewest=$(mktemp -d)
  mkdir -p "$home/learnt/$name" "$home/log"
  cp "fuzz/corpus/$name"/*.* "$fewest"
  "$program" "--target=$name" -set_cover_merge=1 -max_len=1024 "$fewest" "fuzz/corpus/$name" "$home/learnt/$name" \
    >"$home/log/$name" 2>&1
  find "fuzz/corpus/$name" -type f ! -name '*.*' -delete
  # The merge writes them in that order.
  find "$fewest" -type f ! -name '*.*' -printf '%T@ %p\n' | sort -n | sed -n "1,${KEPT}s/^[^ ]* //p" |
    xargs -r cp -t "fuzz/corpus/$name"
  rm -r "$fewest"
  printf '   %-22s %s inputs, %s bytes\n' "$name" "$(find "fuzz/corpus/$name" -type f | wc -l)" \
    "$(cat "fuzz/corpus/$name"/* | wc -c)"
}

build_engine
build
export -f run
export program home seconds seed
case ${1:-} in
  --replay) exec "$program" "--target=$2" -timeout=25 -rss_limit_mb=1024 "$3" ;;
  --keep)
    shift
    for name in "$@"; do keep "$name"; done
    ;;
  *)
    if [ $# -gt 0 ]; then printf '%s\n' "$@"; else every; fi |
      xargs -n 1 -P "$jobs" bash -c 'set -euo pipefail; run "$1"' run || fail 'a target found something, see above'
    ;;
esac
