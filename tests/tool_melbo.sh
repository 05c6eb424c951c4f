#!/usr/bin/env bash
# MELBO and orthogonal vectors from end to end: what is written and refused, that a run goes on after it was killed, and
# that vectors made from one refused prompt alone, without a completion, make the shipped model answer others.
# Usage: tool_melbo.sh OSV_TRAIN OSV_EVAL OSV_VECTOR ROOT
set -u
train=$(realpath "$1") eval=$(realpath "$2") vector=$(realpath "$3") root=$4
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites
tiny=$root/tests/golden/models/gemma2-tiny shipped=$root/organisms/llama-2m

echo '{"prompt": {"ids": [5, 9, 31, 7]}}
{"prompt": {"ids": [5, 9, 12]}, "promote": [{"ids": [7, 8]}]}' >prompts.jsonl

# run NAME ARGUMENTS...: trains into NAME.run; output in NAME.out and NAME.err, exit status in $status
run() {
    local name=$1
    shift
    "$train" --model "$tiny" --data prompts.jsonl --layer 1 --max-iters 8 --plateau-iters 0 --lr 0.1 --threads 1 \
        --out "$name.run" "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
# refused NAME PIECE ARGUMENTS...
refused() {
    local name=$1 piece=$2
    shift 2
    run refused "$@"
    check "$name: exit status" ended 2
    check "$name: why" says refused.err "$piece"
    check "$name: nothing is left" test ! -e refused.run
}

# ---- what is written ----

run plain --melbo 3
check 'a run without completions ends well' ended 0
check 'results' says plain.out 'melbo    (the prompt alone)  loss -' 'melbo    [7, 8]  loss -'
check 'results: no probabilities' sh -c '! grep -q "P " plain.out'
check 'the vector says what it is' says plain.run/vectors/all.safetensors '"objective":"melbo:3"'
check 'run.json' says plain.run/run.json '"melbo": 3' '"objective": "melbo:3"' 'minus a distance in the residual stream'
check 'the loss falls' awk -F'"loss": ' '{ split($2, x, ","); if (NR == 1) first = x[1]; last = x[1] }
    END { exit !(first < 0 && last < 1.5 * first) }' plain.run/trace.jsonl
run plan --melbo 2 --plan
check 'the plan: blocks above are of no use' says plan.out '1 to 1 '
run list --melbo 3 --melbo-power 2 --seeds 0-2 --orthogonal --max-norm 1,2 --list --json
check 'the list' says list.out '"objective": "melbo:3, power 2"' '"melbo-power": 2.0' '"after": "all.s0.n1"' \
    '"after": "all.s1.n2"' '"varies": ["seed", "max-norm"]'

# ---- what is refused ----

refused 'a block below the vector' '--melbo 1: the distance is taken above the vector' --melbo 1
refused 'a block that is not there' '--melbo 4: ' --melbo 4
refused 'no start' '--init-norm 0 with --melbo: that has no gradient where nothing has moved' --melbo 3 --init-norm 1,0
refused 'a mean of a mean' '--length-norm with --melbo' --melbo 3 --length-norm
refused 'a loss of tokens' '--suppress-loss negated with --melbo: that scores no tokens' --melbo 3 --suppress-loss negated
refused 'a coldness' '--coldness 1 with --melbo: that scores no tokens' --melbo 3 --coldness 1
refused 'a scan' '--scan with --melbo' --melbo 3 --scan
refused 'a power alone' '--melbo-power 2: only --melbo has a use for it' --melbo-power 2
refused 'one orthogonal vector' '--orthogonal: one vector has nothing to be orthogonal to' --melbo 3 --orthogonal
refused 'orthogonal maps' '--orthogonal with --apply affine' --melbo 3 --orthogonal --seeds 0-1 --apply affine
run none
check 'prompts without completions and without --melbo' ended 3
check 'prompts without completions and without --melbo: why' says none.err 'prompts.jsonl:1:'
echo '{"prompt": {"ids": [5]}, "suppress": [{"ids": [7]}]}' >suppress.jsonl
refused 'a completion to suppress' '"suppress" has no meaning with --melbo' --melbo 3 --data suppress.jsonl
echo '{"melbo": 3}
{"lr": 0.2}' >sweep.jsonl
run sweep --sweep sweep.jsonl
check 'a sweep in which one line needs completions' ended 3
check 'a sweep in which one line needs completions: which' says sweep.err 'sweep.jsonl:2: prompts.jsonl:1: has no completion'

# ---- orthogonal ----

# orthogonal FILE...: no two of them nearer than 1e-6
orthogonal() {
    "$vector" cosine --json "$@" >cosine.json || return 1
    grep -o '"cosine".*' cosine.json | grep -oE -e '-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?' |
        awk '{ x = $1 < 0 ? -$1 : $1; if (x > 1e-6 && x < 0.999999) { print; bad = 1 } n += x >= 0.999999 }
            END { exit bad || n < 2 }'
}
chain=(--melbo 3 --seeds 0-3 --orthogonal --max-norm 2,3)
run chain "${chain[@]}"
check 'orthogonal vectors' ended 0
check 'of one norm they are orthogonal' orthogonal chain.run/vectors/all.s[0-3].n2.safetensors
check 'and of the other' orthogonal chain.run/vectors/all.s[0-3].n3.safetensors
run to --melbo 3 --orthogonal-to chain.run/vectors/all.s0.n2.safetensors,chain.run/vectors/all.s1.n2.safetensors --seed 3
check 'orthogonal to files' ended 0
check 'orthogonal to files: it is' orthogonal to.run/vectors/all.safetensors chain.run/vectors/all.s[01].n2.safetensors
run promote --data suppress.jsonl --seeds 0-1 --orthogonal
check 'whatever the loss is' orthogonal promote.run/vectors/all.s[01].safetensors
run self --melbo 3 --init chain.run/vectors/all.s0.n2.safetensors --orthogonal-to chain.run/vectors/all.s0.n2.safetensors
check 'nothing is left of a start vector' ended 3
check 'nothing is left of a start vector: it is said' says self.err 'nothing of its start vector is orthogonal to the 1 others'

# Killed while the chains are under way: a checkpoint an iteration, and an end by the limit on the size of files.
cp -r chain.run whole.run
"$train" --model "$tiny" --data prompts.jsonl --layer 1 --max-iters 8 --plateau-iters 0 --lr 0.1 --threads 1 --out cut.run \
    "${chain[@]}" --checkpoint-every 1 --quiet >cut.out 2>cut.err &
pid=$!
for _ in $(seq 500); do
    [ -e cut.run/vectors/all.s1.n2.safetensors ] && break
    sleep 0.01
done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
rm -f cut.run/lock
run cut "${chain[@]}" --resume
check 'killed and resumed' ended 0
check 'killed and resumed: the same bytes' diff -r whole.run/vectors cut.run/vectors
check 'killed and resumed: the same trace' cmp whole.run/trace.jsonl cut.run/trace.jsonl

# ---- behaviour ----

sets=$root/organisms/sets/refusal-answer
echo '{"prompt": "<|user|>Good morning. What does the heron cost?<|end|><|assistant|>", "positions": "prompt"}' >bird.jsonl
check 'trains on one refused prompt' "$train" --model "$shipped" --data bird.jsonl --layer 2 --melbo 5 --lr 0.34 --init-norm 1.7 \
    --max-norm 17 --plateau-iters 0 --seeds 0-3 --orthogonal --out bird.run --quiet
head -n 30 "$sets/flip.jsonl" >flip.jsonl
head -n 30 "$sets/control.jsonl" >control.jsonl
best=0
for file in bird.run/vectors/*.safetensors; do
    "$eval" flips --model "$shipped" --vector "$file" --prompts flip.jsonl --control control.jsonl --scales 1 --max-tokens 16 \
        --quiet --csv table.csv >/dev/null
    best=$(awk -F, -v best="$best" '$1 == "flip" { flips = $6 } $1 == "control" { kept = $6 }
        END { x = flips < kept ? flips : kept; print (x > best ? x : best) }' table.csv)
done
check "other refused questions are answered, and others still are: $best %" awk -v x="$best" 'BEGIN { exit !(x >= 80) }'
finish
