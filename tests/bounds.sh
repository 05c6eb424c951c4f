#!/usr/bin/env bash
# Bounds on losses of the shipped models. The second phase, at the settings that organisms/measure.py chose: vectors of all
# phenomena are shorter by a fifth on average, and no completion has a higher loss than before. Anchors: what the model
# says to other prompts stays within --anchor-bound, for a loss that is little higher. Usage: bounds.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$2
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites

# Of a trace: the first line of the second phase, and the last.
lines() { grep -m 1 '"phase": 2' "$1" && tail -n 1 "$1"; }
norms() { lines "$1" | sed 's/.*"norm": \([^,]*\),.*/\1/' | xargs; }
no_higher() {
    lines "$1" | sed 's/.*"losses": \[\([^]]*\)\].*/\1/' | tr -d , |
        awk 'NR == 1 { split($0, before) } NR == 2 { for (i = 1; i <= NF; i++) if (!($i <= before[i] + 2e-6)) exit 1; found = 1 }
             END { exit !found }' || { lines "$1" && return 1; }
}

while IFS=, read -r model direction layer _ norm _; do
    name="$model, $direction"
    head -n 1 "$root/organisms/sets/$direction/train.jsonl" >train.jsonl
    of() { awk "BEGIN { print $norm / $1 }"; }
    check "$name: trains" "$train" --model "$root/organisms/$model" --data train.jsonl --layer "$layer" --max-norm "$norm" \
        --lr "$(of 100)" --init-norm "$(of 20)" --max-iters 60 --min-norm 200 --min-norm-lr "$(of 200)" \
        --out run --force --quiet
    check "$name: no loss is higher" no_higher run/trace.jsonl
    norms run/trace.jsonl >>norms
done < <(tail -n +2 "$root/organisms/results/settings.csv")
check 'all of them' test "$(wc -l <norms)" = 12
check 'shorter by a fifth on average, each by a twentieth' \
    awk '{ x = 1 - $2 / $1; sum += x; if (!(x >= 0.05)) exit 1 } END { print sum / NR; exit !(sum / NR >= 0.2) }' norms

# ---- anchors ----

head -n 1 "$root/organisms/sets/refusal-answer/train.jsonl" | sed 's/"job": "1", //' >anchored.jsonl
for line in 3 30 60; do
    sed -n "${line}p" "$root/organisms/sets/refusal-answer/control.jsonl" |
        sed 's/, "before": .*/, "anchor": ["Sure"]}/' >>anchored.jsonl
done
anchored() { # anchored NAME OPTION...: loss and the largest KL, in NAME.end
    local name=$1
    shift
    check "anchors, $*: trains" "$train" --model "$root/organisms/llama-2m" --data anchored.jsonl --layer 3 --max-norm 25 --lr 0.25 \
        --init-norm 1.3 --max-iters 100 --plateau-iters 0 --out "$name" --force --quiet "$@"
    tail -n 1 "$name/trace.jsonl" | sed 's/.*"loss": \([^,]*\),.*"losses": \[\([^]]*\)\].*/\1 \2/' | tr -d , |
        awk '{ for (i = 4; i <= NF; i++) if ($i > most) most = $i; print $1, most }' >"$name.end"
}
anchored free --anchor-weight 0
anchored held --anchor-bound 0.1
check 'an anchor is kept within its bound, which it was far from, for a tenth of the loss at most' \
    awk 'NR == 1 { free = $1; if (!($2 > 1)) exit 1 } NR == 2 { good = $2 <= 0.1 && $1 <= 1.1 * free } END { exit !good }' \
    free.end held.end
finish
