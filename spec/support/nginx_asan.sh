#!/bin/sh
# nginx with AddressSanitizer and LeakSanitizer below it: what RINGLINK_NGINX names in the suite nginx-asan.
#
# Each process that exits or crashes writes what was found to RINGLINK_SANITIZED/found.PID; nothing is
# written when there is nothing. The one that is started here only reads the configuration and hands over
# to the daemon: its Lua is not closed, so that all that Lua holds looks lost, and its leaks do not count.
# nginx's own leaks are suppressed (nginx_asan.supp).
set -u
here=$(cd "$(dirname "$0")" && pwd -P)
found=$RINGLINK_SANITIZED/found

LD_PRELOAD=$(gcc -print-file-name=libasan.so) \
ASAN_OPTIONS="detect_leaks=1:exitcode=0:malloc_context_size=40:log_path=$found" \
LSAN_OPTIONS="suppressions=$here/nginx_asan.supp:print_suppressions=0" \
UBSAN_OPTIONS=print_stacktrace=1 \
    nginx "$@" &
pid=$!
wait $pid
status=$?
grep -qs -e 'ERROR: AddressSanitizer' -e 'runtime error' "$found.$pid" || rm -f "$found.$pid"
case " $* " in *" -V "*) ;; *) echo "$pid" >>"$RINGLINK_SANITIZED/started" ;; esac
exit $status
