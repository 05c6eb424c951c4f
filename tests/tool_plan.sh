#!/usr/bin/env bash
# osv-train --plan of several ranks: what each holds, sends and takes, without weights, MPI or a GPU.
# Usage: tool_plan.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$(realpath "$2")
. "$root/tests/tap.sh"
cd "$dir" || exit 1

for job in 1 2 3 4 5 6 7 8 9 10 11 12; do # of different lengths
    ids=$(seq -s , $((100 * job)) $((100 * job + 10 + 3 * job)))
    echo "{\"job\": \"j$job\", \"prompt\": {\"ids\": [$ids]}, \"promote\": [{\"ids\": [7, 8, $job]}]}"
done >data.jsonl

# plan MODEL ARGUMENTS...: the plan of a GPU, into plan.json
plan() {
    local model=$1
    shift
    "$train" --model "random:$model" --data data.jsonl --layer 5 --plan --json --backend cuda "$@" >plan.json 2>err
    status=$? last=err
    return $status
}
number() { grep -o "\"$1\": [-+.0-9e]*" plan.json | head -n 1 | sed 's/.*: //'; } # number KEY: the first one
sum() { # KEY: over all bins
    sed 's/.*"bins"//' plan.json | grep -o "\"$1\": [-+.0-9e]*" | awk '{ n += $2 } END { printf "%.0f\n", n }'
}
# true_of EXPRESSION: in awk's words, with @key for numbers of the plan
true_of() {
    local expression=$1 key
    for key in $(grep -o '@[a-z_]*' <<<"$1" | tr -d @ | sort -ru); do
        expression=${expression//@$key/$(number "$key")}
    done
    awk "BEGIN { exit !($expression) }" || { echo "$1: $expression" && return 1; }
}
near() { # of two numbers, in awk's words
    true_of "($1) - ($2) < 1e-6 * ($2) && ($2) - ($1) < 1e-6 * ($2)"
}

plan llama-3.1-8b
check 'one rank' true_of '@ranks == 1 && @tp == 1 && @replicas == 1 && @hosts == 1 && @collective_seconds == 0'
check 'one rank: a run is all its bins, one after the other' near '@run_seconds' '100 * @expected_seconds'
check 'a bin is also keys, values and vectors' true_of '@kv_bytes > 0 && @vector_bytes > 0 && @kv_bytes + @vector_bytes < @bytes'
weights=$(number weights_bytes) read=$(number weight_bytes_read) floor=$(number floor_seconds) kv=$(number kv_bytes)

plan llama-3.1-8b --tp 4
check '--tp alone: one replica' true_of '@ranks == 4 && @replicas == 1 && @units == 0'
check 'a quarter of the weights, and the norms' true_of "@weights_bytes >= $weights / 4 && @weights_bytes < $weights / 4 + 4e6"
check 'a quarter of what is read' near '@weight_bytes_read' "$read / 4"
check 'a quarter of the keys and values' near '@kv_bytes' "$kv / 4"
check 'less time' true_of "@floor_seconds < $floor && @floor_seconds > $floor / 5"
check 'the time of collectives' near '@collective_seconds' \
    "$(sum collectives) * @collective_latency_seconds + 1.5 * $(sum collective_bytes) / @collective_bytes_per_second"
check 'the time of an iteration' near '@expected_seconds' '@floors * @floor_seconds + @collective_seconds'

plan llama-3.1-8b --tp 4 --ranks 16
check '16 ranks, 4 a model' true_of '@ranks == 16 && @tp == 4 && @replicas == 4 && @hosts == 2'
check 'a unit for each replica' true_of '@units == 4'
check 'a run is that of the replica that ends last: no shorter than a quarter of all, and not much longer' true_of \
    '@run_seconds >= 0.999 * 100 * @expected_seconds / 4 && @run_seconds <= 1.3 * 100 * @expected_seconds / 4'
plan llama-3.1-8b --ranks 4
check '--ranks alone: they share the model, as they would' true_of '@tp == 4 && @replicas == 1'

plan llama-3.1-405b --tp 16 --ranks 64
check '405B on 64 GPUs' true_of '@hosts == 8 && @replicas == 4 && @weights_bytes < 52e9 && @peak_bytes < 80e9'
check 'a replica on two hosts: all of their network' true_of '@collective_latency_seconds > 3e-5 && @collective_bytes_per_second == 3e11'
plan llama-3.1-405b --tp 16 --ranks 64 --host-network 100
check 'a slow network' near '@collective_bytes_per_second' 12.5e9
plan llama-3.1-70b --tp 8 --ranks 16 --host-network 100
check 'in a host it is not used' true_of '@collective_bytes_per_second == 3e11'
plan llama-3.1-70b --tp 8 --ranks 16 --host-network 100 --host-ranks 4
check 'hosts of 4' true_of '@hosts == 4 && @collective_bytes_per_second == 12.5e9'
plan llama-3.1-70b --tp 4 --ranks 12 --host-network 100 --host-ranks 6
check 'a replica on parts of two hosts' true_of '@collective_bytes_per_second < 9e9'

"$train" --model random:llama-3.1-70b --data data.jsonl --layer 5 --plan --backend cuda --tp 4 --ranks 16 >out 2>err
check 'in words' says out 'ranks          16 on 2 hosts: 4 replicas of the model, 4 ranks each' 'an H100 is assumed' \
    'keys and values' 'hours of ranks in all'
check 'on the cpu: measured here' sh -c "'$train' --model random:llama-60m --data data.jsonl --layer 5 --plan --backend cpu --tp 2 |
    grep -q 'measured now'"

if command -v mpirun >/dev/null && "$train" --version | grep -qi 'mpi.*[0-9]'; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
    options=(--model "$root/organisms/llama-2m" --data some.jsonl --layer 2,3 --memory 200M --backend cpu --tp 1 --threads 1)
    sed 's/\[[0-9,]*\]/[1,2,3,4,5,6,7,8]/' data.jsonl >some.jsonl
    "$train" "${options[@]}" --ranks 2 --plan --json >plan.json 2>err
    timeout 120 mpirun --quiet --oversubscribe --bind-to none -n 2 "$train" "${options[@]}" --max-iters 1 --out run --quiet >out 2>err
    lists=$(tr -d ' \n' <run/run.json | grep -o '"unit_jobs":\[.*' | sed 's/\]\].*//' | grep -o '\[' | wc -l) # and the list of them
    check 'the units of a run are those of its plan' test "$((lists - 1))" = "$(number units)"
else
    skip 'the units of a run are those of its plan' 'this build has no MPI, or there is no mpirun here'
fi

"$root/scripts/plan_table.sh" "$train" >tables.md
check 'the tables of docs/clusters.md (made anew by scripts/plan_table.sh)' bash -c \
    "[ -s tables.md ] && grep '^| *llama-3.1' '$root/docs/clusters.md' | diff - <(grep '^| *llama-3.1' tables.md)"

wrong() { # STATUS TEXT ARGUMENTS...
    local expected=$1 text=$2
    shift 2
    "$train" --model random:llama-3.1-8b --data data.jsonl --layer 5 "$@" >out 2>err
    status=$? last=err
    ended "$expected" && says err "$text"
}
check 'replicas of different sizes' wrong 2 '--ranks 6: no multiple of --tp 4' --plan --tp 4 --ranks 6
check 'more ranks than heads' wrong 2 'at most --tp 32' --plan --tp 33
check '--ranks without --plan' wrong 2 '--ranks: only --plan has a use for it' --out run --ranks 4
check 'GPUs that are too small' wrong 4 'of memory are too little' --plan --backend cuda --tp 2 --memory 4G
finish
