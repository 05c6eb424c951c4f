#!/usr/bin/env bash
# Builds everything in three ways and runs every test. Ends with one line, "N passed, N failed, N skipped", and
# exits 0 only if none failed.
#   build-test      gcc, and nvcc where it is, warnings are errors; all suites
#   build-sanitize  address and undefined behaviour sanitizers; all suites
#   build-clang     clang, warnings are errors; every parser is fuzzed for five seconds (tests/fuzz.sh does it longer)
# With --clusters it also installs Slurm and what else the tests of several nodes need, which are skipped where it is not.
set -u
cd "$(dirname "$0")" || exit 1
. scripts/setup.sh
case $* in
'') setup "$needed_to_build $needed_to_test" ;;
--clusters) setup "$needed_to_build $needed_to_test $needed_to_test_clusters" ;;
*) echo "$0 $*: there is --clusters, or nothing" && exit 2 ;;
esac

passed=0 failed=0 skipped=0
say() { printf '%s\n' "$*"; }
one() { # passed|failed|skipped TEXT: a test that is not in a suite
    case $1 in
    passed) passed=$((passed + 1)) ;;
    failed) failed=$((failed + 1)) && say "FAILED   $2" ;;
    skipped) skipped=$((skipped + 1)) && say "skipped  $2" ;;
    esac
}

# run_suites FOLDER [meson test option...]
run_suites() {
    local folder=$1 log=$1/meson-logs/testlog.txt counts
    shift
    rm -f "$log"
    CRITERION_OUTPUTS=tap:- UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0 \
        meson test -C "$folder" --no-rebuild "$@" >"$folder/meson-logs/run.txt" 2>&1 </dev/null
    if [ ! -f "$log" ]; then
        tail -n 20 "$folder/meson-logs/run.txt"
        one failed "$folder: its suites did not run"
        return
    fi
    counts=$(awk -f scripts/count.awk "$log")
    say "$counts" | head -n -1
    say "$folder: $(grep -c '^test: ' "$log") suites, log in $log"
    read -r p f s <<<"$(say "$counts" | tail -n 1)"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

say "== gcc"
if build build-test -Dwerror=true --buildtype=release; then
    one passed "gcc build"
    run_suites build-test
else
    one failed "gcc build"
fi

say "== sanitizers"
if build build-sanitize -Dcuda=disabled -Db_sanitize=address,undefined -Db_lundef=false --buildtype=debugoptimized; then
    one passed "sanitizer build"
    run_suites build-sanitize --no-suite plain
else
    one failed "sanitizer build"
fi

say "== clang"
if ! command -v clang >/dev/null; then
    one skipped "clang build: no clang here"
elif ! echo '#include <omp.h>' | clang -fopenmp -fsyntax-only -x c - 2>/dev/null; then
    one skipped "clang build: clang has no omp.h here (libomp-dev)"
elif CC=clang build build-clang -Dcuda=disabled -Dwerror=true; then
    one passed "clang build"
    if ! grep -q fuzz-targets build-clang/build.ninja; then
        one skipped "fuzzing: clang here has no libFuzzer"
    elif ninja -C build-clang fuzz-targets >build-clang/fuzz.log 2>&1 </dev/null; then
        run_suites build-clang --suite fuzz --num-processes 2
    else
        tail -n 20 build-clang/fuzz.log
        one failed "build of the fuzz targets"
    fi
else
    one failed "clang build"
fi

say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
