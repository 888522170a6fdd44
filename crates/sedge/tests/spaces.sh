# Machines as network namespaces, for the scripts beside this one: they source it after they have set `sedge`, the
# program, `nodes`, the machines that run one, and `space`, the namespace of each machine.
folder=$(mktemp -d)

cleanup() {
  local it
  for it in "${nodes[@]}"; do
    if [ -n "$(pid "$it")" ]; then kill -9 "$(pid "$it")" 2>/dev/null || true; fi
  done
  for it in "${!space[@]}"; do ip netns del "${space[$it]}" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap cleanup EXIT

die() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

pid() { sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$folder/$1/run/node.json" 2>/dev/null || true; }

# Each has a cache of its own: nodes of one machine and user would meet there without any network.
on() { # node, command...
  local node=$1
  shift
  ip netns exec "${space[$node]}" env -i PATH="$PATH" HOME="$folder" SEDGE_HOME="$folder/$node" \
    SEDGE_CACHE="$folder/cache-$node" "$@"
}

start() {
  mkdir -m 700 -p "$folder/$1"
  on "$1" "$sedge" up --detach --no-model --name "$1" >"$folder/$1.log" 2>&1 || die "$(cat "$folder/$1.log")"
}

get() { python3 -c 'import json, sys; print(eval(sys.argv[1], {"it": json.load(sys.stdin)}))' "$1"; }

until_true() { # what, command...
  local what=$1 tries=0
  shift
  until "$@"; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || die "never came true: $what"
  done
}
