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
# 5 a newer deploy took its place, nothing was restarted · 10 the image is here, but .env could not be written (then
# nothing was started) or compose failed.
set -eu

env_file=${ENV_FILE:-.env}
env_name=${ENV_NAME:-APP_IMAGE}
layerkeeper=${LAYERKEEPER:-layerkeeper}

fail() {
    printf 'deploy.sh: %s\n' "$2" >&2
    exit "$1"
}

# the last one counts, as for compose; neither quotes around the value nor a note behind it are part of it
from_env_file() {
    [ -r "$env_file" ] || return 0
    sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$env_name=[[:space:]]*//p" "$env_file" | tail -n 1 |
        sed 's/^"\([^"]*\)".*$/\1/; t
            s/^'\''\([^'\'']*\)'\''.*$/\1/; t
            s/[[:space:]]#.*$//; s/[[:space:]]*$//'
}

# complete or not at all, with the old file's mode: it may hold secrets
into_env_file() {
    [ "$(from_env_file)" != "$image" ] || return 0
    if write_env_file "$env_file.new" && mv -f -- "$env_file.new" "$env_file"; then
        return 0
    fi
    rm -f -- "$env_file.new"
    return 1
}

# in a condition set -e does not count, so each step says what follows from its failure
write_env_file() {
    (umask 077 && : >"$1") || return 1
    if [ -e "$env_file" ]; then
        cp -p -- "$env_file" "$1" || return 1
        # grep ends each line, also a last one that has no end; 1 says that no line is left
        grep -v -E "^[[:space:]]*(export[[:space:]]+)?$env_name=" "$env_file" >"$1" || [ $? -eq 1 ] || return 1
    fi
    printf '%s=%s\n' "$env_name" "$image" >>"$1"
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
into_env_file || fail 10 "$image is here, but $env_file cannot be written; nothing was started"
export "$env_name=$image"
docker compose up -d --pull never || fail 10 "$image is here, but compose failed"
