#!/bin/bash
# run.sh BUILD SECONDS [TARGET...] - runs fuzz targets, all unless some are named, two at a time: first
# the inputs in tests/fuzz/corpus, then made-up ones for so many seconds.
#
# FUZZ_SEED makes up the same inputs each time, as far as the time allows.
#
# Prints a line for each target and, last, how many held. New inputs are kept in BUILD/corpus/TARGET and
# tried first the next time; an input that something is wrong with is left in BUILD/crash-TARGET-*.
# Its exit status is 1 when there is one.
set -u
cd "$(dirname "$0")"
build=$1 seconds=$2
shift 2
[ $# -gt 0 ] || set -- $(ls fuzz_*.c | sed 's/^fuzz_\(.*\)\.c$/\1/')
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1

# run_one TARGET
run_one() {
    local target=$1 log=$build/$1.log corpus=$build/corpus/$1 options rc
    mkdir -p "$corpus"
    options=(-max_len=8192 -rss_limit_mb=1024 -timeout=20 -print_final_stats=1 -seed="${FUZZ_SEED:-0}"
        -artifact_prefix="$build/crash-$target-")
    [ ! -e "$target.dict" ] || options+=(-dict="$target.dict")
    "$build/fuzz/fuzz_$target" "${options[@]}" -runs=0 "corpus/$target" >"$log" 2>&1 &&
        "$build/fuzz/fuzz_$target" "${options[@]}" -max_total_time="$seconds" \
            "$corpus" "corpus/$target" >"$log" 2>&1
    rc=$?
    [ $rc -eq 0 ] || tail -n 40 "$log"
    printf 'fuzz/%-20s %s: %s executions, coverage %s\n' "$target" \
        "$([ $rc -eq 0 ] && echo passed || echo FAILED)" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$(sed -n 's/.*DONE *cov: \([0-9]*\).*/\1/p' "$log")"
    return $rc
}

results=$(mktemp)
trap 'rm -f "$results"' EXIT
for target; do
    [ "$(jobs -r -p | wc -l)" -lt 2 ] || wait -n
    { run_one "$target" && echo ok || echo bad; } | tee -a "$results" | grep -v '^\(ok\|bad\)$' &
done
wait
passed=$(grep -c '^ok$' "$results") failed=$(grep -c '^bad$' "$results")
echo "$passed $failed" >"$build/counts"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
