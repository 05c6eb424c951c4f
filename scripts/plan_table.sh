#!/usr/bin/env bash
# The tables of docs/clusters.md: what osv-train --plan expects of the shapes of Llama 3.1 on 1 to 64 GPUs.
# Usage: plan_table.sh OSV_TRAIN
set -eu
train=$1 vectors=256 memory=72G
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
ids() { seq -s , "$1" "$2"; }
echo "{\"prompt\": {\"ids\": [$(ids 1000 1047)]}, \"promote\": [{\"ids\": [$(ids 2000 2015)]}]}" >"$dir/data.jsonl"

# plan MODEL BLOCK TP RANKS: fails where it does not fit
plan() {
    "$train" --model "random:$1" --data "$dir/data.jsonl" --layer "$2" --seeds 0-$((vectors - 1)) --plan --json \
        --backend cuda --memory $memory --tp "$3" --ranks "$4" >"$dir/plan.json" 2>"$dir/err" && return
    grep -q 'of memory are too little\|of memory beside the weights\|cannot share' "$dir/err" || { cat "$dir/err" >&2 && exit 1; }
    return 1
}
number() { grep -o "\"$1\": [-+.0-9e]*" "$dir/plan.json" | head -n 1 | sed 's/.*: //'; }
row() { printf '|'; printf ' %s |' "$@"; echo; }
math() { awk "BEGIN { printf \"$1\", $2 }"; }

models='llama-3.1-8b:16 llama-3.1-70b:40 llama-3.1-405b:63'
row model --tp 'weights, GB' 'with the largest bin, GB' 'vectors in it' 'iteration of it, s' 'of that collectives'
row --- --- --- --- --- --- ---
for model in $models; do
    for tp in 1 2 4 8 16 32; do
        plan "${model%:*}" "${model#*:}" $tp $tp || continue
        bin=$(sed 's/.*"bins": \[{//; s/}.*//' "$dir/plan.json")
        of_bin() { grep -o "\"$1\": [-+.0-9e]*" <<<"$bin" | sed 's/.*: //'; }
        seconds="($(number floors) * $(of_bin floor_seconds) + $(of_bin collective_seconds))"
        row "${model%:*}" $tp "$(math %.0f "$(number weights_bytes) / 1e9")" "$(math %.0f "$(number peak_bytes) / 1e9")" \
            "$(of_bin jobs)" "$(math %.3f "$seconds")" "$(math '%.0f %%' "100 * $(of_bin collective_seconds) / $seconds")"
    done
done
echo
row model GPUs '--tp 1' 2 4 8 16 32
row --- --- --- --- --- --- --- ---
for model in $models; do
    for ranks in 1 2 4 8 16 32 64; do
        cells=()
        for tp in 1 2 4 8 16 32; do
            if [ $tp -le $ranks ] && plan "${model%:*}" "${model#*:}" $tp $ranks; then
                cells+=("$(math %.3g "$(number run_seconds)")")
            else
                cells+=('')
            fi
        done
        [ -z "$(printf %s "${cells[@]}")" ] || row "${model%:*}" $ranks "${cells[@]}"
    done
done
