#!/bin/sh
# Installs layerkeeper on a Docker host with systemd. It may be run again at any time, to upgrade too: what an operator
# may have changed (configuration, secret, state) is never written over. It downloads nothing and opens no port.
set -eu

usage() {
    cat <<'TEXT'
usage: install.sh [--binary FILE] [--prefix DIR] [--root DIR] [--uninstall]

  --binary FILE  the program (default: beside this script, in ../target/release, or as $LAYERKEEPER_BINARY says)
  --prefix DIR   where programs go (default: /usr/local)
  --root DIR     install into the file tree DIR, for an image or a package; nothing is started
  --uninstall    remove program and unit; configuration, secret and state stay

exit codes: 0 done, 1 failed, 2 wrong usage
TEXT
}

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

prefix=/usr/local
root=
binary=${LAYERKEEPER_BINARY:-}
uninstall=no

while [ $# -gt 0 ]; do
    case $1 in
    --binary | --prefix | --root)
        # an empty --root would be the running system
        [ -n "${2:-}" ] || fail "$1 wants a value" 2
        case $1 in
        --binary) binary=$2 ;;
        --prefix) prefix=${2%/} ;;
        --root) root=$2 ;;
        esac
        shift 2
        ;;
    --uninstall) uninstall=yes && shift ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && fail "unknown argument: $1" 2 ;;
    esac
done

case $prefix in
/*[!A-Za-z0-9/._-]*) fail "--prefix: only letters, digits and ._- may stand in it: $prefix" 2 ;;
/*) ;;
*) fail "--prefix must be an absolute path: $prefix" 2 ;;
esac

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source=$(dirname -- "$here")
program=$prefix/bin/layerkeeper
etc=/etc/layerkeeper
# systemd looks below these two by itself
case $prefix in
/usr | /usr/local) lib=$prefix/lib ;;
*) lib=/etc ;;
esac
unit=$lib/systemd/system/layerkeeper.service
sysusers=$lib/sysusers.d/layerkeeper.conf

# on a running system, as opposed to a file tree that is being built
live() { [ -z "$root" ]; }

check() {
    if live; then
        [ "$(id -u)" -eq 0 ] || fail "run me as root (or with --root DIR to fill a file tree)"
        [ -d /run/systemd/system ] || fail "this host does not run systemd, and the unit needs it"
    else
        [ -d "$root" ] || fail "--root: there is no directory $root"
        root=$(CDPATH='' cd -- "$root" && pwd -P)
        [ "$root" != / ] || fail "--root / is the running system; leave it out to install there" 2
    fi
}

# put MODE FROM TO: complete or not at all, also while the old one runs
put() {
    mkdir -p -- "$(dirname -- "$root$3")"
    if [ -e "$root$3" ] && cmp -s -- "$2" "$root$3"; then
        chmod "$1" "$root$3"
        say "unchanged  $3"
        return
    fi
    cp -- "$2" "$root$3.new"
    chmod "$1" "$root$3.new"
    mv -f -- "$root$3.new" "$root$3"
    say "installed  $3"
}

find_binary() {
    if [ -z "$binary" ]; then
        for binary in "$here/layerkeeper" "$source/layerkeeper" "$source/target/release/layerkeeper"; do
            [ ! -x "$binary" ] || return 0
        done
        fail "no program found: build it with \`cargo build --release\` or name it with --binary FILE"
    fi
    [ -x "$binary" ] || fail "--binary: $binary is not a program"
}

# 32 random bytes; whsec_ and base64 is what Standard Webhooks calls a secret
new_secret() {
    random=$(head -c 32 /dev/urandom | base64 -w 0) && [ ${#random} -eq 44 ] && printf 'whsec_%s\n' "$random"
}

install_all() {
    find_binary
    put 0755 "$binary" "$program"

    unit_file=$(mktemp)
    trap 'rm -f -- "$unit_file"' EXIT
    sed "s|/usr/local/bin/layerkeeper|$program|g" "$source/systemd/layerkeeper.service" >"$unit_file"
    put 0644 "$unit_file" "$unit"
    put 0644 "$source/systemd/sysusers.d/layerkeeper.conf" "$sysusers"

    mkdir -p -- "$root$etc"
    chmod 0755 "$root$etc"
    put 0644 "$source/config/layerkeeper.toml" "$etc/layerkeeper.toml.example"
    if [ -e "$root$etc/layerkeeper.toml" ]; then
        say "kept       $etc/layerkeeper.toml"
    else
        put 0644 "$source/config/layerkeeper.toml" "$etc/layerkeeper.toml"
    fi
    if [ -e "$root$etc/webhook-secret" ]; then
        say "kept       $etc/webhook-secret"
    else
        # made unreadable to others, and named only when complete: an empty secret would not start
        if ! (umask 077 && new_secret >"$root$etc/webhook-secret.new"); then
            rm -f -- "$root$etc/webhook-secret.new"
            fail "no random secret could be made"
        fi
        mv -f -- "$root$etc/webhook-secret.new" "$root$etc/webhook-secret"
        say "made       $etc/webhook-secret (new, random, for root alone)"
    fi

    grep -q '^docker:' "$root/etc/group" 2>/dev/null ||
        say "WARNING: there is no group docker here; is Docker installed? layerkeeper starts and waits for it."
    make_users
    if live; then
        systemctl daemon-reload
    fi
}

make_users() {
    if ! command -v systemd-sysusers >/dev/null 2>&1; then
        live && fail "systemd-sysusers is missing; it makes the user layerkeeper"
        say "systemd-sysusers is missing here; it makes the user layerkeeper when the tree boots for the first time"
        return 0
    fi
    # by its name, not its path: with --root a path would be looked up outside of the tree
    systemd-sysusers --root="${root:-/}" layerkeeper.conf
}

next_steps() {
    if live && systemctl is-active --quiet layerkeeper; then
        say
        say "layerkeeper runs. To use what is new: systemctl restart layerkeeper"
        return
    fi
    cat <<TEXT

Next:
 1. Say what to keep and what CI may deploy:     \$EDITOR $etc/layerkeeper.toml
    and see whether that is right:               $program check-config
 2. Private registries: put a docker config.json at $etc/docker-config.json (root, 0600).
 3. Start, now and at boot:                      systemctl enable --now layerkeeper
    See what it does:                            $program status; journalctl -fu layerkeeper
 4. Give CI the secret, without showing it:      gh secret set LAYERKEEPER_SECRET <$etc/webhook-secret
    and the address:                             gh variable set LAYERKEEPER_URL --body https://THIS-HOST
    The step that uses both: deploy/github-actions/deploy.yml
 5. Remove what would work against it (cron lines, \`prune -a\`): deploy/MIGRATION.md
 6. The webhook listens on port 9317. Put TLS in front (deploy/nginx/layerkeeper.conf) and open the firewall for that.
 7. Who may use the command line:                usermod --append --groups layerkeeper USER
TEXT
}

uninstall_all() {
    if live; then
        systemctl disable --now layerkeeper.service 2>/dev/null || true
    fi
    for path in "$program" "$unit" "$sysusers" "$etc/layerkeeper.toml.example"; do
        [ -e "$root$path" ] || continue
        rm -f -- "$root$path"
        say "removed    $path"
    done
    if live; then
        systemctl daemon-reload
    fi
    say "kept       $etc, /var/lib/layerkeeper, user and group layerkeeper, and every image"
    say "To remove these too: rm -r $etc /var/lib/layerkeeper; userdel layerkeeper"
}

check
if [ "$uninstall" = yes ]; then
    uninstall_all
else
    install_all
    next_steps
fi
