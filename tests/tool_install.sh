#!/usr/bin/env bash
# `meson install` into an empty folder: the tool runs from there, and a program that includes every public header
# builds against the library through its pkg-config file. Usage: tool_install.sh BUILD_FOLDER ROOT
set -u
build=$1
. "$2/tests/tap.sh"

check 'install' env DESTDIR="$dir" meson install -C "$build" --no-rebuild
pc=$(find "$dir" -name osv.pc)
lib=$(dirname "$(find "$dir" -name libosv.so)")
for tool in osv-train osv-generate osv-eval osv-vector osv-inspect; do
    check "the installed $tool runs" env LD_LIBRARY_PATH="$lib" "$(find "$dir" -path "*/bin/$tool")" --version
done

flags=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$dir$(sed -n s/^prefix=//p "$pc")" --cflags --libs osv)
headers=$(cd "$dir" && find . -path '*/include/osv/*.h' | sed 's|.*/include/osv/||' | sort)
{
    for header in $headers; do echo "#include <$header>"; done
    echo 'int main(void) { return osv_job_defaults().max_iters == 100 ? 0 : 1; }'
} >"$dir/user.c"
# shellcheck disable=SC2086  # flags are several words
check "a program with all $(echo "$headers" | wc -l) headers" \
    sh -c "cc -std=c17 -Wall -Werror '$dir/user.c' -o '$dir/user' $flags && LD_LIBRARY_PATH='$lib' '$dir/user'"
finish
