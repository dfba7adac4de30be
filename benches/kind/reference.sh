#!/usr/bin/env bash
# The set-up of the DataStorage service on kind as scripts usually do it, with
# the official command lines: build the image; make the cluster; then load the
# image, PostgreSQL and Redis side by side; look every 5 s whether they are
# ready; migrate through a port-forward; deploy the service; look every 5 s.
# The benchmark's yardstick.
#
#   reference.sh NAME DIR SERVICE
#
# NAME is the cluster's, DIR an empty directory, SERVICE the program. Prints the
# milliseconds until the service answers. Needs docker, kind, kubectl and goose,
# and the images in RECIPE_KIND_NODE_IMAGE and RECIPE_TEST_*_IMAGE.
set -euo pipefail
name=$1 dir=$2 service=$3
export KUBECONFIG=$dir/kubeconfig
forward=
trap '[ -z "$forward" ] || kill "$forward" 2> /dev/null || true' EXIT

now() { date +%s%N; }
# Waits until the pods of $1 are ready, looking every 5 s.
poll() {
    until [ "$(kubectl get pods -l "app=$1" -o 'jsonpath={.items[0].status.conditions[?(@.type=="Ready")].status}' 2> /dev/null)" = True ]; do
        sleep 5
    done
}
load() {
    docker save -o "$dir/$1.tar" "$2"
    kind load image-archive --name "$name" "$dir/$1.tar"
    rm "$dir/$1.tar"
}
deployment() {
    cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: { name: $1 }
spec:
  selector: { matchLabels: { app: $1 } }
  template:
    metadata: { labels: { app: $1 } }
    spec:
      containers:
        - name: $1
          image: $2
          imagePullPolicy: IfNotPresent
          env: $3
          readinessProbe: { $4, initialDelaySeconds: 5, periodSeconds: 5 }
---
apiVersion: v1
kind: Service
metadata: { name: $1 }
spec: { selector: { app: $1 }, ports: [{ port: $5 }] }
YAML
}

began=$(now)
cp "$service" "$dir/datastorage"
printf 'FROM %s\nCOPY datastorage /datastorage\nENTRYPOINT ["/datastorage"]\n' "$RECIPE_TEST_BASE_IMAGE" > "$dir/Dockerfile"
docker build --quiet --no-cache -t "datastorage:$name" "$dir" > /dev/null

kind create cluster --quiet --name "$name" --image "$RECIPE_KIND_NODE_IMAGE" --wait 60s

(load datastorage "datastorage:$name") &
loading=$!
(
    load postgres "$RECIPE_TEST_POSTGRES_IMAGE"
    deployment postgres "$RECIPE_TEST_POSTGRES_IMAGE" \
        '[{ name: POSTGRES_USER, value: app }, { name: POSTGRES_PASSWORD, value: reference }, { name: POSTGRES_DB, value: datastorage }]' \
        'exec: { command: [pg_isready, -U, app] }' 5432 | kubectl apply -f - > /dev/null
) &
postgres=$!
(
    load redis "$RECIPE_TEST_REDIS_IMAGE"
    deployment redis "$RECIPE_TEST_REDIS_IMAGE" '[]' 'exec: { command: [redis-cli, ping] }' 6379 |
        kubectl apply -f - > /dev/null
) &
redis=$!
wait "$loading" && wait "$postgres" && wait "$redis"
poll postgres
poll redis

kubectl port-forward service/postgres 25432:5432 > /dev/null &
forward=$!
until goose -dir migrations postgres "postgres://app:reference@127.0.0.1:25432/datastorage" up > /dev/null 2>&1; do sleep 1; done
kill "$forward"

deployment datastorage "datastorage:$name" \
    '[{ name: DATABASE_URL, value: "postgres://app:reference@postgres:5432/datastorage" }, { name: REDIS_URL, value: "redis://redis:6379" }, { name: HOST, value: 0.0.0.0 }, { name: PORT, value: "8080" }]' \
    'httpGet: { path: /readyz, port: 8080 }' 8080 | kubectl apply -f - > /dev/null
poll datastorage

echo $((($(now) - began) / 1000000))

kind delete cluster --quiet --name "$name"
docker rmi --force "datastorage:$name" > /dev/null
