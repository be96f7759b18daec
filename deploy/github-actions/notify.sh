#!/usr/bin/env bash
# Tells layerkeeper on a server to deploy an image: posts a signed webhook, then follows the job to its end. With many servers,
# all at once.
# Needs bash, curl, openssl and coreutils, nothing else.
#
#   LAYERKEEPER_URL       where the server listens, such as https://deploy.example.com; or many such addresses, with white
#                         space between them, of servers that have the same secret
#   LAYERKEEPER_SECRET    the shared secret, raw or whsec_…; of two lines the first is used
#   LAYERKEEPER_IMAGE     the image, such as ghcr.io/acme/app:sha-1a2b3c4
#   LAYERKEEPER_DIGEST    what the tag must be, sha256:… (optional, and the best protection against a tag that moves)
#   LAYERKEEPER_WAIT      true: wait for the end of the deploy (default); false: only until it is accepted
#   LAYERKEEPER_TIMEOUT   how long to wait for that end, in seconds (default 1800)
#   LAYERKEEPER_PATIENCE  how long to try while the server cannot be reached or is busy, in seconds (default 300)
#
# Exit codes: 0 succeeded (or accepted, without waiting) · 1 failed · 2 wrong usage · 3 the server cannot be reached ·
# 4 refused · 5 superseded by a newer deploy. Of many servers, the worst: 2 over 3, 1, 4, 5.
# In GitHub Actions it leaves the outputs id, state and moved-bytes. Of many servers these are an id and a state for each, in the
# order of the addresses and with a space between them (- where there is none), and the sum of the bytes.
set -euo pipefail

# Which of many servers this is about; empty where there is one.
server=''

say() { printf '%s\n' "${server:+$server: }$*" >&2; }

# die CODE WORDS: the words reach the log, and in GitHub Actions the run's summary
die() {
    local prefix='layerkeeper: '
    [[ -z ${GITHUB_ACTIONS:-} ]] || prefix='::error title=layerkeeper::'
    printf '%s\n' "$prefix${server:+$server: }$2" >&2
    exit "$1"
}

output() {
    [[ -z ${GITHUB_OUTPUT:-} ]] || printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}

# Bytes from standard input as hexadecimal digits.
to_hex() { od -An -v -tx1 | tr -d ' \n'; }

# Hexadecimal digits as bytes. printf is part of bash: what it prints stands in no process list.
from_hex() {
    local hex=$1 escaped='' i
    for ((i = 0; i < ${#hex}; i += 2)); do escaped+="\\x${hex:i:2}"; done
    printf '%b' "$escaped"
}

sha256_hex() { openssl dgst -sha256 -binary | to_hex; }

# hmac_base64 KEY_HEX MESSAGE: RFC 2104 over SHA-256. By hand, because openssl takes a key only as an argument, where
# every user of a shared runner can read it.
hmac_base64() {
    local key=$1 message=$2 inner='' outer='' i byte
    ((${#key} <= 128)) || key=$(from_hex "$key" | sha256_hex)
    while ((${#key} < 128)); do key+=00; done
    for ((i = 0; i < 128; i += 2)); do
        byte=$((16#${key:i:2}))
        inner+=$(printf '%02x' $((byte ^ 0x36)))
        outer+=$(printf '%02x' $((byte ^ 0x5c)))
    done
    inner=$({ from_hex "$inner" && printf '%s' "$message"; } | sha256_hex)
    from_hex "$outer$inner" | openssl dgst -sha256 -binary | openssl base64 -A
}

# The secret's bytes as hexadecimal digits: Standard Webhooks writes them as whsec_ and base64.
key_hex() {
    local secret=$1 encoded
    if [[ $secret == whsec_* ]]; then
        encoded=${secret#whsec_}
        while ((${#encoded} % 4)); do encoded+='='; done
        printf '%s' "$encoded" | openssl base64 -d -A | to_hex
    else
        printf '%s' "$secret" | to_hex
    fi
}

# first_line TEXT: the first line that is not empty, without white space around it
first_line() {
    local line
    while IFS= read -r line || [[ -n $line ]]; do
        line=${line#"${line%%[![:space:]]*}"}
        line=${line%"${line##*[![:space:]]}"}
        [[ -z $line ]] || break
    done <<<"$1"
    printf '%s' "$line"
}

# text_of KEY JSON: the first value of that key that is a text, in one line of printable characters
text_of() {
    local pattern="\"$1\"[[:space:]]*:[[:space:]]*\"(([^\"\\\\]|\\\\.)*)\""
    [[ $2 =~ $pattern ]] || return 0
    local value=${BASH_REMATCH[1]}
    # These two printf does not undo, all others it does. What is then left of control characters could forge a line
    # of the log.
    value=${value//\\\//\/}
    value=${value//\\\"/\"}
    printf '%b' "$value" | tr -s '[:cntrl:]' ' '
}

# number_of KEY JSON: the first value of that key that is a whole number
number_of() {
    local pattern="\"$1\"[[:space:]]*:[[:space:]]*([0-9]+)"
    if [[ $2 =~ $pattern ]]; then printf '%s' "${BASH_REMATCH[1]}"; fi
}

# request ARGUMENTS: sets status (000: no answer), body and retry_after (seconds, or empty)
request() {
    : >"$scratch/body" && : >"$scratch/head"
    status=$(curl --silent --show-error --connect-timeout 10 --max-time 60 --proto '=http,https' \
        --output "$scratch/body" --dump-header "$scratch/head" --write-out '%{http_code}' \
        "$@" 2>"$scratch/error") || status=000
    body=$(tr -d '\0' <"$scratch/body")
    retry_after=$(tr -d '\r' <"$scratch/head" | sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\{1,9\}\)$/\1/p' | tail -n 1)
}

# What the last answer says went wrong.
problem() {
    local detail
    if [[ $status == 000 ]]; then
        detail=$(tr -s '[:cntrl:]' ' ' <"$scratch/error")
        printf '%s' "no answer from $url: ${detail:-unknown}"
        return
    fi
    detail=$(text_of detail "$body")
    printf 'HTTP %s: %s' "$status" "${detail:-$(text_of title "$body")}"
}

# May the same request succeed later?
is_transient() { [[ $status == 000 || $status == 408 || $status == 429 || $status == 5?? ]]; }

# pause TRY DEADLINE: waits as the server asks, else longer each time; false when that would pass the deadline
pause() {
    local seconds=$((1 << ($1 < 5 ? $1 : 5)))
    if [[ -n $retry_after ]]; then
        # neither hammer nor fall asleep on a server's strange idea
        seconds=$((10#$retry_after))
        ((seconds >= 1)) || seconds=1
        ((seconds <= 120)) || seconds=120
    fi
    ((SECONDS + seconds <= $2)) || return 1
    sleep "$seconds"
}

# Posts until the server has said yes or no. The id stays the same, so that a request whose answer got lost starts
# nothing twice; time and signature are made anew, because the server takes none that are older than five minutes.
post() {
    local id=$1 deadline=$((SECONDS + patience)) try=0 now signature
    while :; do
        now=$(date +%s)
        signature=$(hmac_base64 "$key" "$id.$now.$payload")
        request --request POST --header 'Content-Type: application/json' --header "webhook-id: $id" \
            --header "webhook-timestamp: $now" --header "webhook-signature: v1,$signature" \
            --data-binary "$payload" "$url/v1/deploys"
        is_transient || return 0
        say "try $((try + 1)): $(problem)"
        pause "$try" "$deadline" || return 0
        try=$((try + 1))
    done
}

# Asks for the job until it has come to its end; sets state and body.
follow() {
    local deadline=$((SECONDS + timeout)) silent=0 last=''
    while :; do
        request "$url$1"
        if [[ $status == 200 ]]; then
            silent=0
            state=$(text_of state "$body")
            [[ $state == "$last" ]] || say "job $job is $state"
            last=$state
            case $state in succeeded | failed | refused | superseded) return 0 ;; esac
            # a deploy takes seconds to minutes
            retry_after=${LAYERKEEPER_POLL:-2}
        elif is_transient; then
            # the server may be restarting: the job is durable
            say "$(problem)"
            silent=$((silent + 1))
        else
            die 1 "job $job cannot be read: $(problem)"
        fi
        if ! pause "$silent" "$deadline"; then
            [[ $status == 200 ]] || die 3 "the server was lost while job $job was ${last:-unknown}: $(problem)"
            die 1 "job $job is still ${state} after ${timeout} s; it goes on without us"
        fi
    done
}

# report: one line of numbers, where there are any
report() {
    local moved
    moved=$(number_of moved_bytes "$body")
    [[ -n $moved ]] || return 0
    output moved-bytes "$moved"
    say "moved $((moved / 1000000)).$(printf '%02d' $((moved / 10000 % 100))) MB"
}

# Posts to $url, and follows there; ends this shell with the result.
deliver() {
    local status_url
    post "msg_$(openssl rand -hex 16)"
    case $status in
    202) ;;
    403) die 4 "refused: $(problem)" ;;
    000 | 408 | 429 | 5??) die 3 "gave up after $patience s: $(problem)" ;;
    *) die 1 "$(problem)" ;;
    esac

    job=$(text_of id "$body") state=$(text_of state "$body") status_url=$(text_of status_url "$body")
    [[ $job =~ ^[A-Za-z0-9_-]+$ && $status_url == /* && $status_url != *[[:space:]]* ]] ||
        die 1 "this is not layerkeeper's answer; is $url right?"
    say "job $job is accepted for $image"
    [[ $wait == false ]] || follow "$status_url"
    output id "$job"
    output state "$state"
    [[ $wait == true ]] || exit 0

    report
    case $state in
    succeeded) say "$image is on the server" ;;
    superseded) die 5 "superseded by a newer deploy, job $(text_of superseded_by "$body")" ;;
    refused) die 4 "refused: $(text_of message "$body")" ;;
    *) die 1 "failed: $(text_of message "$body")" ;;
    esac
    exit 0
}

# left NAME FILE: the value of an output that a server left
left() { [[ ! -f $2 ]] || sed -n "s/^$1=//p" "$2"; }

# worse CODE CODE: is the first exit code worse than the second?
worse() {
    local order=054132
    local first=${order%%"$1"*} second=${order%%"$2"*}
    ((${#first} > ${#second}))
}

# deliver_all URL...: to all at once, and tells of each; ends with the worst result
deliver_all() {
    local all=("$@") root=$scratch pids=() worst=0 good=0 moved=0 ids='' states='' i code one
    for i in "${!all[@]}"; do
        (
            url=${all[i]}
            server=$url
            scratch=$root/$i
            mkdir "$scratch"
            GITHUB_OUTPUT=$scratch/outputs
            deliver
        ) &
        pids+=("$!")
    done
    for i in "${!all[@]}"; do
        code=0
        wait "${pids[i]}" || code=$?
        ((code != 0)) || good=$((good + 1))
        ! worse "$code" "$worst" || worst=$code
        one=$(left id "$root/$i/outputs")
        ids+="${ids:+ }${one:--}"
        one=$(left state "$root/$i/outputs")
        states+="${states:+ }${one:--}"
        one=$(left moved-bytes "$root/$i/outputs")
        moved=$((moved + ${one:-0}))
    done
    output id "$ids"
    output state "$states"
    [[ $wait == false ]] || output moved-bytes "$moved"
    say "$good of ${#all[@]} servers done"
    exit "$worst"
}

main() {
    local secret=${LAYERKEEPER_SECRET:-} digest=${LAYERKEEPER_DIGEST:-} urls=() i
    image=${LAYERKEEPER_IMAGE:-} wait=${LAYERKEEPER_WAIT:-true}
    timeout=${LAYERKEEPER_TIMEOUT:-1800} patience=${LAYERKEEPER_PATIENCE:-300}
    # no child of ours needs it
    unset LAYERKEEPER_SECRET
    read -r -d '' -a urls <<<"${LAYERKEEPER_URL:-}" || true
    ((${#urls[@]})) || die 2 'LAYERKEEPER_URL is empty'
    for i in "${!urls[@]}"; do
        urls[i]=${urls[i]%/}
        [[ ${urls[i]} =~ ^https?://. ]] || die 2 'LAYERKEEPER_URL must be an address such as https://deploy.example.com'
    done
    secret=$(first_line "$secret")
    [[ -n $secret ]] || die 2 'LAYERKEEPER_SECRET is empty; pull requests from forks do not get secrets'
    [[ $image =~ ^[A-Za-z0-9._:/@-]+$ ]] || die 2 'LAYERKEEPER_IMAGE must be an image reference such as ghcr.io/acme/app:sha-1a2b3c4'
    [[ -z $digest || $digest =~ ^sha256:[0-9a-f]{64}$ ]] || die 2 'LAYERKEEPER_DIGEST must be sha256: and 64 hexadecimal digits'
    [[ $timeout =~ ^[0-9]{1,6}$ && $patience =~ ^[0-9]{1,6}$ ]] || die 2 'LAYERKEEPER_TIMEOUT and LAYERKEEPER_PATIENCE are seconds'
    # a leading zero does not make them octal
    timeout=$((10#$timeout)) patience=$((10#$patience))
    [[ $wait == true || $wait == false ]] || die 2 'LAYERKEEPER_WAIT must be true or false'
    key=$(key_hex "$secret")
    ((${#key} >= 32)) || die 2 'LAYERKEEPER_SECRET is shorter than 16 bytes, or whsec_ without base64 after it'

    payload="{\"image\":\"$image\"${digest:+,\"digest\":\"$digest\"}}"
    scratch=$(mktemp -d)
    trap 'rm -rf -- "$scratch"' EXIT
    ((${#urls[@]} == 1)) || deliver_all "${urls[@]}"
    url=${urls[0]}
    deliver
}

main "$@"
