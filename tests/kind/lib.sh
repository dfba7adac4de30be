# What the commands of this folder share. To be read by bash, not run.
# shellcheck shell=bash disable=SC2034

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Outside the clone: what is kept here took minutes to make, and is good for every clone.
cache=${RECIPE_KIND_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/recipe-kind}
# For PATH: kind, kubectl, and where it is needed a docker that kind can use.
bin=$cache/bin
# What is asked of docker here is asked of the engine's own: its stand-in would hide what is missing.
PATH=${PATH//"$bin:"/}
# What the tests read: names of images and the PATH.
environment=$cache/env

say() { printf 'kind: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
has() { command -v "$1" > /dev/null; }

# usage COMMAND: the comment at its top.
usage() {
    sed -n '2,/^set /{s/^# \{0,1\}//p}' "$1" >&2
    exit 2
}

install_packages() {
    if [ $# = 0 ]; then return; fi
    if ! has apt-get || [ "$(id -u)" != 0 ]; then
        die "missing: $*; install them, or run this as root on a Debian"
    fi
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends "$@" > /dev/null
}

docker_answers() { docker version > /dev/null 2>&1; }
