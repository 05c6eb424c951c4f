#!/usr/bin/env bash
# Every C file as .clang-format says, and no fault that shellcheck knows in the scripts for clusters. Usage: format.sh ROOT
set -u
cd "$1" || exit 1
. tests/tap.sh
tool=
for name in clang-format-14 clang-format; do
    if [ -z "$tool" ] && command -v $name >/dev/null; then tool=$name; fi
done
# Build folders of any name are passed over: they hold files that meson made.
files=$(find kernels engine loader optim tools tests bench -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' | sort)
if [ -z "$tool" ]; then
    skip format 'no clang-format here'
elif [ "$($tool --version | sed 's/.*version \([0-9]*\).*/\1/')" != 14 ]; then
    skip format "the layout is that of clang-format 14, here is $($tool --version)"
else
    check format $tool --dry-run --Werror $files
fi
if command -v shellcheck >/dev/null; then
    check shellcheck shellcheck scripts/slurm/*.sh
else
    skip shellcheck 'no shellcheck here'
fi
finish
