#!/usr/bin/env bash
# osv-train --backend cuda from end to end on the emulation: the numbers of the CPU, the same bytes each time and in any
# order of threads, and a clean end whatever fails. Then the real osv-train, where there is no GPU.
# Usage: tool_emu.sh OSV_TRAIN_EMULATED OSV_TRAIN ROOT
set -u
emulated=$(realpath "$1") real=$(realpath "$2") root=$3
. "$root/tests/tap.sh"
. "$root/tests/traces.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites
head -n 2 "$root/organisms/sets/refusal-answer/train.jsonl" >data.jsonl
iters=3

# run NAME MODEL ARGUMENTS...: trains into NAME/run; output in NAME/out and NAME/err, exit status in $status
run() {
    local name=$1 model=$2
    shift 2
    mkdir -p "$name"
    (cd "$name" && rm -rf run && exec "$emulated" --model "$root/organisms/$model" --data ../data.jsonl --layer 2-3 \
        --lr 0.2 --max-iters $iters --out run --quiet "$@" >out 2>err)
    status=$? last=$name/err
}
# says TEXT...: standard error of the last run is one line, with these texts
says() {
    [ "$(wc -l <"$last")" = 1 ] || { echo "not one line:" && cat "$last" && return 1; }
    for text in "$@"; do
        grep -qF -e "$text" "$last" || { echo "does not say \"$text\":" && cat "$last" && return 1; }
    done
}

# ---- numbers ----


for model in llama-2m gemma2-2m; do
    run cpu $model --backend cpu
    check "$model: the CPU trains" ended 0
    for dtype in f32 bf16; do
        name=$model-$dtype
        run "$name" $model --backend cuda --dtype $dtype
        check "$name: trains" ended 0
        check "$name: run.json names the device" grep -q '"device": "CUDA emulated on the host"' "$name/run/run.json"
        check "$name: run.json names the dtype" grep -q "\"dtype\": \"$dtype\"" "$name/run/run.json"
        check "$name: vectors of all jobs and layers" test "$(ls "$name/run/vectors" | wc -l)" = 4
        for order in 0 1 2; do
            OSV_EMU_ORDER=$order run again $model --backend cuda --dtype $dtype
            check "$name: the same bytes in order $order" diff -r "$name/run" again/run
        done
    done
    check "$model: the CPU's numbers in f32" near $model-f32/run/trace.jsonl cpu/run/trace.jsonl
    check "$model: other numbers in bf16" sh -c "! cmp -s $model-f32/run/trace.jsonl $model-bf16/run/trace.jsonl"
done
run default llama-2m --backend cuda
check 'bf16 is what cuda computes in' diff default/run/trace.jsonl llama-2m-bf16/run/trace.jsonl

# ---- failures ----

good=llama-2m-bf16/run
# whole: what a failed run left is the start of what the good run left, in whole lines, and no vector is half
whole() {
    [ -d failed/run ] || return 0
    find failed/run -type f | while read -r file; do
        other=$good/${file#failed/run/}
        [ -f "$other" ] || { echo "$file is no file of a run" && exit 1; }
        case $file in
        */trace.jsonl)
            cmp -n "$(stat -c %s "$file")" "$file" "$other" || exit 1
            [ -z "$(tail -c 1 "$file")" ] || { echo "$file: half a line" && exit 1; }
            ;;
        */run.json) # the memory that it names may be another
            [ "$(tail -c 2 "$file")" = '}' ] || { echo "$file is not whole" && exit 1; } ;;
        *) cmp "$file" "$other" || exit 1 ;;
        esac
    done
}

# fails_well TEXT...: exit status 4, one sentence with these texts, nothing broken is left
fails_well() { ended 4 && says "$@" && whole; }

# The first call of a kind, the second, the fourth, ... until there are no so many.
for kind in alloc host copy launch graph; do
    n=1
    while [ $n -lt 1000000 ]; do
        OSV_EMU_FAIL=$kind:$n run failed llama-2m --backend cuda
        [ "$status" = 0 ] && break
        check "$kind $n fails: a clean end" fails_well 'osv-train: cuda: ' ' failed: injected by a test'
        n=$((2 * n))
    done
    check "$kind: calls fail, until there are none" test "$status" = 0 -a $n -gt 2
    check "$kind: and the run is as ever" diff -r failed/run $good
done

# Ever more memory, until it is enough; --memory promises more, else the jobs would be packed to fit.
memory=40000
while [ $memory -lt 1000000000 ]; do
    OSV_EMU_MEMORY=$memory run failed llama-2m --backend cuda --memory 60G
    [ "$status" = 0 ] && break
    check "$memory bytes: a clean end" fails_well 'out of memory: ' ' GB asked for ' 'GB are free: use fewer jobs at once'
    cat failed/err >>memory.err
    memory=$((memory * 3 / 2))
done
check 'with enough memory the run is as ever' diff -r -x run.json -x checkpoint.safetensors failed/run $good
for what in scratch 'a weight' 'activations, keys and values'; do
    check "too little memory for $what" grep -qF "asked for $what," memory.err
done
OSV_EMU_MEMORY=1000000 run failed llama-2m --backend cuda --dtype f32
check 'in f32, bf16 is a way out' says 'use --dtype bf16, fewer jobs at once'

# ---- a profiler that looks on changes nothing ----

run seen llama-2m --backend cuda --max-iters 8 --profile 2
check 'profiled: exit status' ended 0
run unseen llama-2m --backend cuda --max-iters 8
check 'profiled: the same bytes' diff -r -x run.json seen/run unseen/run
run seen llama-2m --backend cuda --max-iters 7 --profile 2
check 'too few iterations for a profile: exit status' ended 2
check 'too few iterations for a profile: how many it takes' grep -qF -- '--profile 2 needs --max-iters 8 or more' seen/err

# ---- devices ----

run failed llama-2m --backend cuda --device 3
check 'no such device: exit status' ended 4
check 'no such device: one sentence' says 'device 3'
check 'no such device: no run' test ! -e failed/run
run failed llama-2m --backend cuda --device 0
check 'the first device' ended 0
run failed llama-2m --backend cpu --device 0
check 'the CPU has no devices: exit status' ended 2
check 'the CPU has no devices: said so' grep -q '^osv-train: --device 0: the backend is cpu' failed/err
run failed llama-2m
check 'the emulation must be asked for by name' grep -q '"backend": "cpu"' failed/run/run.json

emulated=$real
run real llama-2m --backend cuda
if grep -q '"device": ".* multiprocessors' real/run/run.json 2>/dev/null; then
    skip 'osv-train --backend cuda without a GPU' 'there is a GPU here'
else
    check 'without a GPU: exit status' ended 4
    check 'without a GPU: one sentence' says 'osv-train: --backend cuda: '
    check 'without a GPU: no run' test ! -e real/run
fi
finish
