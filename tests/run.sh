#!/bin/bash
# run.sh UNIT_TEST... - runs unit tests and the system tests once, and says how many passed and failed.
#
# DLD_BUILD is where the programs are, DLD_SANITIZE is set where they were built with sanitizers. The numbers
# are left in $DLD_BUILD/counts for check.sh. The exit status is 1 where anything failed.
set -u
cd "$(dirname "$0")/.."
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0

# The number before a word in the last lines of pytest or cmocka; a test that crashes counts itself as failed.
for test; do
    "$test" >"$log" 2>&1
    rc=$?
    p=$(grep -c '^\[       OK \]' "$log")
    f=$(grep -c '^\[  FAILED  \] [a-z_0-9]*$' "$log")
    if [ $rc -ne 0 ] || [ "$p" -eq 0 ]; then
        [ "$f" -gt 0 ] || f=1
        cat "$log"
    fi
    printf '%-40s %s passed, %s failed\n' "unit/$(basename "$test")" "$p" "$f"
    passed=$((passed + p)) failed=$((failed + f))
done

"${PYTHON:-python3}" -m pytest -n 6 -q -rs -p no:cacheprovider tests/system 2>&1 | tee "$log"
rc=${PIPESTATUS[0]}
summary=$(tail -n 1 "$log")
number() { echo "$summary" | sed -nE "s/.*(^|[^0-9])([0-9]+) $1.*/\2/p"; }
p=$(number passed) f=$(number failed) e=$(number 'errors?') skipped=$(number skipped)
f=$((${f:-0} + ${e:-0}))
[ "$rc" -eq 0 ] || [ "$f" -gt 0 ] || f=1
passed=$((passed + ${p:-0})) failed=$((failed + f))

echo "$passed $failed ${skipped:-0}" >"$DLD_BUILD/counts"
echo "$passed passed, $failed failed, ${skipped:-0} skipped"
[ "$failed" -eq 0 ]
