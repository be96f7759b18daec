#!/bin/sh
# On the server: has layerkeeper bring an image, and only then lets compose start it. compose itself never pulls, so a
# restart takes seconds and never waits for a registry.
#
#   deploy.sh [IMAGE]      such as deploy.sh ghcr.io/acme/app:sha-1a2b3c4
#
# Run it in the directory of compose.yaml, whose service says `image: ${APP_IMAGE}`. Without an argument the image is
# what .env says; with one, .env is set to it once it is here, so that a later `docker compose up` starts the same.
#
# ENV_FILE (.env) and ENV_NAME (APP_IMAGE) may be set otherwise; LAYERKEEPER names the program.
#
# Exit codes: 0 it runs · 1 the deploy failed · 2 wrong usage · 3 layerkeeper does not run · 4 refused by the policy ·
# 5 a newer deploy took its place, nothing was restarted · 10 the image is here, but compose failed.
set -eu

env_file=${ENV_FILE:-.env}
env_name=${ENV_NAME:-APP_IMAGE}
layerkeeper=${LAYERKEEPER:-layerkeeper}

fail() {
    printf 'deploy.sh: %s\n' "$2" >&2
    exit "$1"
}

# the last one counts, as for compose; quotes around the value are not part of it
from_env_file() {
    [ -r "$env_file" ] || return 0
    sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$env_name=//p" "$env_file" | tail -n 1 |
        sed 's/[[:space:]]*$//; s/^"\(.*\)"$/\1/; s/^'\''\(.*\)'\''$/\1/'
}

# complete or not at all, with the old file's mode: it may hold secrets
into_env_file() {
    [ "$(from_env_file)" != "$image" ] || return 0
    (umask 077 && : >"$env_file.new")
    if [ -e "$env_file" ]; then
        cp -p -- "$env_file" "$env_file.new"
        # grep ends each line, also a last one that has no end
        grep -v -E "^[[:space:]]*(export[[:space:]]+)?$env_name=" "$env_file" >"$env_file.new" || true
    fi
    printf '%s=%s\n' "$env_name" "$image" >>"$env_file.new"
    mv -f -- "$env_file.new" "$env_file"
}

case $env_name in
*[!A-Za-z0-9_]* | '') fail 2 "ENV_NAME is no name of a variable: $env_name" ;;
esac
case ${1:-} in
-*) fail 2 "usage: deploy.sh [IMAGE]" ;;
esac
[ $# -le 1 ] || fail 2 "usage: deploy.sh [IMAGE]"
image=${1:-$(from_env_file)}
[ -n "$image" ] || fail 2 "no image: give one, or set $env_name in $env_file"

"$layerkeeper" deploy "$image" --follow || exit $?
into_env_file
export "$env_name=$image"
docker compose up -d --pull never || fail 10 "$image is here, but compose failed"
