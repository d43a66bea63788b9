#!/bin/sh
# Runs one test suite: suite.sh NAME TITLE COMMAND...
#
# The command speaks TAP (`1..N`, `ok 1 - x`, `not ok 2 - y`); several TAP streams one after another
# are fine. Everything it prints goes to .build/test/NAME.log, the numbers to NAME.counts for
# tally.sh. A suite that ends badly without naming a failed test, or reports fewer tests than
# it planned, or none at all, counts as one failure more: silence is never success.
set -u
name=$1 title=$2
shift 2

dir=.build/test
log=$dir/$name.log
limit_s=${RINGLINK_SUITE_LIMIT_S:-600}
mkdir -p "$dir"

ulimit -c 0 # a core dump would hold whatever secrets the process held
began_s=$(date +%s)
timeout --foreground --kill-after=10 "$limit_s" "$@" >"$log" 2>&1 </dev/null
status=$?
took_s=$(($(date +%s) - began_s))

# cmocka indents its TAP by a tab and ends a group with an unnumbered line.
counts=$(awk '
    { sub(/^[ \t]+/, "") }
    /^1\.\.[0-9]+/               { planned += substr($1, 4); next }
    /^(not )?ok [0-9]+.*# SKIP/  { skipped++; next }
    /^ok [0-9]+/                 { passed++ }
    /^not ok [0-9]+/             { failed++ }
    END { print passed + 0, failed + 0, skipped + 0, planned + 0 }' "$log")
read -r passed failed skipped planned <<END
$counts
END

trouble=
if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    trouble="stopped after $limit_s s"
elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    trouble="ended with status $status"
elif [ $((passed + failed + skipped)) -ne "$planned" ]; then
    trouble="$planned tests were planned, $((passed + failed + skipped)) reported"
elif [ $((passed + failed)) -eq 0 ]; then
    trouble="no test ran"
fi
[ -z "$trouble" ] || failed=$((failed + 1))
echo "$passed $failed" >"$dir/$name.counts"

echo "== $title ($name)"
if [ "$failed" -gt 0 ]; then
    # What was printed since the last passed test, or `#>` (a test begins), belongs to what follows.
    awk '
        /^[ \t]*ok [0-9]+/     { kept = ""; failing = 0; next }
        /^#> /                 { kept = $0 "\n"; failing = 0; next }
        /^[ \t]*not ok [0-9]+/ { printf "%s%s\n", kept, $0; kept = ""; failing = 1; next }
        failing                { print; next }
                               { kept = kept $0 "\n" }
        END                    { printf "%s", kept }' "$log"
    [ -z "$trouble" ] || echo "the suite: $trouble"
    echo "whole output: $log"
fi
printf '   %s passed, %s failed' "$passed" "$failed"
[ "$skipped" -eq 0 ] || printf ', %s skipped' "$skipped"
echo "   [$took_s s]"
sed -n 's/^#: skipped: /   skipped: /p' "$log" | sort -u
[ "$failed" -eq 0 ]
