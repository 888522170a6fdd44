#!/usr/bin/env bash
# Machines on different networks, each a network namespace: `middle` has a public address and runs a relay, `left` is
# behind a router that translates addresses, `right` is elsewhere. Every way to join is blocked in turn; three machines
# form a swarm, survive a partition and a `kill -9`, and lose nothing that was acknowledged.
# Needs root (network namespaces), iproute2, iptables and python3; first argument: the built program.
set -euo pipefail
sedge=$(realpath "${1:?usage: nat.sh PATH/TO/sedge}")
functions=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../../functions")
nodes=(middle left right guest)
declare -A space
for it in hub router "${nodes[@]}"; do space[$it]=sedge-$it-$$; done

# shellcheck source=spaces.sh
. "$(dirname "${BASH_SOURCE[0]}")/spaces.sh"

online() { [ "$(on "$1" "$sedge" nodes --status online --json | get 'len(it)')" = "$2" ]; }
path() { on "$1" "$sedge" node show "$2" --json | get 'it["path"]'; }
is_path() { [ "$(path "$1" "$2")" = "$3" ]; }
offers() { on "$1" "$sedge" capabilities --json | get "any(o['name'] == '$2' and o['node_name'] == '$3' for o in it)"; }
offered() { [ "$(offers "$@")" = True ]; }
call() { on "$1" "$sedge" call "$2" --on "$3" --input text --json | get 'it["output"]'; }
answers() { [ "$(call "$@" 2>/dev/null)" = TEXT ]; }

wire() { # one end's space, its device, the other end's space, its device
  ip -n "$1" link add "$2" type veth peer name "$4" netns "$3"
  ip -n "$1" link set "$2" up
  ip -n "$3" link set "$4" up
}
address() { ip -n "${space[$1]}" addr add "$3" dev "$2"; }
gateway() { ip -n "${space[$1]}" route add default via "$2"; }

build() {
  local it
  for it in "${!space[@]}"; do
    ip netns add "${space[$it]}"
    ip -n "${space[$it]}" link set lo up
  done
  # Where routers meet; middle and guest are on one segment.
  ip -n "${space[hub]}" link add segment type bridge
  ip -n "${space[hub]}" link set segment up
  for it in middle guest; do
    wire "${space[hub]}" "$it" "${space[$it]}" lan
    ip -n "${space[hub]}" link set "$it" master segment
  done
  address hub segment 10.79.1.1/24
  address middle lan 10.79.1.2/24
  address guest lan 10.79.1.3/24
  wire "${space[hub]}" home "${space[router]}" wan
  address hub home 10.79.2.1/24
  address router wan 10.79.2.2/24
  wire "${space[hub]}" right "${space[right]}" lan
  address hub right 10.79.3.1/24
  address right lan 10.79.3.2/24
  wire "${space[router]}" inside "${space[left]}" lan
  address router inside 192.168.7.1/24
  address left lan 192.168.7.2/24
  gateway middle 10.79.1.1
  gateway guest 10.79.1.1
  gateway right 10.79.3.1
  gateway router 10.79.2.1
  gateway left 192.168.7.1
  for it in hub router; do ip netns exec "${space[$it]}" sysctl -qw net.ipv4.ip_forward=1; done
  # An ordinary home router: translates what goes out, drops what comes unasked.
  ip netns exec "${space[router]}" iptables -t nat -A POSTROUTING -o wan -j MASQUERADE
  ip netns exec "${space[router]}" iptables -A FORWARD -i wan -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
  ip netns exec "${space[router]}" iptables -A FORWARD -i wan -j DROP
  ip netns exec "${space[router]}" iptables -A INPUT -i wan -m conntrack ! --ctstate ESTABLISHED,RELATED -j DROP
}

block() { # node, protocol, port
  ip netns exec "${space[$1]}" iptables -A OUTPUT -p "$2" --dport "$3" -j DROP
}
unblock() { ip netns exec "${space[$1]}" iptables -F OUTPUT; }

invited() { # what to read of the invitation
  on middle "$sedge" invite --no-wait --json >"$folder/invitation"
  code=$(get 'it["code"]' <"$folder/invitation")
  at=$(get 'it["addresses"][0]' <"$folder/invitation")
  through=$(get 'it["relays"][0]' <"$folder/invitation")
}
join_all_ways() { on "$1" "$sedge" join "$code" --at "$at" --relay "$through" --json; }

row_247_each_way_to_join_is_blocked_in_turn() {
  local by mesh=7377 relay=7379 failed=0
  # Multicast does not leave a segment: right cannot hear middle. Everything else is blocked by port.
  invited
  block right tcp $relay
  by=$(join_all_ways right | get 'it["way"]')
  [ "$by" = address ] || die "right joined by $by"
  echo "without a common network and a relay: by address"
  unblock right

  invited
  block left tcp $mesh
  block left udp $mesh
  by=$(join_all_ways left | get 'it["way"]')
  [ "$by" = relay ] || die "left joined by $by"
  echo "without a common network and an address: by relay"
  unblock left

  invited
  # The announcement carries whatever port: only the relay and the code's door are closed here.
  block guest tcp $mesh
  block guest tcp $relay
  by=$(join_all_ways guest | get 'it["way"]')
  [ "$by" = lan ] || die "guest joined by $by"
  echo "without an address and a relay: by the common network"
  unblock guest

  on middle "$sedge" revoke guest >/dev/null
  invited
  ip netns exec "${space[guest]}" iptables -A OUTPUT -o lan -j DROP
  join_all_ways guest >"$folder/failed" 2>/dev/null || failed=$?
  [ $failed != 0 ] || die 'guest joined through no way at all'
  ip netns exec "${space[guest]}" iptables -F OUTPUT
  on guest "$sedge" down >/dev/null
  local way
  for way in lan address relay; do
    tail -n 1 "$folder/failed" | get "[w for w in it['error']['ways'] if w['way'] == '$way' and w['reason'] and w['next_step']][0]['reason']" \
      >"$folder/reason" || die "no reason for $way in $(cat "$folder/failed")"
    echo "all blocked, $way: $(cat "$folder/reason")"
  done
}

build
for it in "${nodes[@]}"; do start "$it"; done
on middle "$sedge" relay on --at 10.79.1.2 >/dev/null
row_247_each_way_to_join_is_blocked_in_turn

for it in middle left right; do until_true "$it lists three" online "$it" 3; done
on middle "$sedge" deploy "$functions/upper.wasm" --id upper --to all >/dev/null
for it in left right; do until_true "left knows upper on $it" offered left upper "$it"; done
[ "$(call left upper right)" = TEXT ] || die 'left cannot call right'
[ "$(call right upper left)" = TEXT ] || die 'right cannot call left behind its router'
echo "left and right talk: left goes $(path left right), right goes $(path right left)"

# A network that lets only the web out: everything goes through the relay, encrypted.
ip netns exec "${space[left]}" iptables -A OUTPUT -p udp -j DROP
until_true 'left reaches right through the relay' answers left upper right
until_true 'it says so' is_path left right relayed
echo "without UDP: left goes $(path left right)"
why() { on left "$sedge" why last --json | get 'it["words"]'; }
# The last call may have been decided before the way had changed.
[ "$(call left upper right)" = TEXT ] || die 'left cannot call right without UDP'
[[ "$(why)" = *'path relayed'* ]] || die "the path is not told: $(why)"

# What is much does not go through a relay; when there is a direct path again, it does.
head -c 3000000 /dev/urandom >"$folder/large"
large=$(on right "$sedge" artifact put "$folder/large" --json | get 'it["id"]')
refused=$(on left "$sedge" artifact get "$large" --json 2>/dev/null | tail -n 1 | get 'it["error"]["code"]') || true
[ "$refused" = bulk_over_relay ] || die "much went through the relay: $refused"
echo "3 MB through the relay: $refused"
ip netns exec "${space[left]}" iptables -F OUTPUT
fetched() { on left "$sedge" artifact get "$large" --json >/dev/null 2>&1; }
until_true 'a direct path carries it' fetched
echo "3 MB once UDP is back: left goes $(path left right)"

# A partition: each side goes on alone, what was acknowledged is there when it heals.
ip -n "${space[right]}" link set lan down
until_true 'left misses right' online left 2
on left "$sedge" deploy "$functions/upper.wasm" --id later >/dev/null
on right "$sedge" deploy "$functions/upper.wasm" --id alone >/dev/null
answers left upper middle || die 'left and middle do not go on'
receipt=$(on left "$sedge" call upper --on middle --input kept --json | get 'it["receipt"]')
ip -n "${space[right]}" link set lan up
gateway right 10.79.3.1
for it in middle left right; do until_true "$it lists three again" online "$it" 3; done
until_true 'right knows what left deployed meanwhile' offered right later left
until_true 'left knows what right deployed meanwhile' offered left alone right
echo "partition healed"

kill -9 "$(pid middle)"
until_true 'left misses middle' online left 2
answers left upper right || until_true 'left finds another way to right' answers left upper right
start middle
for it in middle left right; do until_true "$it lists three after the crash" online "$it" 3; done
[ "$(call right upper middle)" = TEXT ] || die 'middle forgot what was deployed'
on left "$sedge" receipt show "$receipt" >/dev/null || die 'left lost a receipt'
on middle "$sedge" receipt show "$receipt" >/dev/null || die 'middle lost a receipt'
for it in middle left right; do
  on "$it" "$sedge" receipt export chain --json >"$folder/chain-$it.json" 2>"$folder/chain.log" || die "$(cat "$folder/chain.log")"
done
echo "killed with -9 and back: nothing acknowledged is lost"
echo ok
