#!/usr/bin/env bash
# Programs of several ranks from end to end: the numbers of one, files and words from rank 0 alone, and a clean end.
# Usage: tool_ranks.sh OSV_TRAIN OSV_TRAIN_EMULATED OSV_GENERATE OSV_EVAL ROOT
set -u
train=$(realpath "$1") emulated=$(realpath "$2") generate=$(realpath "$3") eval=$(realpath "$4") root=$5
. "$root/tests/tap.sh"
. "$root/tests/traces.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # threads that spin take the processors from other ranks
model=$root/organisms/llama-2m
head -n 2 "$root/organisms/sets/refusal-answer/train.jsonl" >data.jsonl
iters=4

# run NAME ARGUMENTS...: trains into NAME.run; output in NAME.out and NAME.err, exit status in $status
run() {
    local name=$1
    shift
    timeout 120 "$train" --model "$model" --data data.jsonl --layer 2-3 --lr 0.2 --max-iters $iters --out "$name.run" \
        --threads 1 "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
# one NAME TEXT...: its standard error is one line, or two with the hint after usage errors, with these texts
one() {
    local name=$1
    shift
    [ "$(grep -vc -e '--help lists the options' -e ' blocks of width ' "$name.err")" = 1 ] ||
        { echo 'not one line:' && cat "$name.err" && return 1; }
    says "$name.err" "$@"
}

# told A B: the same words, but for the names of the runs
told() { diff <(sed "s/$1\.run/RUN/g" "$1.out") <(sed "s/$2\.run/RUN/g" "$2.out"); }

# ---- the numbers, the files, the words ----

between=tcp
command -v mpirun >/dev/null && "$train" --version | grep -q '^MPI: .*[0-9]' && between=mpi

run alone
check 'one rank trains' ended 0
for tp in 2 3 4; do
    run tp$tp --tp $tp
    check "$tp ranks: they start by themselves" ended 0
    check "$tp ranks: the trace of one" near tp$tp.run/trace.jsonl alone.run/trace.jsonl
    check "$tp ranks: the words of one" told tp$tp alone
    check "$tp ranks: the progress of one" diff tp$tp.err alone.err
    check "$tp ranks: the files of one" diff <(cd tp$tp.run && find . | sort) <(cd alone.run && find . | sort)
done
check 'run.json: how many there were' says tp3.run/run.json '"tp": 3' '"ranks": 3'  "\"between_ranks\": \"$between\""
run loud --tp 3 --verbose
for r in 0 1 2; do
    check "--verbose: rank $r" says loud.err "osv-train: rank $r (host $(hostname)): llama-2m: slice $((r + 1)) of 3 is there"
done
check '--verbose: rank 0 saves' says loud.err "osv-train: rank 0 (host $(hostname)): saved after"
check 'without it no rank is named' sh -c '! grep -q "rank [0-9]" tp3.err'
run again --tp 3 --comm tcp
check 'the same ranks, the same bytes, by MPI and by TCP' same_files tp3.run again.run
mkdir bin && ln -s "$(command -v timeout)" bin
PATH=$dir/bin run none --tp 3
check 'no mpirun: they start all the same' ended 0
check 'no mpirun: the same bytes' same_files tp3.run none.run

real=$train train=$emulated
run cuda --backend cuda --dtype f32
run cuda2 --backend cuda --dtype f32 --tp 2
check 'emulated CUDA, 2 ranks' ended 0
check 'emulated CUDA, 2 ranks: the trace of one' near cuda2.run/trace.jsonl cuda.run/trace.jsonl
train=$real

write() { # NAME ARGUMENTS...: texts, without their logprobs, into NAME.out
    local name=$1
    shift
    timeout 120 "$generate" --model "$model" --prompts data.jsonl --max-tokens 12 --json --quiet --threads 1 "$@" 2>"$name.err" |
        sed 's/"logprob.*//' >"$name.out"
}
for how in '' '--temperature 1.2 --top-p 0.9 --samples 3'; do
    write text1 $how
    write text3 $how --tp 3
    check "3 ranks write the text of one ($how)" test -s text1.out -a "$(cat text1.out)" = "$(cat text3.out)"
done
sed 's/"promote".*/"choices": ["Sorry", "Sure"], "before": 0, "after": [1]}/' data.jsonl >choices.jsonl
for tp in 1 2; do
    timeout 120 "$eval" flips --model "$model" --vector alone.run/vectors/1.2.safetensors --prompts choices.jsonl --by choice \
        --scales 1,-1 --threads 1 --quiet --csv eval$tp.csv --tp $tp >eval$tp.out 2>eval$tp.err
done
check '2 ranks measure what one does' test -s eval1.out -a "$(cat eval1.out)" = "$(cat eval2.out)"
check '2 ranks: one table' diff eval1.csv eval2.csv

# dump NAME ARGUMENTS...: into NAME.dump
dump() {
    local name=$1
    shift
    timeout 120 "$train" --model "$model" --data data.jsonl --layer 2-3 --threads 1 --dump "$name.dump" "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
header() { tail -c +9 "$1" | head -c "$(od -An -tu8 -N8 "$1" | tr -d ' ')"; }
floats() { od -An -v -tf4 -w4 -j $((8 + $(od -An -tu8 -N8 "$1"))) "$1"; }
near_floats() { # FILE FILE: the difference against the length
    paste <(floats "$1") <(floats "$2") | awk '{ d += ($1 - $2) ^ 2; n += $2 ^ 2 } END { print d / n; exit !(n > 0 && d <= 1e-10 * n) }'
}
dump one
dump three --tp 3
check 'a dump on 3 ranks' ended 0
check 'a dump on 3 ranks: the tensors of one' test "$(header three.dump/activations.safetensors)" = "$(header one.dump/activations.safetensors)"
check 'a dump on 3 ranks: their numbers' near_floats three.dump/activations.safetensors one.dump/activations.safetensors
check 'a dump on 3 ranks: the words of one' diff three.out one.out

# ---- what goes wrong ----

fails() { # NAME STATUS TEXT...
    local name=$1 expected=$2
    shift 2
    ended "$expected" && one "$name" "$@" && [ ! -e "$name.run" ] && [ ! -s "$name.out" ]
}
cp -r tp2.run there.run
run there --tp 2
check 'a run that is there: said once' ended 2
check 'a run that is there: and nothing is changed' diff -r there.run tp2.run
run many --tp 5
check 'more ranks than heads' fails many 2 '5 ranks cannot share 4 query heads; use at most --tp 4'
run little --tp 2 --memory 1M
check 'too little memory' fails little 4 '1.05 MB of memory are too little'
run nowhere --tp 2 --model /nowhere
check 'no model' fails nowhere 3 '/nowhere: no such folder'
[ $between = mpi ] || run mpi --tp 2 --comm mpi
[ $between = mpi ] || check 'a build without MPI' fails mpi 4 'this build knows no MPI'
run nccl --tp 2 --comm nccl
check 'NCCL is between GPUs' fails nccl 2 'osv-train: --comm nccl: '

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
ranks() { timeout 120 mpirun --quiet --oversubscribe --bind-to none -n "$@"; }
if [ $between = mpi ]; then
    ranks 2 "$train" --model "$model" --data data.jsonl --layer 2-3 --lr 0.2 --max-iters $iters --out mpi.run --threads 1 \
        >mpi.out 2>mpi.err
    status=$? last=mpi.err
    check 'mpirun starts as many as share the model' ended 0
    check 'mpirun: the bytes of --tp' same_files mpi.run tp2.run
    ranks 2 "$train" --model "$model" --data data.jsonl --layer 2 --out other.run --tp 3 >other.out 2>other.err
    status=$? last=other.err
    check 'other ranks than were asked for' fails other 2 '--tp 3: mpirun started 2 ranks'
    ranks 4 "$train" --model "$model" --data data.jsonl --layer 2 --dump other.run --tp 2 >other.out 2>other.err
    status=$? last=other.err
    check 'a dump by replicas' fails other 2 '--dump other.run: one replica writes it'
    ranks 2 "$train" --oops >other.out 2>other.err
    status=$? last=other.err
    check 'an unknown option: said once' fails other 2 '--oops'
    ranks 4 "$train" --model "$model" --data data.jsonl --layer 2 --dump other.run --tp 2 >other.out 2>other.err
    status=$? last=other.err
    check 'a dump by replicas' fails other 2 '--dump other.run: one replica writes it'
else
    skip 'under mpirun' 'this build has no MPI, or there is no mpirun here'
fi
SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 SLURM_LOCALID=0 run shell --tp 2
check 'in a shell that srun has started' ended 0
check 'in a shell that srun has started: the same bytes' same_files shell.run tp2.run

# ---- interrupted ----

iters=300
for signal in INT:130 TERM:143; do
    name=${signal%:*}
    timeout 120 "$train" --model "$model" --data data.jsonl --layer 2-3 --lr 0.2 --max-iters $iters --out "$name.run" \
        --threads 1 --tp 2 --checkpoint-every 0 >"$name.out" 2>"$name.err" &
    pid=$! tries=0
    while [ "$(lines "$name.run/trace.jsonl")" -lt 40 ] && [ $tries -lt 3000 ] && kill -0 $pid 2>/dev/null; do
        sleep 0.01
        tries=$((tries + 1))
    done
    kill "-$name" "$(pgrep -P $pid -f osv-train | head -n 1)"
    wait $pid
    status=$? last=$name.err
    check "SIG$name: exit status" ended "${signal#*:}"
    check "SIG$name: how to go on" says "$name.err" 'with --resume the run goes on from here'
    check "SIG$name: no lock, but a checkpoint" test ! -e "$name.run/lock" -a -s "$name.run/checkpoint.safetensors"
done
run whole --tp 2
run INT --tp 2 --resume
check 'resumed: exit status' ended 0
check 'resumed: the bytes of a run without interruption' same_files INT.run whole.run

# ---- what one rank does not need ----

if command -v ldd >/dev/null; then
    LD_DEBUG=libs run plain 2>/dev/null
    check 'one rank loads no MPI' sh -c "! grep -q 'libmpi\.' plain.err && grep -q libosv plain.err"
fi
finish
