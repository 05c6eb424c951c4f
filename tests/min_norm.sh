#!/usr/bin/env bash
# The second phase on the shipped models, at the settings that organisms/measure.py chose: vectors of all phenomena are
# shorter by a fifth on average, and no completion has a higher loss than before. Usage: min_norm.sh OSV_TRAIN ROOT
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
finish
