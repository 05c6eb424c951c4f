#!/usr/bin/env bash
# 24 seeds of one example: one run of osv-train against 24 runs, end to end, loading and evaluation included.
# CSV on standard output: CPU seconds and wall seconds of both, and one over the other.
#     bench/packed.sh [OSV_TRAIN [MODEL [LAYER [ITERATIONS [THREADS [REPEATS]]]]]]
set -eu
train=${1:-build/tools/osv-train} model=${2:-random:llama-60m} layer=${3:-4} iters=${4:-20} threads=${5:-1} repeats=${6:-3}
train=$(realpath "$train")
if [ -d "$model" ]; then model=$(realpath "$model"); fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
awk 'function ids(n, i, s) { s = ""; for (i = 0; i < n; i++) { x = (x * 7919 + 13) % 499; s = s (i ? "," : "") x }; return "{\"ids\":[" s "]}" }
    BEGIN { x = 1; p = ids(48); printf "{\"prompt\":%s,\"promote\":[%s]}\n", p, ids(16) }' >data.jsonl
one() { # one OUT ARGUMENTS...
    local out=$1
    shift
    "$train" --model "$model" --data data.jsonl --layer "$layer" --max-iters "$iters" --plateau-iters 0 --threads "$threads" \
        --out "$out" --force --quiet "$@" >/dev/null
}
alone() { for seed in $(seq 0 23); do one alone --seed "$seed"; done; }
# timed COMMAND...: its CPU seconds and wall seconds
timed() {
    local TIMEFORMAT='%U %S %R'
    { time "$@" 2>errors >&2; } 2>times || { cat errors >&2 && return 1; }
    tail -n 1 times | awk '{ printf "%.2f,%.2f", $1 + $2, $3 }'
}
echo 'model,layer,iterations,threads,together_cpu,together_wall,alone_cpu,alone_wall,cpu_ratio,wall_ratio'
for _ in $(seq "$repeats"); do
    timed one together --seeds 0-23 >together.txt
    timed alone >alone.txt
    echo "$model,$layer,$iters,$threads,$(cat together.txt),$(cat alone.txt)" |
        awk -F, '{ printf "%s,%.3f,%.3f\n", $0, $5 / $7, $6 / $8 }'
done
