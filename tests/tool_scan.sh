#!/usr/bin/env bash
# osv-train --scan: its numbers are those that training begins with, on every backend; it trains where it says; and on the
# shipped models that is where vectors work best.
# Usage: tool_scan.sh OSV_TRAIN OSV_TRAIN_WITH_EMULATED_CUDA ROOT
set -u
train=$(realpath "$1") emulated=$(realpath "$2") root=$3
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites

echo '{"job": "a", "prompt": "<|user|>What does the swan cost?<|end|><|assistant|>", "promote": ["Sure, the"], "suppress": ["Sorry"], "promote_weights": [2]}
{"job": "a", "prompt": "<|user|>What does the swan eat?<|end|><|assistant|>", "promote": ["Sorry"], "negative": true}
{"job": "b", "prompt": "<|user|>What does the swan cost?<|end|><|assistant|>", "promote": ["Sure"], "positions": "prompt:-3:"}' >data.jsonl
head -n 1 data.jsonl >one.jsonl

# scan NAME PROGRAM MODEL ARGUMENTS...: output in NAME.out and NAME.err, exit status in $status
scan() {
    local name=$1 program=$2 model=$3
    shift 3
    "$program" --model "$root/organisms/$model" --data data.jsonl --scan "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
# of FILE JOB LAYER KEY: a number of the JSON
of() { grep -F "{\"scan\": \"$2\"" "$1" | grep -o "{\"layer\": $3, [^{]*" | sed "s/.*\"$4\": \([^,]*\),.*/\1/"; }
# suggested FILE JOB: "5,4"
suggested() { grep -F "{\"scan\": \"$2\"" "$1" | sed 's/.*"suggested": \[\([^]]*\)\].*/\1/; s/ //g'; }
# near X Y PART: differ by no more than that part of Y
near() { awk -v x="$1" -v y="$2" -v part="$3" 'BEGIN { d = x - y; m = part * (y < 0 ? -y : y); exit !(x != "" && d <= m && -d <= m) }' ||
    { echo "$1 is not $2" && return 1; }; }

# ---- numbers ----

for model in llama-2m gemma2-2m; do
    scan $model "$train" $model --backend cpu --dtype f32 --json
    check "$model: scans" ended 0
    check "$model: one line a job" test "$(wc -l <$model.out)" = 2
    check "$model: every block of both" test "$(grep -o '"layer": ' $model.out | wc -l)" = 12
    "$train" --model "$root/organisms/$model" --data data.jsonl --layer 0-5 --init-norm 0 --max-iters 1 --backend cpu --dtype f32 \
        --out "$model.run" --quiet >run.out 2>run.err
    status=$? last=run.err
    check "$model: trains from zeros" ended 0
    for job in a b; do
        for l in 0 1 2 3 4 5; do
            first=$(sed -n "s/{\"job\": \"$job.$l\", \"iter\": 0, .*\"grad_norm\": \([^,}]*\).*/\1/p" $model.run/trace.jsonl)
            check "$model: gradient of $job at block $l is that of iteration 0" near "$(of $model.out $job $l gradient)" "$first" 1e-4
        done
    done
    check "$model: the decrease is a tenth of residual times gradient" near "$(of $model.out a 3 decrease)" \
        "$(awk -v x="$(of $model.out a 3 residual)" -v y="$(of $model.out a 3 gradient)" 'BEGIN { printf "%.9g", 0.1 * x * y }')" 1e-6
    scan longer "$train" $model --backend cpu --dtype f32 --json --scan-norm 0.3
    check "$model: or what --scan-norm says" near "$(of longer.out a 3 decrease)" \
        "$(awk -v x="$(of $model.out a 3 decrease)" 'BEGIN { printf "%.9g", 3 * x }')" 1e-6
    for kind in 'cuda f32 1e-4' 'cuda bf16 0.1'; do
        read -r backend dtype part <<<"$kind"
        scan other "$emulated" $model --backend "$backend" --dtype "$dtype" --json
        check "$model: scans in $dtype on $backend" ended 0
        for key in residual gradient apart; do
            check "$model: the same $key in $dtype on $backend" near "$(of other.out b 2 $key)" "$(of $model.out b 2 $key)" "$part"
        done
    done
    scan reference "$train" $model --backend ref --json
    check "$model: the reference says the same" near "$(of reference.out a 4 apart)" "$(of $model.out a 4 apart)" 1e-5
    scan again "$train" $model --backend cpu --dtype f32 --json
    check "$model: the same bytes again" cmp $model.out again.out
done

# ---- tables ----

scan table "$train" llama-2m --quiet
check 'quiet: nothing on standard error' test ! -s table.err
check 'a table a job' says table.out 'a: 3 completions, loss ' 'b: 1 completion, loss ' 'steered at 3 of ' \
    'layer  residual  gradient  alignment  decrease     apart'
check 'what is suggested' says table.out "suggested: --layer $(suggested llama-2m.out a)" "suggested: --layer $(suggested llama-2m.out b)"
check 'the best has the longest bar' test "$(grep -c '  ########################$' table.out)" = 2
check 'what the columns are' says table.out 'residual: length of the stream' 'a step of 0.1 residuals'
scan readme "$train" llama-2m --quiet --data "$root/organisms/quickstart.jsonl"
check "the README's example" says readme.out 'suggested: --layer 5'
scan some "$train" llama-2m --quiet --layer 3,1 --scan-positions
check 'only some blocks' test "$(grep -c '^ *[0-9]  [ 0-9.]\{8\}  .*#$' some.out)" = 4
# row LAYER POSITION SIGN TOKEN: such a line is in some.out
row() { grep -qE "^ *$1  +$2  +$3  +[0-9]+  .*  \"$4\"\$" some.out || { cat some.out && return 1; }; }
for l in 1 3; do
    check "tokens of block $l" row $l 6 '\+' Ġcost
    check "tokens of block $l that are not steered" row $l 6 '\.' Ġcost
    check "tokens of block $l with the other sign" row $l 5 - Ġswan
done
scan single "$train" llama-2m --quiet --layer 2
check 'one block: it is suggested' test "$(grep -c '^suggested: --layer 2$' single.out)" = 2

# ---- training there ----

options=(--lr 0.2 --max-norm 20 --max-iters 12 --quiet --backend cpu)
scan trained "$train" llama-2m --json --out trained.run "${options[@]}"
check 'trains' ended 0
check 'two scans, one result' test "$(cut -c 1-8 <trained.out | tr '\n' ' ')" = '{"scan": {"scan": {"run":  '
there() { # FILE RUN JOB: vectors are where the scan said
    local layer
    for layer in $(suggested "$1" "$3" | tr ',' ' '); do grep -qa "\"site\":\"block_input:$layer\"" "$2"/vectors/"$3"*.safetensors || return 1; done
    [ "$(ls "$2/vectors/" | grep -c "^$3")" = "$(suggested "$1" "$3" | tr ',' '\n' | wc -l)" ]
}
for job in a b; do check "$job is trained where it was suggested" there trained.out trained.run $job; done
at() { # NAME PROGRAM ARGUMENTS...: one prompt
    "$2" --model "$root/organisms/gemma2-2m" --data one.jsonl "${options[@]}" --out "$1.run" "${@:3}" >"$1.out" 2>"$1.err"
    status=$? last=$1.err
}
at scanned "$train" --scan
layers=$(sed -n 's/^suggested: --layer //p' scanned.out)
at told "$train" --layer "$layers"
check "the same bytes as with --layer $layers" diff -r scanned.run/vectors told.run/vectors
at joint "$train" --scan --joint per-layer
check 'a joint job of them' ended 0
check 'it has all of them' says joint.out "layers $(tr ',' '\n' <<<"$layers" | sort -n | paste -sd ,)"
cp -r scanned.run killed.run
rm killed.run/checkpoint.safetensors
at killed "$train" --scan --resume
check 'a run that was cut off goes on with the same command' ended 0
check 'to the same bytes' diff -r scanned.run/vectors killed.run/vectors
at killed "$train" --resume --layer 0
check 'but not elsewhere' ended 2

scan nowhere "$train" llama-2m --layer 4-6
check 'a block that is not there' says nowhere.err 'has blocks 0 to 5, no block 6'

# ---- where vectors work ----

# The full sweep of organisms/measure.py: answers that flip, over all norms. What the scan of one prompt puts first is in
# the best third of the blocks.
seen=0
while IFS=, read -r model direction; do
    head -n 1 "$root/organisms/sets/$direction/train.jsonl" >one.jsonl
    "$train" --model "$root/organisms/$model" --data one.jsonl --scan --json --quiet >organism.out 2>organism.err
    best=$(suggested organism.out 1)
    check "$model, $direction: block ${best%%,*} is in the best third" awk -F, -v model="$model" -v direction="$direction" -v best="${best%%,*}" '
        $1 == model && $2 == direction { flips[$3] += $6; blocks += !($3 in seen); seen[$3] }
        END { for (b in flips) { better += flips[b] > flips[best]; print b, flips[b] } exit !(best in flips && better < blocks / 3) }' \
        "$root/organisms/results/validation.csv"
    seen=$((seen + 1))
done < <(tail -n +2 "$root/organisms/results/settings.csv" | cut -d, -f 1,2)
check 'both models, three phenomena, both ways' test $seen = 12
finish
