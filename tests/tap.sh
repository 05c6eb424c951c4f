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

# ---- for `check` ----

# says FILE TEXT...: all of the texts stand in the file
says() {
    local file=$1 text
    shift
    for text in "$@"; do
        grep -qaF -e "$text" "$file" ||
            { echo "$file does not say: $text" && tr -d '\0' <"$file" | head -c 2000 && return 1; }
    done
}
# ended STATUS: so did the last run, whose $status and file of errors $last the suite keeps
ended() { [ "$status" = "$1" ] || { echo "exit status $status, expected $1" && cat "$last" && return 1; }; }
# is EXPECTED ARGUMENTS...: the suite's `run` of these ends well and leaves this in the file `out`
is() {
    local expected=$1
    shift
    run "$@"
    [ "$status" = 0 ] && [ "$(cat out)" = "$expected" ] || { echo "exit status $status" && cat out err && return 1; }
}

finish() {
    echo "1..$count"
    [ $failures = 0 ]
    exit
}
