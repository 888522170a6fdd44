#!/bin/sh
# Two machines on one network without any server: an invite is announced and found by its number.
# Needs root (network namespaces); first argument: the built example `neighbours`.
set -eu
example=${1:?usage: lan.sh PATH/TO/examples/neighbours}
left=sedge-left-$$ right=sedge-right-$$ alone=sedge-alone-$$
cleanup() {
    if [ -n "$announcer" ]; then kill "$announcer" 2>/dev/null || true; fi
    ip netns del "$left" 2>/dev/null || true
    ip netns del "$right" 2>/dev/null || true
    ip netns del "$alone" 2>/dev/null || true
}
announcer=
trap cleanup EXIT
ip netns add "$left"
ip netns add "$right"
ip -n "$left" link add lan type veth peer name lan netns "$right"
for side in "$left:10.77.0.1" "$right:10.77.0.2"; do
    ip -n "${side%%:*}" addr add "${side##*:}/24" dev lan
    ip -n "${side%%:*}" link set lan up
    ip -n "${side%%:*}" link set lo up
    ip -n "${side%%:*}" route add default via 10.77.0.254 dev lan
done
ip netns exec "$left" "$example" announce 42 &
announcer=$!
ip netns exec "$right" "$example" find 42
wait "$announcer"
announcer=
if ip netns exec "$right" "$example" find 43 2>&1; then
    echo "an invite that nobody announced was found" >&2
    exit 1
fi
ip netns add "$alone"
ip netns exec "$alone" "$example" find 42 2>&1 | grep "no network that carries announcements"
echo "ok"
