#!/usr/bin/env bash
# How fast training on a CPU is: beside what the machine allows, and beside PyTorch. A table with targets on standard
# output, and all that was measured in a file; README.md says what the lines mean.
#     bench/peers.sh [--models NAME,..] [--rounds N] [--csv FILE] [--quick] [BUILD]
# The models are random, made here. osv and its peer take turns, and of --rounds rounds the best one counts. PyTorch
# (PYTHON names another python3) may be missing.
set -eu
models=llama-60m,qwen2.5-0.5b,gemma2-0.4b rounds=5 csv=peers.csv quick="" build=build iterations=3
usage() { echo "usage: bench/peers.sh [--models NAME,..] [--rounds N] [--csv FILE] [--quick] [BUILD]" >&2 && exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
    --models) models=${2:?} && shift ;;
    --rounds) rounds=${2:?} && shift ;;
    --csv) csv=${2:?} && shift ;;
    --quick) quick=--quick iterations=1 ;;
    -*) usage ;;
    *) build=$1 ;;
    esac
    shift
done
[ -x "$build/bench/bench-step" ] || usage
export OMP_WAIT_POLICY=passive
PYTHON=${PYTHON:-python3}
here=$(dirname "$0")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
rows=$dir/rows.csv

# ---- what is measured: a row each ----

# row MODEL MEASURED ROUND VALUE BESIDE HOW: BESIDE is what the machine allows
row() { echo "$1,$2,$3,$4,$5,$(cut -d ' ' -f 1 /proc/loadavg),$6" >>"$rows"; }

# columns FILE NAME..: the last row of a table, these columns, by their names
columns() {
    awk -F, -v names="${*:2}" '
        /^#/ || /^$/ { next }
        !header { header = NF; for (i = 1; i <= NF; i++) at[$i] = i; next }
        { row = $0 }
        END { split(row, value, ","); n = split(names, name, " "); for (i = 1; i <= n; i++) printf "%s ", value[at[name[i]]] }' "$1"
}

# osv MODEL MEASURED ROUND COLUMNS PROGRAM ARGUMENTS..: two columns of what a program says
osv() {
    local model=$1 measured=$2 round=$3 names=$4 program=$5 value beside
    shift 5
    # shellcheck disable=SC2086
    "$build/bench/$program" $quick --backend cpu --model "$model" "$@" >"$dir/osv.csv" </dev/null
    # shellcheck disable=SC2086
    read -r value beside <<<"$(columns "$dir/osv.csv" $names)"
    row "$model" "$measured" "$round" "$value" "$beside" ''
}
step='seconds_min floor_seconds' generate='step_seconds_median bandwidth_floor_seconds'

# memory MODEL: the peak of a whole run of osv-train, and the bytes of the weights
memory() {
    local peak weights
    awk 'function ids(n, i, s) { for (i = 0; i < n; i++) s = s (i ? "," : "") (i * 7919 + 13) % 30000; return "{\"ids\":[" s "]}" }
        BEGIN { printf "{\"prompt\":%s,\"promote\":[%s]}\n", ids(48), ids(16) }' >"$dir/data.jsonl"
    "$build/tools/osv-train" --model "random:$1" --data "$dir/data.jsonl" --layer 4 --max-iters 2 --threads 1 --backend cpu \
        --out "$dir/run" --force --quiet --json >"$dir/run.json"
    peak=$(grep -o '"host_peak_bytes": [0-9]*' "$dir/run.json" | grep -o '[0-9]*$')
    weights=$(grep -o '"weights_bytes": [0-9]*' "$dir/shape.json" | grep -o '[0-9]*$')
    row "$1" memory 1 "$peak" "$weights" ''
}

# peer_start, peer MODEL WAY ARITHMETIC ROUND, peer_end: peer.py waits for its turns
peer_start() {
    mkfifo "$dir/ask" "$dir/answer"
    # shellcheck disable=SC2086
    "$PYTHON" "$here/peer.py" $quick "$dir/shape.json" <"$dir/ask" >"$dir/answer" 2>"$dir/peer.log" &
    exec 3>"$dir/ask" 4<"$dir/answer"
    rm "$dir/ask" "$dir/answer"
    peer_says
}
peer_says() { read -r seconds how <&4 || { cat "$dir/peer.log" >&2 && exit 1; }; }
peer() {
    local seconds how
    echo "$2 $3 $iterations" >&3
    peer_says
    row "$1" "$2 $3" "$4" "$seconds" '' "$how"
}
peer_end() {
    exec 3>&- 4<&-
    wait $!
}

# ---- the table ----

# table ROWS: what was measured beside its targets
table() {
    awk -F, '
        BEGIN {
            OFS = ","
            split("llama-60m qwen2.5-0.5b gemma2-0.4b", shape, " ")
            split("7 8.5 6", eager, " ")
            split("3 3.8 2.7", frozen, " ")
            for (i in shape) {
                target[shape[i], "eager f32"] = eager[i]
                target[shape[i], "frozen f32"] = frozen[i]
                target[shape[i], "best f32"] = 1.6
            }
            print "model,line,value,beside,ratio,spread,load,target,result"
        }
        NR == 1 { next }
        {
            key = $1 FS $2
            if (!(key in least)) { line[++lines] = key; least[key] = most[key] = $4; beside[key] = $5 }
            if ($4 + 0 < least[key] + 0) least[key] = $4
            if ($4 + 0 > most[key] + 0) most[key] = $4
            if ($5 + 0 < beside[key] + 0) beside[key] = $5
            if ($6 + 0 > load[key] + 0) load[key] = $6
            how[key] = $7
        }
        function print_line(text, value, beside, ratio, target, low, quiet) {
            result = target == "" ? "" : !(low ? ratio <= target : ratio >= target) ? "missed" : "met"
            if (quiet && result == "missed" && load[key] > 2.5) result = "busy" # the second thread was not alone
            print model, text, value, beside, sprintf("%.3g", ratio), sprintf("%.0f%%", 100 * (most[key] / least[key] - 1)),
                load[key], (target == "" ? "" : (low ? "<= " : ">= ") target), result
        }
        END {
            for (i = 1; i <= lines; i++) {
                key = line[i]
                split(key, part, FS)
                model = part[1]
                measured = part[2]
                value = least[key]
                step = least[model FS "step"]
                if (measured == "step") print_line("iteration / floor", value, beside[key], value / beside[key], 1.35, 1)
                else if (measured == "packed 8") print_line("8 packed / floor", value, beside[key], value / beside[key], 1.25, 1)
                else if (measured == "generate") print_line("generate: of bandwidth", value, beside[key], beside[key] / value, 0.85, 0)
                else if (measured == "two threads") print_line("two threads against one", value, step, step / value, 1.7, 0, 1)
                else if (measured == "memory") {
                    most_bytes = 1.1 * beside[key] + 64e6
                    print_line("memory / (1.1 weights + 64 MB)", value, most_bytes, value / most_bytes, 1, 1)
                } else
                    print_line("against " measured (how[key] == "" ? "" : " " how[key]), value, step, value / step, target[model, measured], 0)
            }
        }' "$1"
}

# ---- all of it ----

echo 'model,measured,round,value,beside,load,how' >"$rows"
torch=
if "$PYTHON" -c 'import torch, transformers' 2>/dev/null; then
    torch=$("$PYTHON" -c 'import torch, transformers; print(f"PyTorch {torch.__version__}, transformers {transformers.__version__}")')
else
    echo "peers.sh: $PYTHON has no torch and transformers (tests/golden/requirements.txt): no lines against PyTorch" >&2
fi
for model in ${models//,/ }; do
    "$build/tools/osv-inspect" --json "random:$model" >"$dir/shape.json"
    [ -z "$torch" ] || peer_start
    for round in $(seq "$rounds"); do
        osv "$model" step "$round" "$step" bench-step --threads 1 --iterations 6
        for way in ${torch:+eager frozen best}; do
            peer "$model" "$way" f32 "$round"
            peer "$model" "$way" bf16 "$round"
        done
        osv "$model" 'packed 8' "$round" "$step" bench-step --threads 1 --iterations 3 --jobs 8
        osv "$model" generate "$round" "$generate" bench-generate --threads 1 --batch 1
        osv "$model" 'two threads' "$round" "$step" bench-step --threads 2 --iterations 6
        echo "peers.sh: $model: round $round of $rounds" >&2
    done
    [ -z "$torch" ] || peer_end
    memory "$model"
done
{
    grep -e '^# program' -e '^# hardware' -e '^# date' "$dir/osv.csv"
    sed -n 's/^# backend: .*, BLAS /# BLAS: /p' "$dir/osv.csv"
    echo "# peer: ${torch:-none}"
} | sed 's/^# program: bench-step/# program: peers.sh, bench-step/' >"$dir/head"
table "$rows" >"$dir/table"
{ cat "$dir/head" "$dir/table" && echo && cat "$rows"; } >"$csv"
cat "$dir/head"
awk -F, '{ printf "%-13s %-31s %12s %12s %6s %7s %5s %8s  %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9 }' "$dir/table"
