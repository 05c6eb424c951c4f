#!/usr/bin/env bash
# The shipped models behave: a vector trained on one prompt, at the settings that organisms/measure.py chose, changes
# whole answers on prompts it was not trained on, and leaves others alone. A smaller version of organisms/README.md's table.
# Usage: organisms.sh OSV_TRAIN OSV_EVAL ROOT [OPTION...]: the options are for OSV_TRAIN
set -u
train=$(realpath "$1") eval=$(realpath "$2") root=$3
shift 3
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites
prompts=30 least=80

# column SET COLUMN FILE: of the CSV of osv-eval; unsteered answers (4), those that flip or stay (5), per cent (6)
column() { awk -F, -v set="$1" -v column="$2" '$1 == set { print $column }' "$3"; }
at_least() { awk -v x="$1" -v least="$2" 'BEGIN { exit !(x >= least) }' || { echo "$1, expected at least $2" && return 1; }; }

# flips NAME DIRECTION LAYER NORM [OPTION...]: trains on train.jsonl, and asks what became of the answers
flips() {
    local name=$1 sets=$root/organisms/sets/$2 layer=$3 norm=$4
    shift 4
    head -n $prompts "$sets/flip.jsonl" >flip.jsonl
    # controls of two kinds stand in two halves
    awk 'NR % 3 == 1' "$sets/control.jsonl" | head -n $prompts >control.jsonl
    check "$name: trains" "$train" --model "$root/organisms/$model" --data train.jsonl --layer "$layer" --max-norm "$norm" \
        --lr "$(awk "BEGIN { print $norm / 100 }")" --init-norm "$(awk "BEGIN { print $norm / 20 }")" --max-iters 60 \
        --out run --force --quiet "$@"
    check "$name: is asked" "$eval" flips --model "$root/organisms/$model" --vector run/vectors/1.safetensors \
        --prompts flip.jsonl --control control.jsonl --scales 0,1 --max-tokens 16 --quiet --csv table.csv
    awk -F, '$2 == 1 || NR == 1' table.csv >steered.csv
    awk -F, '$2 == 0' table.csv >plain.csv
    check "$name: the model's own answers" at_least "$(column flip 4 plain.csv)" $((prompts * least / 100))
    check "$name: no answer flips at scale 0" test "$(column flip 5 plain.csv)" = 0
    check "$name: answers flip" at_least "$(column flip 6 steered.csv)" $least
    check "$name: other prompts keep their right answers" at_least "$(column control 6 steered.csv)" $least
}

seen=0
while IFS=, read -r model direction layer _ norm _; do
    head -n 1 "$root/organisms/sets/$direction/train.jsonl" >train.jsonl
    flips "$model, $direction" "$direction" "$layer" "$norm" "$@"
    seen=$((seen + 1))
    case $model,$direction in
    llama-2m,refusal-answer | gemma2-2m,retraction-remove)
        # the same two words as one pair
        sed -i 's/"promote": \[\("[^"]*"\)\], "suppress": \[\("[^"]*"\)\]/"prefer": [{"chosen": \1, "rejected": \2}]/' train.jsonl
        check "$model, $direction: a pair" grep -q '"chosen": "[^"]*", "rejected": "' train.jsonl
        flips "$model, $direction, as a preference" "$direction" "$layer" "$norm" --preference-signs both "$@"
        ;;
    esac
done < <(tail -n +2 "$root/organisms/results/settings.csv")
check 'both models, three phenomena, both ways' test $seen = 12
finish
