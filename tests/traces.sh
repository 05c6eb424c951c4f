# For suites in shell that compare runs and wait for them, sourced behind tap.sh.

# numbers FILE: those of a trace, one a line
numbers() { grep -o '[-0-9][-+.0-9e]*' "$1"; }
# near FILE FILE: the same count of numbers, at most 1e-4 apart (of themselves; a gradient's norm is, too)
near() {
    [ "$(sed 's/[-0-9][-+.0-9e]*/#/g' "$1")" = "$(sed 's/[-0-9][-+.0-9e]*/#/g' "$2")" ] ||
        { echo 'other lines' && diff "$1" "$2" && return 1; }
    paste <(numbers "$1") <(numbers "$2") | awk '
        { d = $1 - $2; a = $2 < 0 ? -$2 : $2; if (!(d <= 1e-4 * a && -d <= 1e-4 * a)) { print $1, $2; bad = 1 } }
        END { exit bad || NR < 20 }'
}
# lines FILE: how many there are; none where there is no file
lines() { wc -l 2>/dev/null <"$1" || echo 0; }
until_lines() { # FILE COUNT: of a trace
    for _ in $(seq 600); do
        [ "$(lines "$1")" -ge "$2" ] && return
        sleep 0.1
    done
    echo "$1 has $(lines "$1") lines"
    return 1
}
# same_files FOLDER FOLDER: of two runs; but those that tell the memory that was free
same_files() { diff -r -x run.json -x checkpoint.safetensors "$1" "$2"; }
