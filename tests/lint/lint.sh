#!/bin/bash
# lint.sh MAKE... - what tools that read the source find: cppcheck, gcc -fanalyzer and clang-tidy (.clang-tidy says
# what it looks for and what not). Prints what they found, and exits with 1 where that is anything.
#
# lint.sh quick MAKE... - the first two, which take seconds; clang-tidy takes minutes.
set -u
cd "$(dirname "$0")/../.."

# It does not know __attribute__((cleanup)), so that leaks are for LeakSanitizer and valgrind to find; and it stumbles
# over TAKE_PTR() in an initializer of job_json.c.
cpp_check() {
    cppcheck --quiet --error-exitcode=1 --inline-suppr -j "$(nproc)" --std=c11 -D_GNU_SOURCE -I. \
        --enable=warning,performance,portability --library=tests/lint/cppcheck.cfg \
        --suppress=memleak --suppress=internalAstError:daemon/job_json.c \
        --template='{file}:{line}: {id}: {message}' common daemon client tests
}

# Into a folder of its own, so that all is looked at. Without optimization, and giving up early, for else gcc 12 comes to
# no end of some files. Left out is where it is nearly always mistaken: for it what is put into a list or table is lost,
# what is copied byte by byte has no value, and buf_head() of a buffer that isn't empty may be NULL.
gcc_analyzer() {
    local flags="-O0 -U_FORTIFY_SOURCE -Werror -fanalyzer --param analyzer-bb-explosion-factor=1"
    flags+=" -Wno-analyzer-malloc-leak -Wno-analyzer-use-of-uninitialized-value -Wno-analyzer-null-argument"
    "$@" -s --no-print-directory -j "$(nproc)" CC=gcc BUILD=.build-lint CFLAGS="$flags" all
}

# One file at a time: given several, clang-tidy 14 takes the va_list of one for that of another.
clang_tidy() {
    find common daemon client tests/fuzz tests/bench -name '*.c' -print0 |
        xargs -0 -P "$(nproc)" -n 1 sh -c 'clang-tidy --quiet "$@" -- -std=gnu11 -D_GNU_SOURCE -I. 2>/dev/null' sh
}

tools=(cpp_check gcc_analyzer clang_tidy) failed=0
if [ "$1" = quick ]; then
    shift
    unset 'tools[2]'
fi
for tool in "${tools[@]}"; do
    if "$tool" "$@"; then
        echo "$tool: nothing found"
    else
        failed=1
    fi
done
rm -rf .build-lint
exit $failed
