#!/usr/bin/env bash
# Starts PostgreSQL and, in an empty data directory, initialises it first, with
# the environment variables and the folder that the official image documents:
# POSTGRES_PASSWORD, _USER, _DB, _INITDB_ARGS (each also as NAME_FILE),
# POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD, PGDATA and
# /docker-entrypoint-initdb.d.
set -euo pipefail
shopt -s nullglob

die() { printf 'Error: %s\n' "$*" >&2; exit 1; }

# from_file NAME [DEFAULT]: exports NAME, from NAME_FILE where that is set.
from_file() {
    local name=$1 file=$1_FILE
    if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then die "both $name and $file are set (but are exclusive)"; fi
    if [ -n "${!file:-}" ]; then export "$name=$(< "${!file}")"; else export "$name=${!name:-${2:-}}"; fi
    unset "$file"
}

read_environment() {
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    from_file POSTGRES_INITDB_ARGS
    : "${POSTGRES_HOST_AUTH_METHOD:=}"
}

# make_directories: as root, what the server needs to own; as another user, what it may.
make_directories() {
    mkdir -p "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}
    chmod 00700 "$PGDATA" || true
    chmod 03775 /var/run/postgresql || true
    if [ "$(id -u)" = 0 ]; then
        find "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} \
            \! -user postgres -exec chown postgres '{}' +
    fi
}

refuse_without_password() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        die 'Database is uninitialized and superuser password is not specified.
       Set POSTGRES_PASSWORD to a non-empty value, or POSTGRES_HOST_AUTH_METHOD=trust
       to allow all connections without a password (not recommended).'
    fi
}

initialise() {
    local arguments=(--username="$POSTGRES_USER")
    if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then arguments+=(--waldir="$POSTGRES_INITDB_WALDIR"); fi
    # As in the official image these are a piece of a command line, quotes and all.
    eval "arguments+=($POSTGRES_INITDB_ARGS)"
    initdb --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
}

# allow_hosts: the last line of pg_hba.conf, for clients on other hosts.
allow_hosts() {
    local method=$POSTGRES_HOST_AUTH_METHOD
    if [ -z "$method" ]; then method=$(postgres -C password_encryption "$@"); fi
    printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
}

# The server listens on its socket alone while it is set up, so that nobody
# outside takes it for ready.
server_for_setup() {
    case $1 in
        start)
            shift
            if [ "${1:-}" = postgres ]; then shift; fi
            pg_ctl -D "$PGDATA" -w start -o "$(printf '%q ' "$@" -c listen_addresses='' -p "${PGPORT:-5432}")"
            ;;
        stop) pg_ctl -D "$PGDATA" -m fast -w stop ;;
    esac
}

# Initialisation scripts call this; PGHOST of the environment would lead it elsewhere.
docker_process_sql() {
    PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" \
        --dbname "$POSTGRES_DB" "$@"
}

create_database() {
    if [ "$POSTGRES_DB" = postgres ]; then return; fi
    # The last --dbname counts.
    docker_process_sql --dbname postgres --set db="$POSTGRES_DB" <<< 'CREATE DATABASE :"db" ;'
}

run_initialisation_scripts() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        printf '%s: ' "$0"
        case $file in
            *.sh)
                printf 'running %s\n' "$file"
                # One that may not be executed is meant to be read into this shell.
                # shellcheck disable=SC1090
                if [ -x "$file" ]; then "$file"; else . "$file"; fi
                ;;
            *.sql) printf 'running %s\n' "$file"; docker_process_sql -f "$file" ;;
            *.sql.gz) printf 'running %s\n' "$file"; gunzip -c "$file" | docker_process_sql ;;
            *.sql.xz) printf 'running %s\n' "$file"; xzcat "$file" | docker_process_sql ;;
            *.sql.zst) printf 'running %s\n' "$file"; zstd -dc "$file" | docker_process_sql ;;
            *) printf 'ignoring %s\n' "$file" ;;
        esac
    done
}

set_up() {
    if [ -s "$PGDATA/PG_VERSION" ]; then
        printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
        return
    fi
    refuse_without_password
    initialise
    allow_hosts "${@:2}"
    export PGPASSWORD="$POSTGRES_PASSWORD"
    server_for_setup start "$@"
    create_database
    run_initialisation_scripts
    server_for_setup stop
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

# Called with --help and the like, the server says its word and leaves: nothing to set up.
wants_help() {
    local arg
    for arg; do
        case $arg in -\? | --help | --describe-config | -V | --version) return 0 ;; esac
    done
    return 1
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "${1:-}" = postgres ] && ! wants_help "$@"; then
    read_environment
    make_directories
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    set_up "$@"
fi
exec "$@"
