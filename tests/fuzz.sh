#!/usr/bin/env bash
# Fuzzes every parser for a while: builds the targets with clang in build-fuzz and runs one after the other, from the
# committed seeds and what earlier runs have found (build-fuzz/corpus). Says a line for each; exits 0 if nothing was found.
# Usage: tests/fuzz.sh [SECONDS a target, default 600] [TARGET...]
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-600}
[ $# = 0 ] || shift
case $seconds in '' | *[!0-9]* | 0) echo "usage: tests/fuzz.sh [SECONDS] [TARGET...]" >&2 && exit 2 ;; esac
if ! command -v clang >/dev/null; then
    echo "skipped: no clang here"
    exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { { [ -f build-fuzz/build.ninja ] || CC=clang CXX=clang++ meson setup build-fuzz -Dcuda=disabled -Dfuzz=true \
    --buildtype=debugoptimized; } && ninja -C build-fuzz fuzz-targets; } >"$log" 2>&1 </dev/null; then
    grep -q 'needs clang with libFuzzer' "$log" && echo 'skipped: clang here has no libFuzzer' && exit 0
    tail -n 20 "$log"
    exit 1
fi
failed=0
while read -r name seeds; do
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    mkdir -p "build-fuzz/corpus/$name"
    bash tests/fuzz/run.sh "$name" "build-fuzz/tests/fuzz/fuzz-$name" "$seconds" build-fuzz -max_len=4096 -timeout=20 \
        -rss_limit_mb=4096 -dict="tests/fuzz/$name.dict" -seed_inputs="$seeds" "build-fuzz/corpus/$name" |
        sed '/^1\.\.1$/d; s/^ok 1 - //; s/^not ok 1 - //'
    [ "${PIPESTATUS[0]}" = 0 ] || failed=1
done <build-fuzz/tests/fuzz/seeds.txt
exit $failed
