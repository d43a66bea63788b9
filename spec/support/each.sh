#!/bin/sh
# Runs cmocka test programs one after another: each.sh "COMMAND TO RUN THEM WITH" PROGRAM...
# All are run, whatever becomes of the first; the exit status tells whether every one ended well.
set -u
with=$1
shift
export CMOCKA_MESSAGE_OUTPUT=tap
bad=0
for program; do
    echo "#> $program"
    $with "$program"
    status=$?
    [ $status -eq 0 ] || { echo "# $program ended with status $status"; bad=1; }
done
exit $bad
