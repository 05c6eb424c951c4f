#!/usr/bin/env bash
# What --plan predicts against what a run takes; --memory decides how jobs are packed, not what becomes of them.
# Usage: tool_memory.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$(realpath "$2")
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites
model=$root/organisms/llama-2m

# datapoints JOBS PROMPT COMPLETION: of token ids that any vocabulary has, one job a line
datapoints() {
    awk -v jobs="$1" -v prompt="$2" -v completion="$3" 'function ids(n, i, s) {
            s = ""
            for (i = 0; i < n; i++) { x = (x * 7919 + 13) % 499; s = s (i ? "," : "") x }
            return "{\"ids\":[" s "]}"
        }
        BEGIN {
            x = 1
            for (j = 0; j < jobs; j++)
                printf "{\"job\":\"j%d\",\"prompt\":%s,\"promote\":[%s]}\n", j, ids(prompt), ids(completion)
        }'
}
number() { grep -o "\"$1\": [0-9.]*" "$2" | head -n 1 | grep -o '[0-9.]*$'; } # number KEY FILE: the first value of a JSON key
near() { awk -v a="$1" -v b="$2" -v most="$3" 'BEGIN { d = (a - b) / b; exit !(d <= most && -d <= most) }' ||
    { echo "$1 against $2, more than $3 apart" && return 1; }; }

# ---- predicted and measured ----

# predicted MODEL LAYER FILE
predicted() {
    local name="${1##*/}, $(wc -l <"$3") job(s)"
    "$train" --model "$1" --layer "$2" --data "$3" --plan --json >plan.json 2>plan.err || cat plan.err
    "$train" --model "$1" --layer "$2" --data "$3" --threads 1 --max-iters 2 --out run --force --quiet --json >run.json || return
    check "$name: the memory of a run within 5 % of its plan" near "$(number peak_bytes plan.json)" \
        "$(number host_peak_bytes run.json)" 0.05
}
datapoints 1 48 16 >one.jsonl
datapoints 6 150 50 >some.jsonl
predicted "$model" 1 some.jsonl
predicted random:llama-60m 4 one.jsonl
predicted random:llama-60m 4 some.jsonl
predicted random:gemma2-0.4b 6 one.jsonl

# ---- without weights, without a device ----

"$train" --model random:llama-3.1-405b --layer 60 --data one.jsonl --plan --backend cuda --memory 1000G >plan.out 2>plan.err
check 'a plan needs neither weights nor a GPU' grep -q 'backend  *cuda, bf16' plan.out
"$train" --model random:llama-3.1-405b --layer 60 --data one.jsonl --plan --backend cuda --memory 80G >plan.out 2>plan.err
check 'what does not fit is said' test $? = 4
check '... with the sizes' grep -q 'of memory are too little: the weights take 811.7 GB' plan.err
datapoints 1000 48 16 >thousand.jsonl
start=$(date +%s%N)
"$train" --model random:llama-3.1-8b --layer 16 --data thousand.jsonl --plan --backend cuda --memory 24G --json >plan.json
took=$((($(date +%s%N) - start) / 1000000))
check '1,000 jobs are planned' test "$(number jobs plan.json)" = 1000
if [ $took -lt 5000 ]; then pass "... in $took ms"; else fail 'quickly' "$took ms"; fi

# ---- bins ----

bins() { # bins MEMORY: the numbers of jobs of each bin, and of blocks that are computed again
    "$train" --model "$model" --layer 1 --data some.jsonl --plan --memory "$1" | awk 'NR > 2 && $1 ~ /^[0-9]+$/ { print $2, $9 }'
}
check 'one bin where there is room' test "$(bins 1G)" = '6 0'
check 'several where there is not' test "$(bins 30M | wc -l)" -gt 1
check 'a size that is none' test "$("$train" --model "$model" --layer 1 --data some.jsonl --plan --memory lots 2>&1 | head -n 1)" = \
    'osv-train: --memory lots: must be a size such as 500M or 20G'
"$train" --model "$model" --layer 1 --data some.jsonl --out tight --memory 30M --max-iters 4 --quiet >/dev/null
"$train" --model "$model" --layer 1 --data some.jsonl --out wide --max-iters 4 --quiet >/dev/null
losses() { grep '"final": true' "$1/trace.jsonl" | sort | sed 's/.*"loss": \([0-9.]*\).*/\1/'; }
same_losses() { paste <(losses tight) <(losses wide) | awk '{ d = ($1 - $2) / $2; if (!(d < 1e-4 && -d < 1e-4)) exit 1 } END { exit NR != 6 }'; }
check 'and the losses are the same' same_losses
check 'the memory is in run.json' grep -q '"limit_bytes": 31457280' tight/run.json
finish
