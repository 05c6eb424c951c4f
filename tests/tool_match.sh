#!/usr/bin/env bash
# Teachers, anchors and --reentrant of osv-train from end to end: what is matched, who teaches whom, what is planned and
# recorded, how a run goes on, and what bad input gets.
# Usage: tool_match.sh OSV_TRAIN OSV_TRAIN_WITH_EMULATED_CUDA ROOT
set -u
train=$(realpath "$1") emulated=$(realpath "$2") root=$3
. "$root/tests/tap.sh"
model=$root/tests/golden/models/llama-tiny # 317 tokens, no tokenizer needed
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites

promote='"promote": [{"ids": [7]}], "suppress": [{"ids": [9]}]'
echo "{\"prompt\": {\"ids\": [5, 9, 200, 31]}, $promote}" >plain.jsonl
echo '{"prompt": {"ids": [5, 9, 200, 31]}, "match": [{"ids": [7, 8, 9]}]}' >match.jsonl
echo '{"prompt": {"ids": [5, 9, 200, 31]}, "match": true}' >write.jsonl
echo "{\"prompt\": {\"ids\": [5, 9, 200, 31]}, $promote}
{\"prompt\": {\"ids\": [1, 2, 3]}, \"anchor\": true}
{\"prompt\": {\"ids\": [1, 2, 3]}, \"anchor\": [{\"ids\": [4, 5]}], \"anchor_weights\": [0.25]}" >anchor.jsonl

# run NAME ARGUMENTS...: trains into NAME.run; output in NAME.out and NAME.err, exit status in $status
run() {
    local name=$1
    shift
    "$train" --model "$model" --layer 1 --max-iters 30 --lr 0.1 --plateau-iters 0 --backend cpu --out "$name.run" "$@" \
        >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
# bad NAME STATUS PIECE ARGUMENTS...
bad() {
    local name=$1 expected=$2 piece=$3
    shift 3
    run bad "$@"
    check "$name: exit status" ended "$expected"
    check "$name: the message" says bad.err "$piece"
}
# loss NAME [COMPLETION]: of the end
loss() { sed -n "\$s/.*\"losses\": \[\([^]]*\)\].*/\1/p" "$1.run/trace.jsonl" | cut -d, -f "${2:-1}"; }
below() { awk -v x="$1" -v most="$2" 'BEGIN { exit !(x < most) }' || { echo "$1, expected below $2" && return 1; }; }

# ---- who steers as the teacher does, matches it ----

run taught --data plain.jsonl --init-norm 3
check 'a vector to learn from' ended 0
vector=taught.run/vectors/all.safetensors
run self --data match.jsonl --teacher $vector --init $vector --max-iters 0
check 'a teacher matches itself' below "$(loss self | sed "s/^ *-//")" 1e-6
run minus --data match.jsonl --teacher $vector:-1 --init $vector --max-iters 0
check 'a scale is heeded' below 0.01 "$(loss minus)"
sed 's/}$/, "negative": true}/' match.jsonl >negative.jsonl
run negative --data negative.jsonl --teacher $vector:-1 --init $vector --max-iters 0
check '-v matches -1 x the teacher' below "$(loss negative | sed "s/^ *-//")" 1e-6
run both --data match.jsonl --teacher $vector:0.5 --teacher $vector:0.5 --init $vector --max-iters 0
check 'several vectors teach at once' below "$(loss both | sed "s/^ *-//")" 1e-6
run ablated --data match.jsonl --teacher $vector --teacher-apply ablate --apply ablate --init $vector --max-iters 0
check 'in another form' below "$(loss ablated | sed "s/^ *-//")" 1e-6
check 'another form is said aloud' says ablated.err 'was trained with --apply add, used with ablate'

run found --data match.jsonl --teacher $vector --init-norm 1 --max-iters 300
check 'a match is found' below "$(loss found)" 0.02
check 'it is said' says found.out 'match    [7, 8, 9]  KL ' 'KL: divergence in nats'
run reverse --data match.jsonl --teacher $vector --max-iters 0 --kl reverse
run forward --data match.jsonl --teacher $vector --max-iters 0
check 'the other way round is another loss' sh -c "[ $(loss reverse) != $(loss forward) ]"
check 'the vector says which' says reverse.run/vectors/all.safetensors '"objective":"match reverse"'
run json --data match.jsonl --teacher $vector --json --quiet
check 'JSON: divergences' says json.out '"kind": "match"' '"kl_before": ' '"kl_after": '
run norm --data match.jsonl --teacher $vector --max-iters 0 --length-norm
check 'length-norm' awk "BEGIN { d = $(loss forward) - 3 * $(loss norm); exit !(d < 1e-5 && d > -1e-5) }"

run written --data write.jsonl --teacher $vector --match-tokens 4 --json --quiet
check 'a teacher writes' sh -c "grep -o '\"ids\": \[[^]]*' written.out | tr ',' '\n' | wc -l | grep -qx 4"

# ---- shared by jobs ----

# of_plan KEY ARGUMENTS...
of_plan() {
    local key=$1
    shift
    "$train" --model "$model" --data match.jsonl --plan --json --backend cpu "$@" | tr ',{' '\n\n' |
        sed -n "s/^ *\"$key\": //p" | head -n 1
}
check 'a plan needs no teacher' test "$(of_plan teacher_bytes --layer 1)" = $((3 * 317 * 4))
check 'jobs share distributions' test "$(of_plan teacher_bytes --layer 1,2 --seeds 0-9)" = $((3 * 317 * 4))
echo '{"layer": 1}
{"layer": 1, "coldness": 1}' >colder.jsonl
check 'but not of another coldness' test "$(of_plan teacher_bytes --sweep colder.jsonl)" = $((2 * 3 * 317 * 4))
"$train" --model "$model" --data match.jsonl --layer 1 --plan --backend cpu >plan.out
check 'the plan says it' says plan.out 'teacher        3 distributions over 317 tokens, '
for seeds in 0 0-2; do run "seeds$seeds" --data match.jsonl --teacher $vector --seeds $seeds; done
check 'alone and in company' awk "BEGIN { exit !($(loss seeds0) - $(grep '"job": "all.s0"' seeds0-2.run/trace.jsonl | tail -n 1 |
    sed 's/.*"losses": \[\([^]]*\).*/\1/') < 1e-5) }"

# ---- anchors ----

run anchor --data anchor.jsonl --max-iters 0 --init-norm 0
check 'nothing is lost where nothing is steered' below "$(loss anchor 3 | sed "s/^ *-//")" 1e-6
check 'nor at a completion' below "$(loss anchor 4 | sed "s/^ *-//")" 1e-6
for weight in 0 10; do run "weight$weight" --data anchor.jsonl --anchor-weight $weight; done
check 'an anchor holds' below "$(loss weight10 3)" "$(loss weight0 3)"
check 'it has no part in the loss' awk "BEGIN { d = $(sed -n '$s/.*"loss": \([^,]*\),.*/\1/p' weight10.run/trace.jsonl) - \
    $(loss weight10 1) - $(loss weight10 2); exit !(d < 1e-5 && d > -1e-5) }"
check 'it is said what it is' says weight10.out 'anchor   (every token of it)  KL ' 'anchor   [4, 5]  KL '
run bound --data anchor.jsonl --anchor-bound 0.02 --bound-lr 1 --max-iters 600
check 'a bound holds' below "$(loss bound 3)" 0.021

# ---- CUDA ----

"$emulated" --model "$model" --data match.jsonl --layer 1 --max-iters 5 --lr 0.1 --plateau-iters 0 --teacher $vector \
    --backend cuda --dtype f32 --out cuda.run >cuda.out 2>cuda.err
run cpu --data match.jsonl --teacher $vector --max-iters 5
check 'CUDA agrees' awk "BEGIN { d = $(loss cuda) - $(loss cpu); exit !(d < 1e-4 && d > -1e-4) }"

# ---- reentrant ----

echo "{\"job\": \"a\", \"prompt\": {\"ids\": [5, 9, 200, 31]}, $promote}
{\"job\": \"b\", \"prompt\": {\"ids\": [5, 9, 200, 30]}, $promote, \"promote_targets\": [null]}
{\"job\": \"b\", \"prompt\": {\"ids\": [5]}, \"anchor\": true}" >both.jsonl
run reentrant --data both.jsonl --reentrant 0 --seeds 0,1 --match-tokens 3
check 'reentrant: exit status' ended 0
check 'reentrant: a map a job' test "$(cd reentrant.run/early/vectors && echo *)" = 'a.safetensors b.safetensors'
check 'reentrant: affine, without a vector' says reentrant.run/early/vectors/a.safetensors '"apply":"affine"' '"norm":"0"'
check 'reentrant: vectors' test "$(cd reentrant.run/vectors && echo *)" = \
    'a.s0.safetensors a.s1.safetensors b.s0.safetensors b.s1.safetensors'
check 'reentrant: what they are' says reentrant.run/vectors/b.s1.safetensors '"objective":"match + anchor"' '"apply":"add"'
check 'reentrant: recorded' says reentrant.run/run.json '"reentrant": 0' '"teacher_sha256": "'
check 'reentrant: progress says which' says reentrant.err 'the early run, in reentrant.run/early' 'the late run, in reentrant.run'
cp -r reentrant.run before.run
run reentrant --data both.jsonl --reentrant 0 --seeds 0,1 --match-tokens 3 --resume
check 'reentrant: resumed, nothing is left to do' ended 0
check 'reentrant: the same bytes' diff -r before.run/vectors reentrant.run/vectors
rm reentrant.run/checkpoint.safetensors reentrant.run/vectors/*
run reentrant --data both.jsonl --reentrant 0 --seeds 0,1 --match-tokens 3 --resume
check 'reentrant: the late run again' diff -r before.run/vectors reentrant.run/vectors
run reentrant --data both.jsonl --reentrant 0 --seeds 0,1 --match-tokens 2 --resume
check 'reentrant: other tokens are refused' says reentrant.err '--match-tokens: the run in reentrant.run has 3, the command line 2'
run json2 --data both.jsonl --reentrant 0 --json --quiet
check 'reentrant: one JSON object' test "$(wc -l <json2.out)" = 1
grep -v anchor both.jsonl >first.jsonl
run early --data first.jsonl --layer 0 --apply affine --max-norm 0 --init-norm 0 --lr 0.1 --max-iters 50 --target-loss 0.01 \
    --target-iters 20 --plateau-iters 1
sed 's/"promote".*\]/"match": true/' both.jsonl >parts.jsonl
run parts --data parts.jsonl --teacher early.run --seeds 0,1 --match-tokens 3
check 'reentrant: the same as its parts' diff -r before.run/vectors parts.run/vectors
"$train" --model "$model" --data both.jsonl --layer 1 --reentrant 0 --list >list.out 2>&1
check 'reentrant: --list' says list.out 'match + anchor'

# ---- going on with a run ----

run going --data write.jsonl --teacher $vector
run going --data write.jsonl --teacher $vector --resume
check 'resumed: complete' says going.err 'this run is complete'
cp $vector moved.safetensors
run going --data write.jsonl --teacher moved.safetensors --resume
check 'resumed: the teacher may have moved' says going.err 'this run is complete'
run going --data write.jsonl --teacher $vector:2 --resume
check 'resumed: another teacher is refused' says going.err "--resume: --teacher $vector:2 changed since the run"
check 'resumed: exit status' ended 3

# ---- bad input ----

bad 'no teacher' 2 'match.jsonl:1: "match" needs a teacher to be like: give --teacher' --data match.jsonl
bad 'nobody to teach' 2 "--teacher $vector: no datapoint in plain.jsonl has a \"match\"" --data plain.jsonl --teacher $vector
bad 'a teacher that is not there' 3 'nobody.safetensors: cannot open' --data match.jsonl --teacher nobody.safetensors
bad 'a run without that job' 3 'reentrant.run/early/vectors/all.safetensors: cannot open' --data match.jsonl --teacher reentrant.run/early
bad 'a form that is none' 2 '--teacher-apply turn: must be add' --data match.jsonl --teacher $vector --teacher-apply turn
bad 'a map of a vector' 2 '--teacher-apply affine: ' --data match.jsonl --teacher $vector --teacher-apply affine
bad 'a form of nobody' 2 '--teacher-apply add: there is no teacher' --data match.jsonl --teacher-apply add
bad 'anchors alone' 3 'job "all" has anchors alone' --data <(tail -n 2 anchor.jsonl)
bad 'a weight and a bound' 2 '--anchor-bound 1 takes the place of --anchor-weight' --data anchor.jsonl --anchor-weight 2 --anchor-bound 1
bad 'multipliers of nothing' 2 '--bound-lr 1: there is no bound' --data anchor.jsonl --bound-lr 1
bad 'an early option alone' 2 '--early-lr: only --reentrant has a use for it' --data plain.jsonl --early-lr 1
bad 'reentrant with a teacher' 2 '--reentrant 0 trains the teacher' --data plain.jsonl --reentrant 0 --teacher $vector
bad 'reentrant at no block' 2 '--layer 7: ' --data plain.jsonl --reentrant 7
check 'nothing is left of it' test ! -e bad.run
bad 'nothing to suppress' 3 'no datapoint has a completion for the early stage' --data write.jsonl --reentrant 0
echo '{"prompt": {"ids": [5]}, "suppress": [{"ids": [9]}], "match": [{"ids": [999]}]}' >late.jsonl
bad 'a mistake of the late data' 3 'late.jsonl:1: "match"[0]: id 999' --data late.jsonl --reentrant 0
check 'it shows before anything is trained' test ! -e bad.run
bad 'too little memory' 4 ', what is matched 3.80 kB; give more' --data match.jsonl --teacher $vector \
    --memory $(($(of_plan weights_bytes --layer 1) + $(of_plan fixed_bytes --layer 1) + 3000))
finish
