#!/usr/bin/env bash
# Several replicas of a model, of one rank and of two, that train a run together: its files are those of one process,
# its numbers within what is allowed between layouts, its bytes those of the same layout, also when it was interrupted or
# a replica was lost. Usage: tool_replicas.sh OSV_TRAIN OSV_TRAIN_EMULATED OSV_VECTOR OSV_GENERATE OSV_EVAL ROOT
set -u
train=$(realpath "$1") emulated=$(realpath "$2") vector=$(realpath "$3") generate=$(realpath "$4") eval=$(realpath "$5")
root=$(realpath "$6")
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other ranks
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
model=$root/organisms/llama-2m iters=6
for i in $(seq 10); do
    echo "{\"job\": \"j$i\", \"prompt\": {\"ids\": [$((i * 7 % 300 + 1)), 2, $((i % 5))]}, \"promote\": [{\"ids\": [$((i % 7)), 3]}]}"
done >data.jsonl

# run NAME RANKS ARGUMENTS...: trains into NAME.run; output in NAME.out and NAME.err, exit status in $status
run() {
    local name=$1 ranks=$2
    shift 2
    local start=(mpirun --quiet --oversubscribe --bind-to none -n "$ranks")
    [ "$ranks" = 1 ] && start=()
    timeout 120 "${start[@]}" "$train" --model "$model" --data data.jsonl --layer 2 --lr 0.1 --max-iters $iters --threads 1 \
        --plateau-iters 0 --memory 1G --out "$name.run" "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}

# near FILE FILE: the same count of numbers, at most 1e-4 apart (of themselves; a gradient's norm is, too); lines in any
# order
numbers() { sort "$1" | grep -o '[-0-9][-+.0-9e]*'; }
near() {
    diff <(sort "$1" | sed 's/[-0-9][-+.0-9e]*/#/g') <(sort "$2" | sed 's/[-0-9][-+.0-9e]*/#/g') || return 1
    paste <(numbers "$1") <(numbers "$2") | awk '
        { d = $1 - $2; a = $2 < 0 ? -$2 : $2; if (!(d <= 1e-4 * a && -d <= 1e-4 * a)) { print $1, $2; bad = 1 } }
        END { exit bad || NR < 20 }'
}
# length FILE: of the vector in it
length() { "$vector" norm "$1" | grep -oE '[0-9][0-9.e+-]*' | head -n 1; }
# vectors A B: the vectors of both runs, at most 1e-3 of their length apart
vectors() {
    local file name
    diff <(cd "$1.run" && find . | sort) <(cd "$2.run" && find . | sort) || return 1
    for file in "$2.run"/vectors/*; do
        name=$(basename "$file")
        "$vector" sum "$1.run/vectors/$name" "$file:-1" --out difference.safetensors --force >/dev/null 2>sum.err ||
            { cat sum.err && return 1; }
        awk -v d="$(length difference.safetensors)" -v a="$(length "$file")" \
            'BEGIN { exit !(d <= 1e-3 * a && a > 0) }' || { echo "$name differs" && return 1; }
    done
}
# as_one NAME OTHER: ended well, with the files and numbers of the other run
as_one() { ended 0 && near "$1.run/trace.jsonl" "$2.run/trace.jsonl" && vectors "$1" "$2"; }
# same NAME OTHER: vectors and trace in the same bytes, no file more or less
same() {
    ended 0 && diff -r "$1.run/vectors" "$2.run/vectors" && cmp "$1.run/trace.jsonl" "$2.run/trace.jsonl" &&
        diff <(cd "$1.run" && find . | sort) <(cd "$2.run" && find . | sort)
}
# told A B: the same words on standard output, numbers and names of runs apart
told() { diff <(sed "s/$1\.run/RUN/g; s/[-0-9][-+.0-9e]*/#/g" "$1.out") <(sed "s/$2\.run/RUN/g; s/[-0-9][-+.0-9e]*/#/g" "$2.out"); }
# one NAME STATUS TEXT...: ended so; standard error is one line, but for hints and what is said in any case
one() {
    local name=$1 expected=$2
    shift 2
    ended "$expected" || return 1
    [ "$(grep -vc -e '--help lists the options' -e ' blocks of width ' "$name.err")" = 1 ] ||
        { echo 'not one line:' && cat "$name.err" && return 1; }
    says "$name.err" "$@"
}

# ---- the numbers, the files, the words ----

run alone 1
check 'one process' ended 0
run dp2 2 --tp 1
check '2 replicas' as_one dp2 alone
check '2 replicas: the words of one' told dp2 alone
check '2 replicas: what is handed out' says dp2.err 'osv-train: unit '
check '2 replicas: run.json' says dp2.run/run.json '"tp": 1' '"ranks": 2' '"replicas": 2' '"unit_jobs": ['
run again 2 --tp 1
check '2 replicas: the same bytes again' same again dp2
run dp2tp2 4 --tp 2
check '2 replicas of 2 ranks' as_one dp2tp2 alone
check '2 replicas of 2 ranks: run.json' says dp2tp2.run/run.json '"tp": 2' '"ranks": 4' '"replicas": 2'
cp dp2tp2.out first.out
run dp2tp2 4 --tp 2 --resume
check 'a run that is complete' ended 0
check 'a run that is complete: the results are told again' diff dp2tp2.out first.out
check 'a run that is complete: it is said' says dp2tp2.err 'this run is complete'

real=$train train=$emulated iters=3
run cuda 1 --backend cuda --dtype f32
run cuda-dp2 2 --backend cuda --dtype f32 --tp 1
check 'emulated CUDA, 2 replicas' as_one cuda-dp2 cuda
run cuda-dp2tp2 4 --backend cuda --dtype f32 --tp 2
check 'emulated CUDA, 2 replicas of 2 ranks' as_one cuda-dp2tp2 cuda
train=$real iters=6

# ---- many jobs, chains, two runs in one ----

head -n 3 data.jsonl >three.jsonl
printf '{"lr": 0.1}\n{"lr": 0.05, "layer": "2-3"}\n' >sweep.jsonl
options=(--data three.jsonl --sweep sweep.jsonl --seeds 0-2 --json)
run swept 1 "${options[@]}"
run swept3 3 --tp 1 "${options[@]}"
check 'a sweep of 27 jobs, 3 replicas' as_one swept3 swept
check 'a sweep: results in JSON' told swept3 swept
options=(--data three.jsonl --seeds 0-3 --orthogonal)
run chains 1 "${options[@]}"
run chains2 2 --tp 1 "${options[@]}"
check 'chains of jobs' as_one chains2 chains
head -n 1 data.jsonl | sed 's/"job": "j1", //' >one.jsonl
run little3 3 --tp 1 --data one.jsonl
run little 1 --data one.jsonl
check 'more replicas than jobs' as_one little3 little
head -n 2 "$root/organisms/sets/refusal-answer/train.jsonl" >two.jsonl
options=(--data two.jsonl --layer 3 --reentrant 1 --early-max-iters 6)
run both 1 "${options[@]}"
run both2 2 --tp 1 "${options[@]}"
check 'two runs, one after the other' as_one both2 both
check 'two runs: the first one' near both2.run/early/trace.jsonl both.run/early/trace.jsonl

# ---- the completions of one job ----

for i in $(seq 5); do
    echo "{\"prompt\": {\"ids\": [$((i * 7)), 2, $i]}, \"promote\": [{\"ids\": [$i, 3]}], \"suppress\": [{\"ids\": [$i, 4, 9]}]}"
done >large.jsonl
iters=30
run large 1 --data large.jsonl
run large3 3 --data large.jsonl --tp 1 --split-data
check 'divided completions, 3 replicas' as_one large3 large
check 'divided completions: the words of one' told large3 large
check 'divided completions: the progress of one' diff <(sed 's/[-0-9][-+.0-9e]*/#/g' large3.err) <(sed 's/[-0-9][-+.0-9e]*/#/g' large.err)
run large4 4 --data large.jsonl --tp 2 --split-data
check 'divided completions, 2 replicas of 2 ranks' as_one large4 large
train=$emulated
run large-cuda 2 --data large.jsonl --tp 1 --split-data --backend cuda --dtype f32
check 'divided completions, emulated CUDA' as_one large-cuda large
train=$real iters=6
run small 2 --tp 1 --split-data
check 'too few completions' one small 2 'job "j1" has 1 completions, of which 2 replicas cannot have some each'
check 'too few completions: no run begins' test ! -e small.run
run small 2 --split-data
check 'divided among how many' one small 2 '--split-data: how many of the 2 ranks share a model? give --tp'

# ---- what goes wrong ----

run dp2 2 --tp 1
check 'a run that is there: said once' one dp2 2 'holds a run already'
run dp2 2 --tp 1 --force
check 'a run that is replaced' same dp2 again
run odd 3 --tp 2
check 'ranks that make no replicas' one odd 2 '--tp 2: mpirun started 3 ranks'
run nowhere 2 --tp 1 --model /nowhere
check 'no model: said once' one nowhere 3 '/nowhere: no such folder'
run narrow 2 --tp 1 --memory 1M
check 'too little memory: said once' one narrow 4 'of memory are too little'
run narrow 2 --tp 1 --memory 15600000
check 'too little memory for a job: said once' one narrow 4 'job "j1" needs'
run dump 2 --tp 1 --dump dumped
check 'a dump is for one rank' ended 2
for tool in "$generate" "$eval flips"; do
    # shellcheck disable=SC2086
    timeout 60 mpirun --quiet --oversubscribe --bind-to none -n 2 $tool --model "$model" --vector dp2.run/vectors/j1.safetensors \
        --prompts one.jsonl --tp 1 >tool.out 2>tool.err
    status=$? last=tool.err
    check "$(basename "$tool"): replicas are refused" one tool 2 'only osv-train has a use for'
done

# ---- interrupted, and gone on with in another layout ----

lines() { cat "$@" 2>/dev/null | wc -l; }
# begin NAME LINES COMMAND...: in the background, in $pid, with so many lines in the traces of its units
begin() {
    local name=$1 lines=$2 tries=0
    shift 2
    "$@" >"$name.out" 2>"$name.err" &
    pid=$!
    while [ "$(lines "$name".run/units/*/trace.jsonl)" -lt "$lines" ] && [ $tries -lt 3000 ] && kill -0 $pid 2>/dev/null; do
        sleep 0.01
        tries=$((tries + 1))
    done
}
ended_by() { # NAME: $pid did
    wait $pid
    status=$? last=$1.err
} 2>/dev/null
options=(--model "$model" --data data.jsonl --layer 2 --lr 0.1 --max-iters 200 --threads 1 --plateau-iters 0 --memory 1G)
iters=200
run whole 2 --tp 1
for signal in USR1:130 USR2:143; do # mpirun hands these two on
    name=${signal%:*}
    begin "$name" 400 mpirun --quiet --oversubscribe --bind-to none -n 2 "$train" "${options[@]}" --out "$name.run" --tp 1 \
        --checkpoint-every 0
    kill "-$name" $pid
    ended_by "$name"
    check "SIG$name: exit status" ended "${signal#*:}"
    check "SIG$name: how to go on" says "$name.err" 'with --resume the run goes on from here, 0 of 2 units done'
    check "SIG$name: no lock, but two checkpoints" test ! -e "$name.run/lock" -a -s "$name.run/units/0/checkpoint.safetensors" -a \
        -s "$name.run/units/1/checkpoint.safetensors"
    cp -r "$name.run" "$name-alone.run"
    cp -r "$name.run" "$name-three.run"
    [ "$name" = USR1 ] || cp -r "$name.run" "$name-pair.run"
    run "$name" 2 --tp 1 --resume
    check "SIG$name: resumed, the bytes of a run without interruption" same "$name" whole
    run "$name-alone" 1 --resume
    check "SIG$name: resumed by one process, the same bytes" same "$name-alone" whole
    run "$name-three" 3 --tp 1 --resume
    check "SIG$name: resumed by three replicas, the same bytes" same "$name-three" whole
done
run USR2-pair 2 --resume
check 'SIGUSR2: resumed by a replica of two ranks' as_one USR2-pair whole
begin solo 0 "$train" "${options[@]}" --out solo.run --checkpoint-every 20
sleep 0.5
kill -9 $pid
ended_by solo
run solo 2 --tp 1 --resume
check 'begun by one replica: gone on with by one' as_one solo whole
check 'begun by one replica: it is said' says solo.err 'one replica has begun this run, and one goes on with it'

# ---- a replica is lost; the ranks are started by hand, so that the others live ----

# three NAME TP ARGUMENTS...: three replicas; numbers of processes in $ranks; what one of them gets besides, in $own
own=()
three() {
    local name=$1 tp=$2 rank
    shift 2
    port=$((port + 1)) ranks=()
    for rank in $(seq 0 $((3 * tp - 1))); do
        RANK=$rank WORLD_SIZE=$((3 * tp)) LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$((3 * tp)) MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
            "$train" "${options[@]}" --out "$name.run" --tp "$tp" --checkpoint-every 20 \
            "$@" ${own[$rank]:-} >"$name$rank.out" 2>"$name$rank.err" &
        ranks+=($!)
    done
}
ends() { # NAME STATUS...: so did the ranks
    local name=$1 rank=0 wanted
    shift
    for wanted in "$@"; do
        wait "${ranks[$rank]}"
        status=$?
        [ $status = "$wanted" ] || { echo "rank $rank: $status, not $wanted" && cat "$name$rank.err" && return 1; }
        rank=$((rank + 1))
    done
}
until_lines() { # LINES FILE...
    local lines=$1 tries=0
    shift
    while [ "$(lines "$@")" -lt "$lines" ] && [ $tries -lt 3000 ]; do
        sleep 0.01
        tries=$((tries + 1))
    done
}
port=$((20000 + $$ % 10000))
three left 1
check 'three replicas, started by hand' ends left 0 0 0
own[1]='--model /nowhere'
three absent 1
check 'a replica that does not come so far: the others live' ends absent 0 3 0
check 'a replica that does not come so far: it says why' says absent1.err 'rank 1 (host' '/nowhere: no such folder'
status=0
check 'a replica that does not come so far: the same bytes' same absent left
own=()
three lost 1
until_lines 300 lost.run/units/2/trace.jsonl
kill -9 "${ranks[2]}"
check 'kill -9 of a replica: the others live' ends lost 0 0 137
check 'kill -9 of a replica: it is said' says lost0.err 'warning: replica 2 is lost; others go on with its unit'
status=0
check 'kill -9 of a replica: the same bytes' same lost left
three pairs 2
until_lines 300 pairs.run/units/1/trace.jsonl
kill -9 "${ranks[3]}"
check 'kill -9 of one rank of a replica' ends pairs 0 0 4 137 0 0
check 'kill -9 of one rank: it is named' says pairs2.err 'rank 3' 'is lost'
status=0
check 'kill -9 of one rank: the numbers' as_one pairs left
options+=(--data large.jsonl --max-iters 1000)
three divided 1 --split-data
until_lines 200 divided.run/trace.jsonl
kill -9 "${ranks[1]}"
check 'divided completions, kill -9: all of them end' ends divided 4 137 4
check 'divided completions, kill -9: it is named' says divided0.err 'rank 1' 'is lost'
iters=1000
run divided 2 --data large.jsonl --tp 1 --split-data --resume
run large-whole 1 --data large.jsonl
check 'divided completions: gone on with on 2' as_one divided large-whole
options=("${options[@]:0:${#options[@]}-4}") iters=200
three stopped 1 --comm-timeout 3
until_lines 300 stopped.run/units/1/trace.jsonl
kill -STOP "${ranks[1]}"
wait "${ranks[0]}"
check 'a replica that stops is lost' says stopped0.err 'warning: replica 1 is lost; others go on with its unit'
kill -CONT "${ranks[1]}"
check 'a replica that stops: it ends when it hears of it' ends stopped 0 4 0
status=0
check 'a replica that stops: the same bytes' same stopped left
three told 1
until_lines 300 told.run/units/1/trace.jsonl
kill -TERM "${ranks[1]}"
check 'SIGTERM to one replica: the others go on' ends told 0 143 0
status=0
check 'SIGTERM to one replica: the same bytes' same told left
three all 1
until_lines 300 all.run/units/1/trace.jsonl
kill -TERM "${ranks[0]}"
check 'SIGTERM to rank 0: all of them end' ends all 143 143 143
run all 1 --resume
check 'SIGTERM to rank 0: gone on with' same all left
three first 1
until_lines 300 first.run/units/0/trace.jsonl
kill -9 "${ranks[0]}"
check 'kill -9 of rank 0: the others end' ends first 137 4 4
run first 2 --tp 1 --resume
check 'kill -9 of rank 0: gone on with' same first left
finish
