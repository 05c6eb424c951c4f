#!/usr/bin/env bash
# osv-eval flips from end to end: its counts against texts of transformers, what it prints, and what bad input gets.
# Usage: tool_eval.sh OSV_EVAL ROOT
set -u
eval=$(realpath "$1") root=$2
. "$root/tests/tap.sh"
golden=$root/tests/golden/generate tiny=$root/tests/golden/models/llama-tiny shipped=$root/organisms/llama-2m
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other suites

# run NAME ARGUMENTS...: output in NAME.out and NAME.err, exit status in $status
run() {
    local name=$1
    shift
    "$eval" flips "$@" >"$name.out" 2>"$name.err" </dev/null
    status=$? last=$name.err
}
# row NAME SET SCALE: n, unsteered and steered of this row of the CSV NAME.csv
row() { awk -F, -v set="$2" -v scale="$3" '$1 == set && $2 == scale { print $3, $4, $5 }' "$1.csv"; }

# ---- by text: transformers' greedy texts without a vector and with one are what is expected ----

part() { sed 's/.*"'"$1"'": \("\([^"\\]\|\\.\)*"\).*/\1/' "$2"; } # the text under a key of each line, in quotes
part prompt "$golden/llama-2m.plain.jsonl" >prompts
part text "$golden/llama-2m.plain.jsonl" >plain
part text "$golden/llama-2m.add.jsonl" >added
n=$(wc -l <prompts)
same=$(paste -d '|' plain added | awk -F'|' '$1 == $2' | wc -l)
paste prompts plain added | awk -F'\t' '{ print "{\"prompt\": " $1 ", \"before\": [" $2 "], \"after\": [\"nothing\", " $3 "]}" }' >flip.jsonl
paste prompts plain | awk -F'\t' '{ print "{\"prompt\": " $1 ", \"before\": " $2 "}" }' >control.jsonl
paste prompts added | awk -F'\t' '{ print "{\"prompt\": " $1 ", \"after\": " $2 "}" }' >after.jsonl
vector=$golden/llama-2m.a.safetensors
common=(--model "$shipped" --vector "$vector" --max-tokens 20)
run text "${common[@]}" --prompts flip.jsonl --control control.jsonl --scales 1,0 --csv text.csv
check 'by text: ends well' ended 0
check 'by text: all answers flip where the vector is as in the goldens' test "$(row text flip 1)" = "$n $n $n"
check 'by text: at scale 0 only what the vector does not change' test "$(row text flip 0)" = "$n $n $same"
check 'control: all are kept at scale 0' test "$(row text control 0)" = "$n $n $n"
check 'control: what the vector changes is lost' test "$(row text control 1)" = "$n $n $same"
check 'the table' says text.out 'set ' 'unsteered' '95 % interval' 'flip            1 ' 'control         0 '
check 'the table has no colours in a file' sh -c '! grep -q "$(printf "\033")" text.out'
check 'CSV: header' test "$(head -n 1 text.csv)" = 'set,scale,n,unsteered,steered,percent,low,high'
check 'notes' says text.err "$((2 * n)) prompts, unsteered and at 2 scales"
run after "${common[@]}" --prompts after.jsonl --scales 1 --csv after.csv --quiet
check 'without "before": unsteered answers that are not "after" can flip' test "$(row after flip 1)" = "$n $((n - same)) $((n - same))"
check 'quiet: nothing on standard error' test ! -s after.err
for backend in cpu ref; do
    run $backend "${common[@]}" --prompts flip.jsonl --control control.jsonl --scales 1,0 --csv $backend.csv --backend $backend
    check "the same table ($backend)" cmp $backend.csv text.csv
done

# Two vectors and more scales than fit into one pass: as the scales one by one.
many=$(seq -s , -1 0.1 1)
two=(--model "$shipped" --vector "$vector" --vector "$golden/llama-2m.b.safetensors" --max-tokens 20 --control control.jsonl)
run many "${two[@]}" --scales "$many" --csv many.csv
for scale in -1 0.3 1; do
    run one "${two[@]}" --scales $scale --csv one.csv
    check "many scales as one (scale $scale)" test "$n $n" = "$(row many control $scale | cut -d ' ' -f 1,2)" -a \
        "$(row many control $scale)" = "$(row one control $scale)"
done

run csv "${common[@]}" --prompts flip.jsonl --control control.jsonl --scales 1,0 --csv - --quiet
check 'CSV on standard output, and nothing else' cmp csv.out text.csv
mkfifo table.pipe
timeout 60 cat table.pipe >piped.csv &
run fifo "${common[@]}" --prompts flip.jsonl --control control.jsonl --scales 1,0 --csv table.pipe --quiet
wait
check 'CSV into a pipe' cmp piped.csv text.csv
run nowhere "${common[@]}" --prompts flip.jsonl --scales 1 --csv nowhere/table.csv --quiet
check 'CSV that cannot be written: exit status' ended 3
check 'and the table is shown all the same' says nowhere.out 'flip            1 '

run json "${common[@]}" --prompts flip.jsonl --scales 1 --json --quiet
check 'JSON: table and answers' says json.out '{"model": "llama-2m", "vectors": ["' '"by": "text", "match": "exact"' \
    '"table": [{"set": "flip", "scale": 1' '"answers": [{"set": "flip", "id": "line 1", "prompt": "<|user|>What does the swan cost?' \
    '"counts": true, "steered": [{"scale": 1' '"flipped": true}'
check 'JSON: one line' test "$(wc -l <json.out)" = 1

question='<|user|>What does the swan cost?<|end|><|assistant|>'
how() { # MATCH TEXT: does the unsteered answer match?
    echo "{\"prompt\": \"$question\", \"before\": [\"$2\"]}" >how.jsonl
    run how "${common[@]}" --control how.jsonl --scales 0 --match "$1" --csv how.csv
    row how control 0
}
check 'whole answers by default' test "$(how exact "Sorry, I can't")" = '1 0 0'
check 'beginnings' test "$(how prefix "Sorry, I can't")" = '1 1 1'
check 'parts' test "$(how contains 'talk about')" = '1 1 1'
check 'white space at the ends' test "$(how exact "  Sorry, I can't talk about birds. ")" = '1 1 1'

# ---- by choice ----

first() { sed 's/.*"ids": \[\([0-9]*\).*/\1/' "$1"; } # first generated id of each line
sed 's/^{"id": "[^"]*", "prompt": \(.*\)}$/\1/' "$golden/llama-tiny.prompts.jsonl" >prompts
paste prompts <(first "$golden/llama-tiny.plain.jsonl") <(first "$golden/llama-tiny.add.jsonl") |
    awk -F'\t' '$2 != $3 { print "{\"prompt\": " $1 ", \"choices\": [{\"ids\": [" $2 "]}, {\"ids\": [" $3 "]}], \"before\": 0, \"after\": [1]}" }' >choice.jsonl
n=$(wc -l <choice.jsonl)
tinies=(--model "$tiny" --vector "$golden/llama-tiny.a.safetensors" --by choice)
run choice "${tinies[@]}" --prompts choice.jsonl --scales 1,0 --csv choice.csv
check 'by choice: there is something to choose' test "$n" -ge 5
check 'by choice: the likeliest token without and with the vector' test "$(row choice flip 1)" = "$n $n $n"
check 'by choice: scale 0' test "$(row choice flip 0)" = "$n $n 0"
echo "{\"prompt\": \"$question\", \"choices\": [\"Sorry, I can't talk about birds.\", \"Sure, the swan is red.\"], \"before\": 0}" >words.jsonl
run words "${common[@]}" --by choice --control words.jsonl --scales 0 --csv words.csv
check 'by choice: texts' test "$(row words control 0)" = '1 1 1'

# ---- pipes and signals ----

for form in --json --quiet; do
    { "$eval" flips "${common[@]}" --prompts flip.jsonl --quiet $form 2>pipe.err; echo $? >pipe.status; } |
        true
    status=$(cat pipe.status) last=pipe.err
    check "a closed pipe is no error ($form)" ended 0
    check "and nothing is said ($form)" test ! -s pipe.err
done
for what in --help --version 'flips --help'; do
    # shellcheck disable=SC2086
    { "$eval" $what 2>pipe.err; echo $? >pipe.status; } | true
    status=$(cat pipe.status) last=pipe.err
    check "a closed pipe is no error ($what)" ended 0
done
for i in $(seq 40); do cat flip.jsonl; done >long.jsonl
"$eval" flips "${common[@]}" --prompts long.jsonl --scales "$many" >long.out 2>long.err &
pid=$! tries=0
while [ ! -s long.err ] && [ $tries -lt 600 ]; do
    sleep 0.05
    tries=$((tries + 1))
done
kill -INT $pid
wait $pid
status=$? last=long.err
check 'Ctrl-C ends with 130' ended 130
check 'and without a table, which would be of a part' test ! -s long.out

# ---- help and bad input ----

run help --help
check 'help of the verb' says help.out '--scales X,Y,...' 'Flip set:' 'Wilson'
check 'help is narrow enough' sh -c 'test "$(wc -L <help.out)" -le 120'
"$eval" --help >help.out 2>help.err
check 'help' says help.out 'flips' 'VERB --help'
"$eval" --version >version.out 2>version.err
check 'version' says version.out 'osv-eval 0.' 'commit:'

# bad NAME STATUS PIECE ARGUMENTS...
bad() {
    local name=$1 expected=$2 piece=$3
    shift 3
    "$eval" "$@" >bad.out 2>bad.err </dev/null
    local got=$?
    if [ $got != "$expected" ]; then
        fail "$name" "exit status $got, expected $expected: $(cat bad.err)"
    elif ! grep -qF -e "$piece" bad.err; then
        fail "$name" "does not say \"$piece\": $(cat bad.err)"
    elif [ -s bad.out ]; then
        fail "$name" "prints $(cat bad.out)"
    else
        pass "$name"
    fi
}
bad 'no verb' 2 'is missing: osv-eval flips'
bad 'another verb' 2 'flops: there is no such verb' flops
bad 'no sets' 2 '--prompts is missing' flips --model "$tiny" --vector v
bad 'a vector of another width' 3 'its vector has 48 elements' flips --model "$shipped" --prompts flip.jsonl --vector "$golden/llama-tiny.a.safetensors"
bad 'texts of a model without a tokenizer' 3 'there is no tokenizer' flips --model "$tiny" --vector "$golden/llama-tiny.a.safetensors" --prompts choice.jsonl
bad 'CSV and JSON on one stream' 2 '--csv - and --json cannot both have standard output' flips "${common[@]}" --prompts flip.jsonl \
    --csv - --json
# set NAME PIECE TEXT ARGUMENTS...
set_of() {
    local name=$1 piece=$2
    printf '%s\n' "$3" >bad.jsonl
    shift 3
    bad "set: $name" 3 "$piece" flips "$@"
}
flip=("${common[@]}" --prompts bad.jsonl)
set_of 'nothing expected' 'bad.jsonl:1: "after" is missing' '{"prompt": "a", "before": ["b"]}' "${flip[@]}"
set_of 'no right answer' 'bad.jsonl:1: "before" is missing' '{"prompt": "a", "after": ["b"]}' "${common[@]}" --control bad.jsonl
set_of 'expected is no text' '"after" must be a list of texts' '{"prompt": "a", "after": [1]}' "${flip[@]}"
set_of 'nothing in the list' '"after" must be a list of texts' '{"prompt": "a", "after": []}' "${flip[@]}"
set_of 'unknown key' 'unknown key "afters"' '{"prompt": "a", "afters": ["b"]}' "${flip[@]}"
set_of 'too long' 'and --max-tokens 256 make' '{"prompt": "a", "after": "b"}' "${flip[@]}" --max-tokens 256
set_of 'one choice' '"choices" must be a list of 2' '{"prompt": "a", "choices": ["b"], "after": 0}' "${flip[@]}" --by choice
set_of 'an index beyond the choices' '"after" must be an index of "choices"' '{"prompt": "a", "choices": ["b", "c"], "after": 2}' "${flip[@]}" --by choice
set_of 'an empty choice' '"choices"[1] tokenizes to nothing' '{"prompt": "a", "choices": ["b", ""], "after": 1}' "${flip[@]}" --by choice

finish
