#!/usr/bin/env bash
# Starts Redis as the official image does: arguments or a configuration file
# alone mean redis-server, which runs as the user redis in /data.
set -euo pipefail

# The official image is compiled with protected mode off: a container is reached
# from other hosts alone, and protected mode refuses those. Who asks for it, gets it.
open_to_other_hosts() {
    local arg
    for arg; do
        case $arg in
            *protected-mode*) return 1 ;;
            *.conf) if grep -qs '^[[:space:]]*protected-mode' "$arg"; then return 1; fi ;;
        esac
    done
}

case ${1:-} in -* | *.conf) set -- redis-server "$@" ;; esac

if [ "${1:-}" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        find . \! -user redis -exec chown redis '{}' +
        exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
    fi
    # Nobody else should read the data, unless the caller has said otherwise.
    if [ "$(umask)" = 0022 ]; then umask 0077; fi
    case ${2:-} in
        -v | --version | -h | --help | --test-memory | --check-system) ;;
        *) if open_to_other_hosts "${@:2}"; then set -- "$@" --protected-mode no; fi ;;
    esac
fi
exec "$@"
