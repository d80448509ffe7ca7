#!/bin/sh
# Has a file signed by the service, with curl and sha256sum alone.
#
#   FIRMSEAL_SERVER=https://firmseal.example.com:8443
#   FIRMSEAL_AUTHORITY=ca.pem          who vouches for the server
#   FIRMSEAL_TOKEN=...                 the job's token, or one of the server's
#
#   sign.sh FILE PRODUCT VERSION EPOCH OUTPUT
#
# Writes the signature, as the interface has it, to OUTPUT. Exit codes are those
# of `firmseal sign`: 0 signed, 2 bad arguments, 3 refused, 5 not allowed, 6 too
# late, taken back or in conflict, 7 not now, 9 not at its end; curl's own else.
# The signature is not checked here: verify it before you ship.
set -eu

file=$1 product=$2 version=$3 epoch=$4 output=$5
# The pipeline's id, which a job that is run again has too: with another one it
# would ask for something else, and people would have to agree anew.
build=${CI_PIPELINE_ID:-${GITHUB_RUN_ID:-manual}}
commit=${CI_COMMIT_SHA:-${GITHUB_SHA:-unknown}}
piece=4194304

# What becomes JSON below.
case $epoch in
'' | *[!0-9]*)
    echo "EPOCH is a number: $epoch" >&2
    exit 2
    ;;
esac
case $product$version$build$commit in
*[\"\\]* | *[[:cntrl:]]*)
    echo 'PRODUCT, VERSION, build and commit take no quotes, backslashes or control characters' >&2
    exit 2
    ;;
esac

# The token stands in no argument: those are read by every process. A server
# that is away may come back, or another in its place.
call() {
    printf 'header = "Authorization: Bearer %s"\n' "$FIRMSEAL_TOKEN" |
        curl --config - --cacert "$FIRMSEAL_AUTHORITY" --silent --show-error \
            --connect-timeout 10 --retry 5 --retry-connrefused --retry-max-time 30 "$@"
}

# A member of the answer, which has no blanks between its parts.
member() {
    sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1
}

digest=$(sha256sum "$file" | cut -d ' ' -f 1)
size=$(wc -c < "$file" | tr -d ' ')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# 1. The file goes to the registry, unless it is there.
status=$(call --output /dev/null --write-out '%{http_code}' "$FIRMSEAL_SERVER/v1/artifacts/$digest")
if [ "$status" != 200 ]; then
    call --fail-with-body --header 'Content-Type: application/json' \
        --data "{\"size\":$size,\"sha256\":\"$digest\"}" "$FIRMSEAL_SERVER/v1/uploads" > "$work/upload"
    upload=$(member id < "$work/upload")
    offset=$(member offset < "$work/upload")
    while [ "$offset" -lt "$size" ]; do
        # What arrived of an earlier try is not sent again.
        tail -c "+$((offset + 1))" "$file" | head -c "$piece" > "$work/piece"
        call --fail-with-body --request PATCH --header 'Content-Type: application/octet-stream' \
            --header "Upload-Offset: $offset" --data-binary "@$work/piece" \
            "$FIRMSEAL_SERVER/v1/uploads/$upload" > "$work/answer"
        offset=$(member offset < "$work/answer")
    done
    call --fail-with-body --request POST "$FIRMSEAL_SERVER/v1/uploads/$upload/complete" > /dev/null
fi

# 2. Asked for. The key is the digest of all that is asked, so that the same again
# is the same request and this whole script can run again.
cat > "$work/wish" <<END
{"product":"$product","channel":"stable","artifact":"$digest","version":"$version","epoch":$epoch,
 "build":"$build","commit":"$commit"}
END
key=$(sha256sum "$work/wish" | cut -d ' ' -f 1)
status=$(call --output "$work/answer" --write-out '%{http_code}' \
    --header 'Content-Type: application/json' --header "Idempotency-Key: curl-$key" \
    --header 'Prefer: wait=20' --data-binary "@$work/wish" "$FIRMSEAL_SERVER/v1/signatures")

# Says what the answer was, and ends.
ends() {
    cat "$work/answer" >&2
    exit "$1"
}

case $status in
200 | 201 | 202) ;;
401 | 403) ends 5 ;;
409) ends 6 ;;
400) ends 2 ;;
422) ends 3 ;;
*) ends 7 ;;
esac

# 3. Waited for, ten minutes at most.
tries=0
while :; do
    state=$(member state < "$work/answer")
    case $state in
    queued | waiting | held) ;;
    *) break ;;
    esac
    tries=$((tries + 1))
    [ "$tries" -lt "${FIRMSEAL_TRIES:-30}" ] || ends 9
    request=$(member id < "$work/answer")
    sleep 1
    call --fail-with-body --header 'Prefer: wait=20' "$FIRMSEAL_SERVER/v1/signatures/$request" > "$work/answer"
done

# 4. Fetched.
case $state in
signed) ;;
expired | cancelled) ends 6 ;;
*) ends 3 ;;
esac
value=$(member value < "$work/answer")
[ -n "$value" ] || ends 1
printf '%s' "$value" | base64 -d > "$work/signature"
mv "$work/signature" "$output"
