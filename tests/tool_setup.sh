#!/usr/bin/env bash
# What quickstart.sh and test.sh do where something is missing. Nothing is installed here. Usage: tool_setup.sh ROOT
set -u
cd "$1" || exit 1
. tests/tap.sh
. scripts/setup.sh

# set_up LIST [COMMAND]: in a shell of its own, after COMMAND
set_up() { (eval "${2:-}" && setup "$1") >"$dir/said" 2>&1; }

check 'what is there is found, without a word' sh -c '[ "$1" = 0 ] && [ ! -s "$2"/said ]' sh \
    "$(set_up 'command sh dash
header stdio.h libc6-dev' && echo $?)" "$dir"
missing='command osv-no-such-command no-such-package
library osv-no-such-library lib-no-such-dev
header osv-no-such.h lib-no-such-dev
command sh dash'
check 'packages, each once' test "$(missing_packages "$missing")" = 'lib-no-such-dev no-such-package'

set_up "$missing" 'apt-get() { echo "it was called"; exit 9; }; id() { echo 1000; }'
check 'without root: it fails' test $? = 1
check 'without root: one command for an administrator' says "$dir/said" \
    'apt-get update && apt-get install -y --no-install-recommends lib-no-such-dev no-such-package'
check 'without root: nothing is called' sh -c "! grep -q 'it was called' '$dir/said'"

# Another system: no apt-get in PATH, nor anything else that is not linked here.
mkdir "$dir/bin"
for tool in bash sh sort xargs echo id cat; do ln -s "$(type -P $tool)" "$dir/bin/"; done
set_up "$missing" "PATH=$dir/bin"
check 'elsewhere: it fails' test $? = 1
check 'elsewhere: names what to install' says "$dir/said" 'Missing (by their names in Debian): lib-no-such-dev no-such-package'
set_up 'command sh dash' 'meson() { echo 0.61.2; }'
check 'a meson that is too old is named' says "$dir/said" 'meson 0.61.2 is too old: 1.0.1 or newer'
finish
