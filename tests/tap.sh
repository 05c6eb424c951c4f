# For suites in shell, sourced: TAP on standard output, one folder that is removed at the end. A suite calls `finish`
# last.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
count=0 failures=0

pass() { count=$((count + 1)) && echo "ok $count - $1"; }
fail() { # fail NAME WHY
    count=$((count + 1)) failures=$((failures + 1))
    echo "not ok $count - $1"
    printf '%s\n' "$2" | sed 's/^/# /'
}
skip() { count=$((count + 1)) && echo "ok $count - $1 # SKIP $2"; }

# check NAME COMMAND...: one test, passed if the command succeeds; what it prints is shown if not
check() {
    local name=$1
    shift
    if "$@" >"$dir/check.log" 2>&1; then pass "$name"; else fail "$name" "$* | $(cat "$dir/check.log")"; fi
}

finish() {
    echo "1..$count"
    [ $failures = 0 ]
    exit
}
