#!/bin/sh
# Runs a command whose nginx is nginx_asan.sh, and then says, as TAP, what its processes have found:
# sanitized.sh COMMAND...
set -u
RINGLINK_SANITIZED=$(mktemp -d) || exit 1
chmod 777 "$RINGLINK_SANITIZED"      # workers that are not root write there too
RINGLINK_NGINX=$(cd "$(dirname "$0")" && pwd -P)/nginx_asan.sh
export RINGLINK_SANITIZED RINGLINK_NGINX
trap 'rm -rf "$RINGLINK_SANITIZED"' EXIT
trap 'exit 130' HUP INT TERM

"$@"
status=$?

started=$(sort -u "$RINGLINK_SANITIZED/started" 2>/dev/null | wc -l)
name="$started times nginx: its processes lost no byte and touched none that was not theirs"
if [ "$started" -gt 0 ] && ! ls "$RINGLINK_SANITIZED" | grep -q '^found'; then
    echo "ok 1 - $name"
else
    echo "not ok 1 - $name"
    cat "$RINGLINK_SANITIZED"/found.* 2>/dev/null | sed 's/^/# /'
    status=1
fi
echo 1..1
exit $status
