#!/usr/bin/env bash
# Sets up the DataStorage service on kind in ways that take turns in one
# session, on the same images and the same compiled service: by reference.sh; by
# recipe with a cluster of its own and no database of an earlier run; by recipe in
# a cluster that it keeps; and by `recipe run --reuse` in an environment that is
# up, once with nothing changed and once with a line of the service changed, which
# is compiled before.
#
#   benches/kind/run.sh [ROUNDS]
#
# Run it after `. "$(tests/kind/machine env)"`, or by `make bench-kind`.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
target=${CARGO_TARGET_DIR:-target}
recipe=$target/release/recipe
service=$PWD/$target/release/examples/datastorage
case $target in /*) service=$target/release/examples/datastorage ;; esac

cargo build --quiet --release --bin recipe --example datastorage
work=$(mktemp -d)
export RECIPE_STATE_DIR=$work/state
changed=examples/datastorage/main.rs
cp "$changed" "$work/before.rs"
restore() { cp "$work/before.rs" "$changed"; }
trap 'restore; "$recipe" down --all 2> /dev/null || true; kind delete cluster --quiet --name datastorage-e2e || true; rm -rf "$work"' EXIT

# Prints a field of the JSON summary of a run.
field() { python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))[sys.argv[2]]))' "$1" "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ours() {
    "$recipe" run recipes/datastorage.rhai --quiet --target kind --output json \
        --set postgres_image="$RECIPE_TEST_POSTGRES_IMAGE" --set redis_image="$RECIPE_TEST_REDIS_IMAGE" \
        --set base="$RECIPE_TEST_BASE_IMAGE" "$@" > "$work/summary.json"
}

# The first makes the cluster that the others find.
ours --rm --set reuse=true
for round in $(seq "$rounds"); do
    mkdir "$work/$round"
    benches/kind/reference.sh "reference-$round" "$work/$round" "$service" | tee -a "$work/reference" | sed "s/^/reference $round: /"
    ours --rm --no-cache=postgres
    field "$work/summary.json" wall_ms | tee -a "$work/cold" | sed "s/^/cold      $round: /"
    field "$work/summary.json" critical_path_ms >> "$work/path"
    ours --rm --set reuse=true
    field "$work/summary.json" wall_ms | tee -a "$work/reused" | sed "s/^/reused    $round: /"
    ours --reuse
    ours --reuse
    field "$work/summary.json" wall_ms | tee -a "$work/unchanged" | sed "s/^/unchanged $round: /"
    sed -i "s/info!(\"stopping\")/info!(\"stopping, round $round\")/" "$changed"
    cargo build --quiet --release --example datastorage
    ours --reuse
    field "$work/summary.json" wall_ms | tee -a "$work/changed" | sed "s/^/one line  $round: /"
    restore
    "$recipe" down --all 2> /dev/null
    cargo build --quiet --release --example datastorage
done

reference=$(median < "$work/reference") cold=$(median < "$work/cold") path=$(median < "$work/path") reused=$(median < "$work/reused")
unchanged=$(median < "$work/unchanged") line=$(median < "$work/changed")
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
cat <<TEXT
medians of $rounds, ms
  reference              $reference
  recipe, own cluster    $cold   $(ratio "$cold" "$reference") of the reference (goal 0.70), $(ratio "$cold" "$path") of its critical path (goal 1.05)
  recipe, kept cluster   $reused   $(ratio "$reused" "$reference") of the reference (goal 0.20)
  --reuse, nothing new   $unchanged   $(ratio "$unchanged" "$cold") of its own cluster's (goal 2000 ms)
  --reuse, one line      $line   $(ratio "$line" "$cold") of its own cluster's (goal 0.20)
TEXT
