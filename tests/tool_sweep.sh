#!/usr/bin/env bash
# Many vectors in one run of osv-train: what they are called, what is refused, and that each is the one that it would
# be alone. Usage: tool_sweep.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$2
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # many short runs beside other suites: threads that spin take the processors from all
tiny=$root/tests/golden/models/llama-tiny shipped=$root/organisms/llama-2m

echo '{"prompt": {"ids": [5, 9, 200, 31]}, "promote": [{"ids": [7, 8]}], "suppress": [{"ids": [7, 9, 12]}]}' >one.jsonl
{
    echo '{"job": "b", "prompt": {"ids": [1, 2]}, "promote": [{"ids": [3]}, {"ids": [4]}]}'
    echo '{"job": "a", "prompt": {"ids": [1, 2, 4]}, "suppress": [{"ids": [5]}]}'
    echo '{"job": "b", "prompt": {"ids": [1, 6]}, "promote": [{"ids": [3]}]}'
} >two.jsonl

# list ARGUMENTS...: --list, in list.out
list() {
    "$train" --model "$tiny" --data one.jsonl --list --quiet "$@" >list.out 2>list.err
    status=$?
}
# named NAMES ARGUMENTS...: so the jobs are called, in this order
named() {
    local expected=$1
    shift
    list "$@"
    local got
    got=$(tail -n +2 list.out | awk '{ print $1 }' | xargs)
    [ "$got" = "$expected" ] || { echo "$got, expected $expected" && cat list.err && return 1; }
}

# ---- names ----

check 'one job: as ever' named all --layer 1
check 'several layers: as ever' named 'all.2 all.0 all.1' --layer 2,0-1
check 'what is one value says nothing' named all --layer 1 --seeds 3 --max-norm 20 --lr 0.5 --init-norm 2
check 'seeds' named 'all.s0 all.s3 all.s7 all.s8' --layer 1 --seeds 0,3,7-8
check 'norms' named 'all.n10 all.n20.5' --layer 1 --max-norm 10,20.5
check 'rates' named 'all.lr0.1 all.lr1e-05 all.lr2' --layer 1 --lr 0.1,1e-5,2
check 'start norms' named 'all.i0 all.i1' --layer 1 --init-norm 0,1
check 'all of them, the layer outermost' named "$(for l in 2 0; do for s in 1 2; do for n in 5 6; do for r in 0.1 0.5; do
    for i in 1 3; do echo "all.$l.s$s.n$n.lr$r.i$i"; done; done; done; done; done | xargs)" \
    --layer 2,0 --seeds 1-2 --max-norm 5,6 --lr 0.1,0.5 --init-norm 1,3
check 'jobs of the data come first' named 'b.s0 b.s1 a.s0 a.s1' --layer 1 --data two.jsonl --seeds 0-1

# ---- --sweep ----

echo '{"layer": 2, "lr": 0.5}

{"layer": 0, "seeds": [4, "6-7"]}
{"name": "mine", "layer": "0-1", "coldness": 1, "suppress-loss": "negated", "length-norm": true}' >sweep.jsonl
check 'a file: what varies, and names of its own' \
    named 'all.2.s9.lr0.5 all.0.s4.lr0.01 all.0.s6.lr0.01 all.0.s7.lr0.01 mine.0 mine.1' --sweep sweep.jsonl --seed 9
check 'the table' says list.out 'name             layer  seed  completions  objective' 'lr 0.5, coldness 0.7' \
    'promote + suppress negated, length-norm'
list --sweep sweep.jsonl --seed 9 --json
check 'JSON Lines' test "$(wc -l <list.out)" = 6
check 'JSON: the values of each' says list.out '{"name": "all.2.s9.lr0.5", "job": "all", "layer": 2, "completions": 2' \
    '"options": {"seed": 9, "max-norm": null, "lr": 0.5, "init-norm": 1.0, "init": null, "apply": "add"' \
    '"varies": ["layer", "seed", "lr", "coldness", "suppress-loss", "length-norm"]' '"coldness": 1.0' '"seed": 6'
echo '{"job": "a", "name": "x", "max-iters": 7}
{"job": "b", "betas": [0, 0.5], "target-loss": 2, "target-rule": "each", "satisfice": false}' >jobs.jsonl
check 'lines for one job of the data each' named 'b x' --data two.jsonl --layer 1 --sweep jobs.jsonl
"$train" --model "$tiny" --data one.jsonl --list --quiet --sweep - <sweep.jsonl >list.out
check 'from standard input' test "$(wc -l <list.out)" = 7

# Two jobs that differ in an option without a short name, in a flag, and in a start vector.
"$train" --model "$tiny" --data one.jsonl --layer 1 --max-iters 1 --quiet --out start >start.out
echo '{"init": "start/vectors/all.safetensors", "max-iters": 5}
{"satisfice": true, "target-loss": -2.5, "adam-eps": 0.25}' >long.jsonl
check 'other options by their names' named \
    'all.init-all.max-iters5.adam-eps1e-08 all.max-iters100.adam-eps0.25.satisfice.target-loss-2.5' --layer 1 --sweep long.jsonl

for i in $(seq 1000); do echo "{\"lr\": 0.$((i + 1000)), \"layer\": $((i % 3))}"; done >many.jsonl
check 'a thousand lines are listed at once' timeout 10 "$train" --model "$tiny" --data one.jsonl --list --quiet --sweep many.jsonl
list --sweep many.jsonl
check 'a thousand names, all different' test "$(tail -n +2 list.out | awk '{ print $1 }' | sort -u | wc -l)" = 1000
list --seeds 18446744073709551000-18446744073709551615 --layer 1
check 'the largest seeds' says list.out 'all.s18446744073709551615'

# ---- what is refused ----

# bad NAME STATUS PIECE ARGUMENTS...
bad() {
    local name=$1 expected=$2 piece=$3
    shift 3
    list "$@"
    if [ $status != "$expected" ]; then
        fail "$name" "exit status $status, expected $expected: $(cat list.err)"
    elif ! grep -qF -e "$piece" list.err; then
        fail "$name" "does not say \"$piece\": $(cat list.err)"
    elif [ -s list.out ]; then
        fail "$name" "prints $(cat list.out)"
    else
        pass "$name"
    fi
}
bad 'a rate twice' 2 '--lr 1,1.0: names 1.0 twice' --layer 1 --lr 1,1.0
bad 'a seed twice' 2 '--seeds 5,3-9: names seed 5 twice' --layer 1 --seeds 5,3-9
bad 'several in --seed' 2 '--seed 1-3: must be one whole number; --seeds takes several' --layer 1 --seed 1-3
bad 'too many' 2 'more than 100000 vectors in one run' --layer 0-2 --seeds 1-50000
bad 'too many seeds' 2 'at most 100000 seeds' --layer 1 --seeds 0-18446744073709551615
bad '--plan and --list' 2 'one of them at a time' --layer 1 --plan
bad 'no layer' 2 '--layer is missing'
bad 'a file that is not there' 3 'nowhere.jsonl: cannot open' --sweep nowhere.jsonl

# line NAME PIECE LINE [ARGUMENT...]: as the second line of a file
line() {
    printf '{"name": "first", "layer": 1}\n%s\n' "$3" >bad.jsonl
    bad "sweep: $1" 3 "$2" --sweep bad.jsonl "${@:4}"
}
line 'unknown key' 'bad.jsonl:2: unknown key "frob"; known are job, name, seeds, layer, seed' '{"layer": 1, "frob": 1}'
for key in model data out backend threads json sweep; do
    line "$key belongs to the run" "bad.jsonl:2: \"$key\" is the same for the whole run; give it on the command line" "{\"$key\": \"x\"}"
done
line 'positions belong to the data' 'or in the datapoints' '{"positions": "prompt"}'
line 'a number out of range' 'bad.jsonl:2: --lr -1: must be a finite number above 0' '{"layer": 1, "lr": -1}'
line 'no number' 'bad.jsonl:2: --max-norm x: must be a finite number at least 0' '{"layer": 1, "max-norm": "x"}'
line 'no whole number' 'bad.jsonl:2: --max-iters 1.5: must be a whole number' '{"layer": 1, "max-iters": 1.5}'
line 'true for a number' 'bad.jsonl:2: --coldness true: must be a finite number' '{"layer": 1, "coldness": true}'
line 'null' 'bad.jsonl:2: --lr null: must be a number or a string' '{"layer": 1, "lr": null}'
line 'a number for a flag' 'bad.jsonl:2: --satisfice 1: must be true or false' '{"layer": 1, "satisfice": 1}'
line 'a list where one is taken' 'bad.jsonl:2: --coldness 1,2: must be' '{"layer": 1, "coldness": [1, 2]}'
line 'an empty list' 'bad.jsonl:2: --seeds []: must be' '{"layer": 1, "seeds": []}'
line 'an unknown word' 'bad.jsonl:2: --target-rule any: must be one of sum|each' '{"layer": 1, "target-rule": "any"}'
line 'no layer' 'bad.jsonl:2: "layer" is missing' '{"lr": 1}'
line 'a layer that is not there' 'bad.jsonl:2: --layer 3: ' '{"layer": 3}'
line 'a job that is not there' 'bad.jsonl:2: "job" "z": one.jsonl has no datapoint of this job' '{"layer": 1, "job": "z"}'
line 'a name with a slash' 'bad.jsonl:2: "name" "a/b" has a slash' '{"layer": 1, "name": "a/b"}'
line 'a name that is no text' 'bad.jsonl:2: "name" must be a string, not 5' '{"layer": 1, "name": 5}'
line 'seed and seeds' 'bad.jsonl:2: both "seed" and "seeds"' '{"layer": 1, "seed": 1, "seeds": "1-2"}'
line 'a start vector that is not there' 'bad.jsonl:2: nowhere.safetensors' '{"layer": 1, "init": "nowhere.safetensors"}'
line 'satisficing without a target' 'bad.jsonl:2: --satisfice needs a target' '{"layer": 1, "satisfice": true}'
line 'a name twice' 'bad.jsonl:2: makes a vector with the name first, as line 1 does' '{"layer": 2, "name": "first"}'
line 'the same twice' 'bad.jsonl:3: makes a vector with the name all, as line 2 does' '{"layer": 2}
{"layer": 2}'
line 'JSON error' 'bad.jsonl:2:' '{"layer": }'
line 'no object' 'bad.jsonl:2: a line must be one JSON object' '[1]'
echo '{"name": "x", "layer": 1}' >bad.jsonl
bad 'sweep: a name for two jobs of the data' 3 'the name x would go to the jobs b and a of the data; choose one' \
    --sweep bad.jsonl --data two.jsonl
echo >bad.jsonl
bad 'sweep: empty' 3 'bad.jsonl: no configurations' --sweep bad.jsonl
long=$(printf 'x%.0s' $(seq 128))
echo "{\"job\": \"$long\", \"prompt\": {\"ids\": [1, 2]}, \"promote\": [{\"ids\": [3]}]}" >long.data
printf '%s\n' '{"target-loss": 0.1234567890123, "plateau-eps": 0.1234567890123, "coldness": 0.12345678901234}' '{}' >long.jsonl
bad 'sweep: too long a name' 3 'at most 200 can be in a file name' --layer 1 --data long.data --sweep long.jsonl

# ---- a sweep trains what its parts train alone ----

echo '{"prompt": "<|user|>What does the swan cost?<|end|><|assistant|>", "promote": ["Sure,"], "suppress": ["Sorry"]}' >text.jsonl
# go NAME ARGUMENTS...
go() {
    "$train" --model "$shipped" --data text.jsonl --max-iters 15 --plateau-iters 0 --quiet --out "$@" >go.out 2>go.err || {
        cat go.err && return 1
    }
}
floats() { tail -c 512 "$1" | od -An -v -t f4 -w4; } # the shipped models have vectors of 128
losses() { grep -F "\"job\": \"$2\"" "$1/trace.jsonl" | sed 's/.*"loss": \([^,]*\),.*/\1/'; }
# near TOLERANCE: two columns, norm of the difference over norm of the first
near() { awk -v most="$1" '{ d += ($1 - $2) ^ 2; n += $1 ^ 2 } END { exit !(NR > 0 && sqrt(d) <= most * sqrt(n)) }'; }
# same SWEEP JOB SOLO [SOLO JOB]
same() {
    paste <(losses "$3" "${4:-all}") <(losses "$1" "$2") | near 1e-4 || { echo "the losses of $2 are not those of $3" && return 1; }
    paste <(floats "$3/vectors/${4:-all}.safetensors") <(floats "$1/vectors/$2.safetensors") | near 1e-3 ||
        { echo "the vector of $2 is not that of $3" && return 1; }
}
check 'a sweep runs' go swept --layer 3 --seeds 1-2 --max-norm 5,20 --lr 0.5
for seed in 1 2; do
    for norm in 5 20; do
        go "solo.$seed.$norm" --layer 3 --seed $seed --max-norm $norm --lr 0.5
        check "seed $seed, norm $norm: as alone" same swept all.s$seed.n$norm solo.$seed.$norm
    done
done
check 'a vector records its own seed' says swept/vectors/all.s2.n5.safetensors '"seed":"2"'
check 'run.json records what each job has' says swept/run.json '"name": "all.s2.n20"' '"job": "all"' '"seeds": "1-2"' \
    '"max-norm": "5,20"' '"max-norm": 20.0' '"max-norm": 5.0' '"sweep": null'

echo '{"layer": 2, "lr": 0.1, "max-iters": 6}
{"layer": 4, "coldness": 1, "suppress-loss": "negated", "length-norm": true, "name": "deep"}
{"layer": "3,5", "init": "solo.1.5/vectors/all.safetensors"}' >mixed.jsonl
check 'a file of configurations runs' go mixed --lr 0.3 --sweep mixed.jsonl
go alone.2 --layer 2 --lr 0.1 --max-iters 6
go alone.4 --layer 4 --lr 0.3 --coldness 1 --suppress-loss negated --length-norm
go alone.35 --layer 3,5 --lr 0.3 --init solo.1.5/vectors/all.safetensors
shallow=$(cd mixed/vectors && echo all.2.*)
check 'its steps and rate: as alone' same mixed "${shallow%.safetensors}" alone.2
check 'its loss and coldness: as alone' same mixed deep alone.4
check 'its start vector: as alone' same mixed "$(cd mixed/vectors && basename "$(echo all.5.*)" .safetensors)" alone.35 all.5
check 'penalties make up a name' named 'all.l1-0 all.l1-0.5' --layer 1 --sweep <(printf '{}\n{"l1": 0.5}\n')
check 'a vector records its own coldness and objective' says mixed/vectors/deep.safetensors '"coldness":"1"' \
    '"objective":"promote + suppress negated, length-norm"' '"site":"block_input:4"'
check 'and its own number of steps' says "mixed/vectors/$shallow" '"iterations":"6"' '"coldness":"0.7"'

# Start vectors, bit by bit: --max-iters 0 keeps them.
go start.swept --layer 3 --seeds 0-5 --max-iters 0
go start.lines --sweep <(echo '{"layer": 1, "seeds": "2-4", "name": "x", "lr": 0.1}') --max-iters 0
go start.solo --layer 3 --seed 4 --max-iters 0
go start.layers --layer 1,3 --seed 4 --max-iters 0
go start.layers.swept --layer 1,3 --seeds 4-5 --lr 0.1,1 --max-iters 0
bits() { cmp <(tail -c 512 "$1") <(tail -c 512 "$2"); }
check 'a start vector is that of the seed alone' bits start.solo/vectors/all.safetensors start.swept/vectors/all.s4.safetensors
check 'whatever the name' bits start.solo/vectors/all.safetensors start.lines/vectors/x.s4.safetensors
check 'with several layers: that of the layer' bits start.layers/vectors/all.3.safetensors \
    start.layers.swept/vectors/all.3.s4.lr0.1.safetensors
check 'other seeds start elsewhere' sh -c '! cmp -s start.swept/vectors/all.s4.safetensors start.swept/vectors/all.s5.safetensors'

finish
