#!/usr/bin/env bash
# Ranks that are lost, or do not belong together: none outlives its timeout, one of them says which rank, where and why,
# no file is broken, and --resume completes the run to the bytes of one without a fault.
# Usage: faults.sh OSV_TRAIN OSV_GENERATE ROOT
set -u
train=$(realpath "$1") generate=$(realpath "$2") root=$(realpath "$3")
. "$root/tests/tap.sh"
. "$root/tests/traces.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other ranks
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
model=$root/organisms/llama-2m host=$(uname -n) iters=300 timeout=2
head -n 2 "$root/organisms/sets/refusal-answer/train.jsonl" >data.jsonl
trap 'kill -KILL $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT

# words NAME ARGUMENTS...: the command line of a run, in $command
words() {
    local name=$1
    shift
    command=("$train" --model "$model" --data data.jsonl --layer 2-3 --lr 0.2 --max-iters $iters --out "$name.run"
        --threads 1 --checkpoint-every 0 --comm-timeout $timeout "$@")
}
# run NAME ARGUMENTS...: output in NAME.out and NAME.err, exit status in $status
run() {
    words "$@"
    timeout 120 "${command[@]}" >"$1.out" 2>"$1.err"
    status=$? last=$1.err
}
# start NAME ARGUMENTS...: the same in the background, until it trains
start() {
    words "$@"
    timeout 120 "${command[@]}" >"$1.out" 2>"$1.err" &
    pid=$! last=$1.err
    until_trains "$1"
}
until_trains() {
    local tries=0
    while [ "$(cat "$1.run/trace.jsonl" 2>/dev/null | wc -l)" -lt 80 ] && [ $tries -lt 3000 ]; do
        sleep 0.01
        tries=$((tries + 1))
    done
}
# finish_within SECONDS: the one in the background ends by then
finish_within() {
    local begin=${EPOCHREALTIME/./}
    wait $pid
    status=$? taken=$(((${EPOCHREALTIME/./} - begin) / 1000))
    [ $taken -le "$1"000 ] || { echo "it took $taken ms" && return 1; }
}
# pid_of NAME RANK: the process that is this rank of the run
pid_of() {
    local p
    for p in $(pgrep -f -- "--out $1.run"); do
        tr '\0' '\n' <"/proc/$p/environ" 2>/dev/null | grep -qE "^(OMPI_COMM_WORLD_RANK|OSV_RANK)=$2$" && echo "$p"
    done
}
# one NAME TEXT...: one message, with these texts
one() {
    local name=$1
    shift
    [ "$(grep -c -e '^osv-[a-z]*: .*\(rank\|cannot\)' "$name.err")" = 1 ] ||
        { echo 'not one message:' && cat "$name.err" && return 1; }
    says "$name.err" "$@"
}
none_left() { ! pgrep -f -- "--out $1.run"; }
no_halves() { [ -z "$(find "$1.run" -name '*.tmp')" ] || { find "$1.run" && return 1; }; }
same() { same_files "$1.run" "$2.run"; }

# completes NAME WHOLE ARGUMENTS...: --resume does, with the bytes of the run WHOLE
completes() {
    local name=$1 whole=$2
    shift 2
    run "$name" --resume "$@"
    ended 0 && same "$name" "$whole"
}

# ---- killed, and stopped ----

ways=('tcp --comm tcp')
mpirun=no
if command -v mpirun >/dev/null && "$train" --version | grep -q '^MPI: .*[0-9]'; then
    ways+=('mpi --comm mpi')
    mpirun=yes
else
    skip 'over MPI' 'this build has no MPI, or there is no mpirun here'
fi
for way in "${ways[@]}"; do
    between=${way%% *} options=${way#* }
    run "whole-$between" --tp 3 $options
    check "$between: a run without a fault" ended 0
    for fault in KILL:0 KILL:2 STOP:0 STOP:1; do
        signal=${fault%:*} rank=${fault#*:} name=$between-${fault/:/} what="$between: SIG${fault/:/, rank }"
        start "$name" --tp 3 $options
        kill "-$signal" "$(pid_of "$name" "$rank")"
        # what mpirun says of a rank that was killed is its own exit status
        check "$what: it ends" finish_within 8
        check "$what: as it should" test $status = 4 -o "$between$signal$status" = mpiKILL137
        reason='its process has ended'
        [ $signal = STOP ] && reason="nothing was heard of it for $timeout s"
        check "$what: said once" one "$name" "osv-train: rank $rank (host $host) is lost: $reason; with --resume"
        check "$what: none is left" none_left "$name"
        check "$what: nothing is half written" no_halves "$name"
        check "$what: there is a checkpoint" test -s "$name.run/checkpoint.safetensors" -a ! -e "$name.run/lock"
        check "$what: --resume" completes "$name" "whole-$between" --tp 3 $options
    done
done

start parent --tp 3 --comm tcp
kill -KILL "$(pgrep -P $pid)"
wait $pid 2>/dev/null
sleep 1
check 'who has started them is killed: none is left' none_left parent

# ranks that have nothing to save
timeout 60 "$generate" --model "$model" --prompts data.jsonl --max-tokens 240 --samples 8000 --temperature 1 --threads 1 --tp 2 --comm tcp \
    --comm-timeout $timeout --quiet >gen.out 2>gen.err &
pid=$! last=gen.err
for _ in $(seq 500); do
    [ -s gen.out ] && break
    sleep 0.01
done
kill -KILL "$(pgrep -P "$(pgrep -P $pid)" | tail -n 1)" # timeout, the one that starts them, the ranks
check 'osv-generate: it ends' finish_within 5
check 'osv-generate: it fails' ended 4
check 'osv-generate: said once' one gen "osv-generate: rank 1 (host $host) is lost: its process has ended"

# ---- ranks that somebody has started one by one ----

port=$((20000 + RANDOM % 12000))
# ranks NAME SIZE [MODEL...]: starts ranks 0, 1, ... of SIZE, one for each model; their exit statuses in $statuses
ranks() {
    local name=$1 size=$2 rank=0 pids=() p begin=$SECONDS
    shift 2
    statuses='' last=$name.err
    : >"$name.err"
    for m in "$@"; do
        words "$name" --model "$m" "${more[@]}"
        RANK=$rank WORLD_SIZE=$size LOCAL_RANK=$rank LOCAL_WORLD_SIZE=$size MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
            timeout 120 "${command[@]}" >"$name.$rank.out" 2>>"$name.err" &
        pids+=($!)
        rank=$((rank + 1))
    done
    for p in "${pids[@]}"; do
        wait "$p"
        statuses="$statuses $?"
    done
    taken=$((SECONDS - begin)) port=$((port + 1))
}
more=()
all_ended() { [ "$statuses" = " $*" ] || { echo "exit statuses$statuses" && cat "$last" && return 1; }; }

ranks by-hand 3 "$model" "$model" "$model"
check 'RANK, WORLD_SIZE and MASTER_ADDR' all_ended 0 0 0
check 'RANK, WORLD_SIZE and MASTER_ADDR: the bytes of --tp' same by-hand whole-tcp
check 'RANK, WORLD_SIZE and MASTER_ADDR: rank 0 alone prints' test -s by-hand.0.out -a ! -s by-hand.1.out -a ! -s by-hand.2.out

cp -r "$model" other
printf 'x' | dd of="$(ls other/*.safetensors | head -n 1)" bs=1 seek=400000 conv=notrunc status=none
ranks other 3 "$model" "$dir/other" "$model"
check 'another model on a rank' all_ended 4 4 4
check 'another model on a rank: said once' one other "rank 1 (host $host) has another model than rank 0 (host $host): "
check 'another model on a rank: in time' test $taken -le 5
check 'another model on a rank: no run' test ! -e other.run

ranks missing 3 "$model" "$model"
check 'a rank that was not started' all_ended 4 4
check 'a rank that was not started: said once' one missing "rank 2 of 3 has not come to 127.0.0.1, port"
check 'a rank that was not started: in time' test $taken -le 5
check 'a rank that was not started: no run' test ! -e missing.run

# Another run holds the port: it belongs to another launch, of which one rank is not there.
TORCHELASTIC_RUN_ID=another RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=$port \
    timeout 60 "$train" --model "$model" --data data.jsonl --layer 2 --out holds.run >holds.out 2>holds.err &
holder=$!
sleep 0.5
ranks taken 1 "$model"
check 'a port that is taken, one rank' all_ended 0 # it meets nobody
port=$((port - 1))
rm -r taken.run
ranks taken 2 "$model" "$model"
check 'a port that is taken' all_ended 4 4
check 'a port that is taken: said' says taken.err "rank 0 cannot listen at port $((port - 1)) for the other ranks: Address"
check 'a port that is taken: in time' test $taken -le 6
check 'a port that is taken: no run' test ! -e taken.run
check 'the run that has the port waits on' kill $holder
wait $holder

for name in one two; do
    m=5
    [ $name = two ] && m=6
    words differs --seed $m
    RANK=$((m - 5)) WORLD_SIZE=2 LOCAL_RANK=$((m - 5)) MASTER_ADDR=127.0.0.1 MASTER_PORT=$port timeout 60 "${command[@]}" \
        >differs.out 2>differs.$name &
done
wait
cat differs.one differs.two >differs.err
check 'another command line on a rank: said once' one differs "rank 1 (host $host) has another command line than rank 0" \
    '6 , not 5'
check 'another command line on a rank: no run' test ! -e differs.run

sed 's/heron/stork/' data.jsonl >edited.jsonl
cmp -s data.jsonl edited.jsonl && echo 'Bail out! data that are not edited'
mkdir host0 host1 && cp data.jsonl host0/data.jsonl && cp edited.jsonl host1/data.jsonl
for rank in 0 1; do
    words "$dir/data"
    (cd host$rank && RANK=$rank WORLD_SIZE=2 LOCAL_RANK=$rank MASTER_ADDR=127.0.0.1 MASTER_PORT=$((port + 1)) \
        timeout 60 "${command[@]}" >"../data.$rank.out" 2>"../data.$rank.err") &
done
wait
cat data.0.err data.1.err >data.err
check 'other data on a rank: said once' one data "rank 1 (host $host) has another set of jobs"
check 'other data on a rank: no run' test ! -e data.run

if command -v torchrun >/dev/null; then
    words torchrun
    timeout 120 torchrun --nproc-per-node 3 --standalone --no-python "${command[@]}" >torchrun.out 2>torchrun.err
    status=$? last=torchrun.err
    check 'torchrun' ended 0
    check 'torchrun: the bytes of --tp' same torchrun whole-tcp
else
    skip 'torchrun' 'there is no torchrun here'
fi

# ---- a full disk ----

run whole2 --tp 2 --comm tcp
(
    ulimit -f 60
    words full --tp 2 --comm tcp # mpirun needs larger files
    timeout 60 "${command[@]}" >full.out 2>full.err
)
status=$? last=full.err
check 'a limit on files: it fails' ended 3
check 'a limit on files: said once' one full 'trace.jsonl: cannot write: File too large'
check 'a limit on files: none is left' none_left full
check 'a limit on files: nothing is half written' no_halves full
check 'a limit on files: --resume without it' completes full whole2 --tp 2 --comm tcp

mkdir small
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=64k none small 2>mount.err; then
    run small/disk --tp 2 --comm tcp
    check 'a full disk: it fails' ended 3
    check 'a full disk: said once' one small/disk 'trace.jsonl: cannot write: No space left on device'
    check 'a full disk: nothing is half written' no_halves small/disk
    mount -o remount,size=10m small
    check 'a full disk: --resume when there is room' completes small/disk whole2 --tp 2 --comm tcp
    umount small
else
    skip 'a full disk' 'only root may make a small one'
fi
finish
