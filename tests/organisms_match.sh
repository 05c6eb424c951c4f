#!/usr/bin/env bash
# Reentrant steering and anchors on the shipped models. Reentrant vectors take back a refusal or a retraction as vectors do
# that are trained for it directly, and one command makes the same bytes as its parts. An anchor at least halves what a
# vector does to neutral prompts, those that it was given and others, and costs at most a tenth of the loss.
# Usage: organisms_match.sh OSV_TRAIN OSV_GENERATE OSV_EVAL ROOT
set -u
train=$(realpath "$1") generate=$(realpath "$2") eval=$(realpath "$3") root=$4
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites
prompts=30 least=80

column() { awk -F, -v set="$1" -v column="$2" '$1 == set { print $column }' "$3"; }
at_least() { awk -v x="$1" -v least="$2" 'BEGIN { exit !(x >= least) }' || { echo "$1, expected at least $2" && return 1; }; }
times() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.9g", a * b }'; }

# flips VECTOR NAME: as tests/organisms.sh has it
flips() {
    check "$2: is asked" "$eval" flips --model "$root/organisms/$model" --vector "$1" --prompts flip.jsonl \
        --control control.jsonl --scales 1 --max-tokens 16 --quiet --csv table.csv
    check "$2: answers flip" at_least "$(column flip 6 table.csv)" $least
    check "$2: other prompts keep their right answers" at_least "$(column control 6 table.csv)" $least
}

# of KIND FILE: the losses of these completions in a result, added up
of() { awk -v kind="$1" '$1 == kind { sum += $NF } END { printf "%.9g", sum }' "$2"; }

# anchored WEIGHT OUT: loss and divergences, of the given prompts and of others, in $loss, $given, $held
anchored() {
    check "$name: trains with anchors of weight $1" "$train" "${settings[@]}" --data anchored.jsonl --anchor-weight "$1" \
        --out "$2"
    cp check.log result.txt
    loss=$(awk -v a="$(of promote result.txt)" -v b="$(of suppress result.txt)" 'BEGIN { print a + b }')
    given=$(of anchor result.txt)
    "$train" "${settings[@]}" --data held.jsonl --init "$2/vectors/1.safetensors" --max-iters 0 --out held >result.txt
    held=$(of anchor result.txt)
}

for model in llama-2m gemma2-2m; do
    for direction in refusal-answer retraction-remove; do
        sets=$root/organisms/sets/$direction name="$model, $direction"
        IFS=, read -r _ _ layer _ norm _ < <(grep "^$model,$direction," "$root/organisms/results/settings.csv")
        settings=(--model "$root/organisms/$model" --layer "$layer" --max-norm "$norm" --lr "$(times "$norm" 0.01)"
            --init-norm "$(times "$norm" 0.05)" --max-iters 60 --plateau-iters 0 --force --quiet)
        head -n 1 "$sets/train.jsonl" >train.jsonl
        head -n $prompts "$sets/flip.jsonl" >flip.jsonl
        awk 'NR % 3 == 1' "$sets/control.jsonl" | head -n $prompts >control.jsonl

        check "$name: direct" "$train" "${settings[@]}" --data train.jsonl --out direct
        flips direct/vectors/1.safetensors "$name: direct"
        check "$name: reentrant" "$train" "${settings[@]}" --data train.jsonl --reentrant 1 --out reentrant
        flips reentrant/vectors/1.safetensors "$name: reentrant"

        # eight neutral prompts, and eight others
        for half in 0 6; do
            awk -v half=$half 'NR % 12 == half + 1' "$sets/control.jsonl" | head -n 8 |
                sed 's/.*\("prompt": "\([^"\\]\|\\.\)*"\).*/{"job": "1", \1, "positions": "prompt", "anchor": true}/' >neutral.$half
        done
        cat train.jsonl neutral.0 >anchored.jsonl
        cat train.jsonl neutral.6 >held.jsonl
        check "$name: eight neutral prompts" test "$(grep -c anchor anchored.jsonl)" = 8
        anchored 0 free
        free_loss=$loss free_given=$given free_held=$held
        anchored 0.1 held_fast
        check "$name: an anchor halves the divergence" at_least "$(times "$free_given" 0.5)" "$given"
        check "$name: of other prompts too" at_least "$(times "$free_held" 0.5)" "$held"
        check "$name: at a loss at most a tenth higher" at_least "$(times "$free_loss" 1.1)" "$loss"
        echo "# $name: loss $free_loss -> $loss, divergence $free_given -> $given, of others $free_held -> $held"
    done
done

# ---- the parts of the last --reentrant ----

check 'parts: the map' "$train" --model "$root/organisms/$model" --data train.jsonl --layer 1 --apply affine --max-norm 0 \
    --init-norm 0 --lr 0.1 --max-iters 50 --target-loss 0.01 --target-iters 20 --out early --quiet
check 'parts: the same map' cmp early/vectors/1.safetensors reentrant/early/vectors/1.safetensors
sed 's/"promote": .*, "suppress": [^]]*\]/"match": true/' train.jsonl >match.jsonl
check 'parts: the vectors' "$train" "${settings[@]}" --data match.jsonl --teacher early/vectors/1.safetensors \
    --match-tokens 10 --out late --json
grep -o '"ids": \[[^]]*\]' check.log | head -n 1 >ids
check 'parts: the same vectors' cmp late/vectors/1.safetensors reentrant/vectors/1.safetensors
check 'parts: the map writes' "$generate" --model "$root/organisms/$model" --vector early/vectors/1.safetensors \
    --prompts train.jsonl --max-tokens 10 --json --quiet
written=$(grep -o '"ids": \[[^]]*' check.log | tail -n 1)
check 'parts: what it writes is matched' grep -qF "${written}" ids
sed "s/\"match\": true/\"match\": [{$(cat ids)}]/" match.jsonl >given.jsonl
check 'parts: ids that are given' "$train" "${settings[@]}" --data given.jsonl --teacher early --out given
check 'parts: the same vectors again' cmp given/vectors/1.safetensors reentrant/vectors/1.safetensors
finish
