#!/bin/sh
# Turns commands into TAP: checks.sh TITLE COMMAND [TITLE COMMAND]...
# Each command is one test, passed when it exits with 0; its output is shown when it does not.
set -u
echo "1..$(($# / 2))"
n=0 bad=0
while [ $# -gt 1 ]; do
    n=$((n + 1))
    if said=$(sh -c "$2" 2>&1); then
        echo "ok $n - $1"
    else
        echo "not ok $n - $1"
        printf '%s\n' "$said" | sed 's/^/# /'
        bad=1
    fi
    shift 2
done
exit $bad
