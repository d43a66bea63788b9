#!/bin/sh
# Adds up what the named suites counted (see suite.sh); the last line is `N passed, N failed`.
# A suite without a count did not run (it could not be compiled, say): that is a failure.
# The last line is kept in .build/test/total too.
set -u
passed=0 failed=0
mkdir -p .build/test

echo
for name; do
    if read -r p f 2>/dev/null <".build/test/$name.counts"; then
        printf '%-14s %5d passed, %d failed\n' "$name" "$p" "$f"
    else
        p=0 f=1
        printf '%-14s did not run\n' "$name"
    fi
    passed=$((passed + p)) failed=$((failed + f))
done
echo "$passed passed, $failed failed" | tee .build/test/total
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
