#!/usr/bin/env bash
# The set-up as a script usually does it: one thing after the other, looking
# once a second whether the last one is ready. The benchmark's yardstick.
#
#   naive.sh POSTGRES_BIN DIR POSTGRES_PORT REDIS_PORT SERVICE_PORT SERVICE
#
# DIR exists and belongs to the user that PostgreSQL runs as; as root that is
# `postgres`, else the caller. Prints the milliseconds until all is ready.
set -euo pipefail
bin=$1 dir=$2 pg_port=$3 redis_port=$4 port=$5 service=$6
export PGHOST=127.0.0.1 PGPORT=$pg_port PGUSER=app PGPASSWORD=naive

as_server=()
if [ "$(id -u)" = 0 ]; then as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups); fi
now() { date +%s%N; }

migrations=$PWD/migrations
began=$(now)

cargo build --quiet --release --example datastorage

cd /
echo naive > "$dir/password"
chmod a+r "$dir/password"
"${as_server[@]}" "$bin/initdb" --pgdata="$dir/data" --username=app --pwfile="$dir/password" --auth=scram-sha-256 > /dev/null
"${as_server[@]}" "$bin/postgres" -D "$dir/data" -k "$dir" -p "$pg_port" -c listen_addresses=127.0.0.1 > "$dir/postgres.log" 2>&1 &
postgres=$!
until "$bin/pg_isready" --quiet > /dev/null; do sleep 1; done
"$bin/createdb" datastorage

redis-server --port "$redis_port" --bind 127.0.0.1 --save "" > "$dir/redis.log" &
redis=$!
until redis-cli -p "$redis_port" ping > /dev/null 2>&1; do sleep 1; done

for file in "$migrations"/*.sql; do
    awk '/\+goose Down/ { exit } { print }' "$file" | psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -d datastorage > /dev/null
done

DATABASE_URL=postgres://app:naive@127.0.0.1:$pg_port/datastorage REDIS_URL=redis://127.0.0.1:$redis_port \
    HOST=127.0.0.1 PORT=$port "$service" 2> "$dir/service.log" &
server=$!
until curl --silent --fail "http://127.0.0.1:$port/readyz" > /dev/null; do sleep 1; done

echo $((($(now) - began) / 1000000))

kill "$server"
kill -INT "$postgres"
kill "$redis"
wait
