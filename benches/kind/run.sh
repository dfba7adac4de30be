#!/usr/bin/env bash
# Sets up the DataStorage service on kind in three ways that take turns in one
# session, on the same images and the same compiled service: by reference.sh,
# by recipe with a cluster of its own, and by recipe in a cluster that it keeps.
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
trap 'kind delete cluster --quiet --name datastorage-e2e || true; rm -rf "$work"' EXIT

# Prints a field of the JSON summary of a run.
field() { python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))[sys.argv[2]]))' "$1" "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ours() {
    "$recipe" run recipes/datastorage.rhai --quiet --rm --target kind --output json \
        --set postgres_image="$RECIPE_TEST_POSTGRES_IMAGE" --set redis_image="$RECIPE_TEST_REDIS_IMAGE" \
        --set base="$RECIPE_TEST_BASE_IMAGE" "$@" > "$work/summary.json"
}

# The first makes the cluster that the others find.
ours --set reuse=true
for round in $(seq "$rounds"); do
    mkdir "$work/$round"
    benches/kind/reference.sh "reference-$round" "$work/$round" "$service" | tee -a "$work/reference" | sed "s/^/reference $round: /"
    ours
    field "$work/summary.json" wall_ms | tee -a "$work/cold" | sed "s/^/cold      $round: /"
    field "$work/summary.json" critical_path_ms >> "$work/path"
    ours --set reuse=true
    field "$work/summary.json" wall_ms | tee -a "$work/reused" | sed "s/^/reused    $round: /"
done

reference=$(median < "$work/reference") cold=$(median < "$work/cold") path=$(median < "$work/path") reused=$(median < "$work/reused")
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
cat <<TEXT
medians of $rounds, ms
  reference              $reference
  recipe, own cluster    $cold   $(ratio "$cold" "$reference") of the reference (goal 0.70), $(ratio "$cold" "$path") of its critical path (goal 1.05)
  recipe, kept cluster   $reused   $(ratio "$reused" "$reference") of the reference (goal 0.20)
TEXT
