#!/usr/bin/env bash
# osv-train --dump on the shipped models, on the CPU and on the CUDA emulation; and scripts/first_wrong_block.py on what
# it writes, where Python has torch and transformers (PYTHON names another one than python3).
# Usage: tool_dump.sh OSV_TRAIN OSV_TRAIN_WITH_EMULATED_CUDA ROOT
set -u
train=$(realpath "$1") emulated=$(realpath "$2") root=$3
. "$root/tests/tap.sh"
PYTHON=${PYTHON:-python3}
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites

echo '{"job": "a", "prompt": "<|user|>What does the swan cost?<|end|><|assistant|>", "promote": ["Sure,"], "suppress": ["Sorry"]}
{"job": "a", "prompt": "<|user|>What does the swan eat?<|end|><|assistant|>", "promote": ["Sorry"], "negative": true}
{"job": "a", "prompt": "<|user|>Where is the hammer?<|end|><|assistant|>", "anchor": true, "match": ["Sure, the"]}
{"job": "b", "prompt": "<|user|>What does the swan cost?<|end|><|assistant|>", "promote": ["Sure, the"], "positions": "prompt:-5:"}' >data.jsonl

# dump NAME PROGRAM MODEL ARGUMENTS...: into NAME.dump; output in NAME.out and NAME.err, exit status in $status
dump() {
    local name=$1 program=$2 model=$3
    shift 3
    "$program" --model "$root/organisms/$model" --data data.jsonl --layer 1,3 --teacher "teacher.$model/vectors/all.safetensors" \
        --kl reverse --anchor-weight 0.5 --dump "$name.dump" "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}

header() { tail -c +9 "$1" | head -c "$(od -An -tu8 -N8 "$1" | tr -d ' ')"; }
# has DUMP TENSOR SHAPE
has() { header "$1/activations.safetensors" | grep -qF "\"$2\":{\"dtype\":\"F32\",\"shape\":[$3]"; }
# list DUMP base|live KEY: numbers of rows.json, blanks between
list() { sed "s/.*\"$2\":{[^}]*\"$3\":\[\([^]]*\)\].*/\1/; s/,/ /g" "$1/rows.json"; }
# All tensors of the steered pass are there, with as many rows as rows.json says. Width 128, 6 blocks, 1227 tokens.
shapes() {
    local l=0 rows scored vocabulary
    scored=$(list "$1" live scored | wc -w)
    vocabulary=$(sed 's/.*"vocabulary":\([0-9]*\).*/\1/' "$1/rows.json")
    for rows in $(list "$1" live active); do
        if [ $l -ge 1 ]; then
            has "$1" live.x.$l "$rows,128" && has "$1" live.dx.$l "$rows,128" || { echo "block $l" && return 1; }
        fi
        l=$((l + 1))
    done
    [ $l = 6 ] && has "$1" live.x.6 "$scored,128" && has "$1" live.dx.6 "$scored,128" &&
        has "$1" live.z "$scored,$vocabulary" && has "$1" base.x.0 "$(list "$1" base id | wc -w),128" &&
        has "$1" v 4,128 && has "$1" dv 4,128 && has "$1" loss 12 && has "$1" logp.3 "3,$vocabulary" && ! has "$1" live.x.0 "$(list "$1" live id | wc -w),128"
}

echo '{"prompt": "<|user|>Where is the hammer?<|end|><|assistant|>", "promote": ["Sorry"]}' >taught.jsonl
for model in llama-2m gemma2-2m; do
    check "$model: a teacher" "$train" --model "$root/organisms/$model" --data taught.jsonl --layer 2 --init-norm 9 \
        --max-iters 0 --out "teacher.$model" --quiet
    dump "$model.cpu" "$train" $model --backend cpu --dtype f32
    check "$model: a dump ends well" ended 0
    check "$model: it is said" says "$model.cpu.out" 'dump of one forward and one reverse pass: '
    dump "$model.cuda" "$emulated" $model --backend cuda --dtype f32
    check "$model: CUDA, f32" ended 0
    dump "$model.bf16" "$emulated" $model --backend cuda --dtype bf16
    check "$model: CUDA, bf16" ended 0
    check "$model: the backend is recorded" says "$model.bf16.dump/rows.json" '"backend":"cuda","hardware":"'
    check "$model: the dtype is recorded" says "$model.bf16.dump/rows.json" '"dtype":"bf16"'
    for kind in cpu cuda bf16; do
        check "$model: two files ($kind)" test "$(cd "$model.$kind.dump" && echo *)" = 'activations.safetensors rows.json'
        check "$model: tensors as rows.json says ($kind)" shapes "$model.$kind.dump"
    done
done

dump again "$train" llama-2m --backend cpu --dtype f32 --json --quiet
check 'the same bytes again' diff -r llama-2m.cpu.dump again.dump
check 'JSON' says again.out '{"jobs": 4, "unsteered_rows": '
check 'quiet' test ! -s again.err
dump again "$train" llama-2m --backend ref
check 'a dump is not overwritten' ended 2
check 'a dump that is there is named' says again.err '--dump again.dump: holds a dump already (activations.safetensors)'
dump again "$train" llama-2m --backend ref --force
check '--force replaces it' says again.dump/rows.json '"backend":"ref"'
for other in '--out x' '--plan' '--list' '--profile 1'; do
    dump both "$train" llama-2m $other
    check "not with $other: exit status" ended 2
    check "not with $other: it is said" says both.err "--dump both.dump: it trains nothing, so leave out ${other%% *}"
done
check 'nothing is left of it' test ! -e both.dump
(ulimit -f 8 && dump full "$train" llama-2m; exit $status)
status=$? last=full.err
check 'no room: exit status' ended 3
check 'no room: the file is named' says full.err 'full.dump/activations.safetensors: cannot write: File too large'
check 'no room: nothing is left' test ! -e full.dump

# ---- against transformers ----

# wrong DUMP MODEL: the script's last line; its exit status in $status
wrong() {
    "$PYTHON" "$root/scripts/first_wrong_block.py" "$1" "$root/organisms/$2" >wrong.out 2>wrong.err
    status=$? last=wrong.out
    cat wrong.err >>wrong.out
}
# tamper DUMP NAME: a hundred of the tensor's numbers become a little larger, in a copy
tamper() {
    rm -rf tampered.dump && cp -r "$1" tampered.dump
    "$PYTHON" - "$2" <<'END'
import sys
from safetensors.torch import load_file, save_file
tensors = load_file("tampered.dump/activations.safetensors")
tensors[sys.argv[1]].view(-1)[300:400] *= 1.01
save_file(tensors, "tampered.dump/activations.safetensors")
END
}
if ! "$PYTHON" -c 'import torch, transformers, safetensors' >python.log 2>&1; then
    skip 'dumps against transformers' "$PYTHON has no torch, transformers and safetensors (tests/golden/requirements.txt)"
    finish
fi
for model in llama-2m gemma2-2m; do
    for kind in cpu cuda bf16; do
        wrong "$model.$kind.dump" $model
        check "$model: transformers agrees ($kind)" ended 0
        check "$model: and it is said ($kind)" test "$(tail -n 1 wrong.out)" = 'all blocks within budget'
    done
done
tamper llama-2m.cpu.dump live.x.2
wrong tampered.dump llama-2m
check 'a wrong activation: exit status' ended 1
check 'a wrong activation: its block is named' says wrong.out 'first out of budget: forward block 1 (live.x.2, '
check 'a wrong activation: no other is' says wrong.out '; backward none'
tamper llama-2m.cpu.dump live.dx.3
wrong tampered.dump llama-2m
check 'a wrong gradient: its block is named' says wrong.out 'first out of budget: forward none; backward block 3 (live.dx.3, '
wrong llama-2m.cpu.dump ../tests/golden/models/llama-tiny
check 'another model: exit status' ended 2
check 'another model: it is said' says wrong.out 'but the dump is of a model (llama-2m) with 6'
wrong data.jsonl llama-2m
check 'no dump: it is said' says wrong.out 'is no dump of osv-train --dump'
finish
