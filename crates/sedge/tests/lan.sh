#!/usr/bin/env bash
# Two machines on one network, each a network namespace: nothing listens before pairing, a code is enough to join, the
# loss of a machine or of its cable is an error within a second, and a mended cable is found again.
# Needs root (network namespaces), iproute2 and python3; first argument: the built program.
set -euo pipefail
sedge=$(realpath "${1:?usage: lan.sh PATH/TO/sedge}")
functions=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../../functions")
nodes=(left right)
declare -A space=([left]=sedge-left-$$ [right]=sedge-right-$$)

# shellcheck source=spaces.sh
. "$(dirname "${BASH_SOURCE[0]}")/spaces.sh"

open_to_others() { on "$1" ss -Hlntu | awk '{print $5}' | grep -v -e '^127\.' -e '^\[::1\]' || true; }
online() { [ "$(on "$1" "$sedge" nodes --json | get 'sum(n["status"] == "online" for n in it)')" = 2 ]; }
busy() { [ "$(on "$1" "$sedge" status --json | get 'it["running"]')" = 1 ]; }

for side in left right; do ip netns add "${space[$side]}"; done
ip -n "${space[left]}" link add lan type veth peer name lan netns "${space[right]}"
number=1
for side in left right; do
  ip -n "${space[$side]}" addr add "10.78.0.$number/24" dev lan
  ip -n "${space[$side]}" link set lan up
  ip -n "${space[$side]}" link set lo up
  ip -n "${space[$side]}" route add default via 10.78.0.254 dev lan
  number=$((number + 1))
done

for side in left right; do
  start "$side"
  [ -z "$(open_to_others "$side")" ] || die "before pairing, $side listens on $(open_to_others "$side")"
done
echo "before pairing, nobody listens beyond loopback"

# From the invitation until both list each other, by the code alone (row 246): the best of three, since load only adds.
join_by_code() {
  local best=99000000 round began code took side
  for round in 1 2 3; do
    began=${EPOCHREALTIME/./}
    code=$(on left "$sedge" invite --no-wait --json | get 'it["code"]')
    on right "$sedge" join "$code" >/dev/null
    for side in left right; do until_true "$side lists both" online "$side"; done
    took=$((${EPOCHREALTIME/./} - began))
    [ $took -ge $best ] || best=$took
    [ $best -gt 3000000 ] || break
    [ "$round" = 3 ] || on left "$sedge" revoke right >/dev/null
  done
  echo "joined with the code alone: both listed after $((best / 1000)) ms"
  [ $best -le 3000000 ] || die "both are listed only after $((best / 1000)) ms"
}
join_by_code
[ -n "$(open_to_others left)" ] || die 'left does not listen although it is paired'

on left "$sedge" deploy "$functions/upper.wasm" --id upper --to all >/dev/null
on left "$sedge" deploy "$functions/probe.wasm" --id probe --to right >/dev/null
[ "$(on left "$sedge" call upper --on right --input over --json | get 'it["output"]')" = OVER ] || die 'no answer'

# How long a call hangs after its node is lost: the best of several, since load only adds.
lose() { # how, command that loses the right node, command that brings it back
  local best=99000000 round cut ended failed
  for round in 1 2 3; do
    on left "$sedge" call probe --on right --input loop --time 60s >/dev/null 2>"$folder/call.log" &
    local call=$!
    until_true "the call runs" busy left
    cut=${EPOCHREALTIME/./}
    $2
    failed=0
    wait $call || failed=$?
    ended=${EPOCHREALTIME/./}
    [ $failed = 10 ] || die "a call to a lost node ended with $failed: $(cat "$folder/call.log")"
    [ $((ended - cut)) -ge $best ] || best=$((ended - cut))
    $3
    until_true 'both are online again' online left
    [ $best -gt 1000000 ] || break
  done
  echo "$1: an error after $((best / 1000)) ms"
  [ $best -le 1000000 ] || die "$1: an error only after $((best / 1000)) ms"
}
cut_cable() { ip -n "${space[right]}" link set lan down; }
mend_cable() {
  ip -n "${space[right]}" link set lan up
  for side in left right; do
    ip -n "${space[$side]}" route replace default via 10.78.0.254 dev lan
  done
}
kill_right() { kill -9 "$(pid right)"; }
start_right() { start right; }
lose 'killed with -9' kill_right start_right
lose 'cable cut' cut_cable mend_cable
[ "$(on left "$sedge" call upper --on right --input again --json | get 'it["output"]')" = AGAIN ] || die 'no answer'
echo ok
