#!/bin/sh
# Runs all test suites and adds up: run.sh "MAKE COMMAND" JOBS SUITE...
#
# Temporary files go to a directory of the run's own, the databases of the suite `sqlite` to one in
# memory where there is such a place: its thousands of syncs to a disk would prove nothing. When the
# suites are over, the suite `secrets` searches both, their logs and whatever else they wrote for the
# secrets that were planted.
set -u
make=$1 jobs=$2
shift 2

TMPDIR=$(mktemp -d) || exit 1
chmod 711 "$TMPDIR"                  # workers of nginx that are not root go through it
RINGLINK_SPEC_DATABASES=$(mktemp -d /dev/shm/ringlink-spec.XXXXXX 2>/dev/null || echo "$TMPDIR")
export TMPDIR RINGLINK_SPEC_DATABASES
trap 'rm -rf "$TMPDIR" "$RINGLINK_SPEC_DATABASES"' EXIT
trap 'exit 130' HUP INT TERM

rm -f .build/test/*.counts .build/test/leaks
$make -k "-j$jobs" -Otarget $(printf 'test-%s ' "$@")
$make test-secrets LEFTOVERS="$TMPDIR $RINGLINK_SPEC_DATABASES"
spec/support/tally.sh "$@" secrets
