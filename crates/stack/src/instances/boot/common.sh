#!/bin/bash
# @TITLE@
# Amazon Linux 2023, Debian 12 and Ubuntu 22.04 run this once, as root, at their first boot.
set -Eeuo pipefail
umask 022
export HOME=${HOME:-/root}

IMDS=${IMDS:-http://169.254.169.254}
S3_URL=@S3_URL@
S3_HOST=@S3_HOST@
S3_PATH=@S3_PATH@
REGION=@REGION@
BIN=${BIN:-/usr/local/bin}
# The SHA-256 of nothing: the body of a GET.
EMPTY=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

say() {
  echo "onspot boot: $*"
}

# failed STATUS COMMAND: tells the console, which is what EC2 shows of an instance that nobody can
# log in to.
failed() {
  # The line of the script itself, whichever function was in between.
  local line=${BASH_LINENO[${#BASH_LINENO[@]} - 2]} text
  text=$(sed -n "${line}p" "$0" 2>/dev/null) || true
  text="onspot boot: FAILED with status $1 at line $line: ${text:-$2}"
  echo "$text" >&2
  { echo "$text" >/dev/console; } 2>/dev/null || true
  # Off, so that it is replaced; late, so that the console is read before.
  systemd-run --on-active=5min systemctl poweroff >/dev/null 2>&1 || true
}

# retry TIMES COMMAND...: until it succeeds, with pauses of up to 10 s.
retry() {
  local left=$1 pause=1
  shift
  until "$@"; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || return 1
    say "trying again: $1"
    sleep "$pause"
    pause=$((pause < 10 ? pause + 1 : 10))
  done
}

need() {
  command -v "$1" >/dev/null && return
  say "installing $2"
  if command -v dnf >/dev/null; then
    retry 10 dnf -q -y install "$2"
  else
    export DEBIAN_FRONTEND=noninteractive
    retry 10 apt-get -qq -o DPkg::Lock::Timeout=120 update
    retry 10 apt-get -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends install "$2"
  fi
}

# imds PATH: the instance's metadata, version 2.
imds() {
  local token
  token=$(curl -fsS -m 5 --noproxy '*' -X PUT \
    -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$IMDS/latest/api/token") || return 1
  curl -fsS -m 5 --noproxy '*' -H "X-aws-ec2-metadata-token: $token" "$IMDS/latest/meta-data/$1"
}

# credentials: those of the instance's role into KEY_ID, KEY and SESSION.
credentials() {
  local role json
  role=$(imds iam/security-credentials/) || return 1
  json=$(imds "iam/security-credentials/$role") || return 1
  json=$(tr ',{}' '\n' <<<"$json")
  KEY_ID=$(sed -n 's/.*"AccessKeyId"[^"]*"\([^"]*\)".*/\1/p' <<<"$json")
  KEY=$(sed -n 's/.*"SecretAccessKey"[^"]*"\([^"]*\)".*/\1/p' <<<"$json")
  SESSION=$(sed -n 's/.*"Token"[^"]*"\([^"]*\)".*/\1/p' <<<"$json")
  [ -n "$KEY_ID" ] && [ -n "$KEY" ] && [ -n "$SESSION" ]
}

sha256() {
  openssl dgst -sha256 | sed 's/^.* //'
}

# hmac HEXKEY TEXT
hmac() {
  printf %s "$2" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$1" | sed 's/^.* //'
}

# signed_headers PATH TIME: the headers of a GET of PATH, signed by Signature Version 4.
signed_headers() {
  local time=$2 day=${2%%T*} names='host;x-amz-content-sha256;x-amz-date;x-amz-security-token'
  local scope="$day/$REGION/s3/aws4_request" canonical key part
  canonical=$(printf '%s\n' GET "$1" '' "host:$S3_HOST" "x-amz-content-sha256:$EMPTY" \
    "x-amz-date:$time" "x-amz-security-token:$SESSION" '' "$names" "$EMPTY")
  key=$(printf %s "AWS4$KEY" | od -An -v -tx1 | tr -d ' \n')
  for part in "$day" "$REGION" s3 aws4_request; do
    key=$(hmac "$key" "$part")
  done
  part=$(hmac "$key" "AWS4-HMAC-SHA256
$time
$scope
$(printf %s "$canonical" | sha256)")
  printf '%s\n' "x-amz-content-sha256: $EMPTY" "x-amz-date: $time" \
    "x-amz-security-token: $SESSION" \
    "Authorization: AWS4-HMAC-SHA256 Credential=$KEY_ID/$scope, SignedHeaders=$names, Signature=$part"
}

# get KEY FILE SHA256: an object of the stack's bucket, checked.
get() {
  credentials || return 1
  # Headers go through a pipe: arguments would show the session to every process.
  signed_headers "$S3_PATH/$1" "$(date -u +%Y%m%dT%H%M%SZ)" |
    curl -fsS --connect-timeout 5 --max-time 300 -H @- -o "$2.part" "$S3_URL$S3_PATH/$1" || return 1
  [ "$(sha256 <"$2.part")" = "$3" ] || return 1
  mv "$2.part" "$2"
}
