#!/bin/bash
# check.sh MAKE... - all tests: no warnings from gcc and clang, made-up input for all that is parsed, one
# round plain, one under sanitizers.
set -u
cd "$(dirname "$0")/.."
make=("$@" --no-print-directory)
jobs=-j$(nproc)
passed=0 failed=0 skipped=0

count() { passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0})); }

# step NAME COMMAND...: one test that is a command.
step() {
    local name=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        echo "$name: passed"
        count 1 0
    else
        cat "$log"
        echo "$name: failed"
        count 0 1
    fi
    rm -f "$log"
}

# round NAME VARIABLE...: builds quietly, then runs the tests.
round() {
    local name=$1 build=.build
    shift
    [ $# -eq 0 ] || build=.build-sanitize
    step "$name: builds without warnings" "${make[@]}" "$jobs" "$@" CFLAGS=-Werror all unit-tests faults
    rm -f $build/counts
    "${make[@]}" "$@" CFLAGS=-Werror test
    if [ -s $build/counts ]; then
        count $(cat $build/counts)
    else
        count 0 1
    fi
}

# fuzz SECONDS: runs the fuzz targets, each for so long.
fuzz() {
    rm -f .build-fuzz/counts
    FUZZ_SEED=1 tests/fuzz/run.sh "$PWD/.build-fuzz" "$1" # a check that passed passes again
    if [ -s .build-fuzz/counts ]; then
        count $(cat .build-fuzz/counts)
    else
        count 0 1
    fi
}

step "clang: builds without warnings" "${make[@]}" "$jobs" FUZZ=1 CFLAGS=-Werror all fuzz-targets
fuzz "${FUZZ_SECONDS:-10}"
step "cppcheck, gcc -fanalyzer: find nothing" tests/lint/lint.sh quick "${make[@]}"
round "gcc"
round "gcc with sanitizers" SANITIZE=1

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
