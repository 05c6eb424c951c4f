#!/usr/bin/env bash
# Checkpoints of osv-train: killed or interrupted runs go on to the same bytes; what cannot go on is refused by name.
# Usage: tool_resume.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$(realpath "$2")
. "$root/tests/tap.sh"
. "$root/tests/traces.sh"
model=$root/tests/golden/models/llama-tiny
check 'killed at random moments, resumed: the same bytes' bash "$root/tests/kill.sh" "$train" "$root" 5
check 'killed at random moments, in units: the same bytes' bash "$root/tests/kill.sh" "$train" "$root" 8 1 5
cd "$dir" || exit 1

for i in $(seq 20); do
    echo "{\"job\": \"j$i\", \"prompt\": {\"ids\": [$((i * 7 % 300 + 1)), 2]}, \"promote\": [{\"ids\": [$((i % 7)), 3]}]}"
done >data.jsonl
head -n 2 data.jsonl >two.jsonl

# run NAME ARGUMENTS...: trains into NAME.run; output in NAME.out and NAME.err, exit status in $status
options=(--model "$model" --data data.jsonl --layer 1 --lr 0.05 --max-iters 400 --target-loss 1.5 --plateau-iters 0)
# So much memory that a third of the jobs fit: the others wait.
plan=$("$train" "${options[@]}" --memory 1G --plan --json)
of_plan() { tr ',{' '\n\n' <<<"$plan" | sed -n "s/^ *\"$1\": //p" | head -n 1; }
options+=(--memory $(($(of_plan peak_bytes) - $(of_plan bytes) * 2 / 3)))
run() {
    local name=$1
    shift
    "$train" "${options[@]}" --out "$name.run" "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
# begin NAME LINES ARGUMENTS...: a run in the background, in $pid, that has so many lines of trace
begin() {
    local name=$1 lines=$2 tries=0
    shift 2
    "$train" "${options[@]}" --out "$name.run" "$@" >"$name.out" 2>"$name.err" &
    pid=$!
    while [ "$(lines "$name.run/trace.jsonl")" -lt "$lines" ] && [ $tries -lt 3000 ] && kill -0 $pid 2>/dev/null; do
        sleep 0.01
        tries=$((tries + 1))
    done
}
# stop NAME SIGNAL: ends the one in the background
stop() {
    kill "-$2" $pid
    wait $pid
    status=$? last=$1.err
} 2>/dev/null
# same NAME: ended as `whole` did, to the same bytes
same() {
    ended 0 && diff -r whole.run/vectors "$1.run/vectors" && cmp whole.run/trace.jsonl "$1.run/trace.jsonl" &&
        cmp "$1.json" "$1.run/run.json" && [ ! -e "$1.run/lock" ]
}
keep() { cp "$1.run/run.json" "$1.json"; }

run whole --json
check 'a run without interruption' ended 0
check 'its end is saved' test -s whole.run/checkpoint.safetensors
check 'it leaves no lock' test ! -e whole.run/lock
check 'some jobs end early, some late' sh -c 'grep -q "\"stopped\": \"target\"" whole.run/trace.jsonl && grep -q max-iters whole.run/trace.jsonl'
run often --checkpoint-every 1
check 'saving changes no vector' diff -r whole.run/vectors often.run/vectors
check 'saving changes no trace' cmp whole.run/trace.jsonl often.run/trace.jsonl

# ---- signals ----

for signal in TERM:143 INT:130; do
    name=${signal%:*}
    begin "$name" 200 --checkpoint-every 0 $([ "$name" = INT ] && echo --json)
    stop "$name" "$name"
    keep "$name"
    cp "$name.out" "$name.first"
    check "SIG$name: exit status" ended "${signal#*:}"
    check "SIG$name: it is said how to go on" says "$name.err" 'with --resume the run goes on from here'
    check "SIG$name: no lock, but a checkpoint" test ! -e "$name.run/lock" -a -s "$name.run/checkpoint.safetensors"
    check "SIG$name: vectors of all jobs that had begun" test "$(find "$name.run/vectors" -name '*.safetensors' | wc -l)" = \
        "$(grep -c '"final": true' "$name.run/trace.jsonl")"
    check "SIG$name: the trace says so" says "$name.run/trace.jsonl" '"final": true, "stopped": "interrupted"}'
    run "$name" --resume --checkpoint-every 7 --threads 1
    check "SIG$name: resumed, the same bytes" same "$name"
    check "SIG$name: where it goes on is said" says "$name.err" 'going on after iteration' 'of 20 jobs done'
done

check 'jobs that had not begun: said so' says TERM.first 'layer 1: not begun when the run was interrupted'
check 'jobs that had not begun: in JSON' says INT.first '"stopped": "not-begun", "iterations": 0, "loss_start": null' \
    '"probability_after": null'

printf '{"lr": 0.04}\n{"lr": 0.02, "max-iters": 30}\n' >sweep.jsonl
sweep=(--sweep sweep.jsonl --seeds 0-1 --data two.jsonl --memory 1G)
run swept "${sweep[@]}"
begin cut 100 "${sweep[@]}"
stop cut KILL
cp sweep.jsonl kept.jsonl
sed -i s/30/31/ sweep.jsonl
run cut --resume "${sweep[@]}"
check 'a sweep whose file changed' ended 3
check 'a sweep whose file changed: it is named' says cut.err '--sweep sweep.jsonl changed'
mv kept.jsonl sweep.jsonl
run cut --resume "${sweep[@]}"
check 'a sweep: resumed' ended 0
check 'a sweep: the same bytes' diff -r --exclude run.json --exclude checkpoint.safetensors swept.run cut.run

begin early 1 --checkpoint-every 1000000
stop early KILL
keep early
check 'killed before the first checkpoint' test ! -e early.run/checkpoint.safetensors -a -e early.run/lock
run early --resume
check 'killed before the first checkpoint: resumed from the start' same early
check 'killed before the first checkpoint: it is said' says early.err 'no checkpoint was saved yet'
run fresh --resume
check '--resume without a run begins one' ended 0
check '--resume without a run says so' says fresh.err 'there is no run in fresh.run yet: it begins'
check '--resume without a run: the same bytes' diff -r whole.run/vectors fresh.run/vectors

# ---- a run that is complete ----

cp whole.out first.out
before=$(cd whole.run && find . -type f -exec sha256sum {} + | sort)
run whole --resume --json
check 'complete: nothing is trained' ended 0
check 'complete: it is said' says whole.err 'this run is complete'
peak='s/"host_peak_bytes": [0-9]*//' # of the process at hand
check 'complete: the results are told again' test "$(sed "$peak" first.out)" = "$(sed "$peak" whole.out)"
check 'complete: no file changes' test "$before" = "$(cd whole.run && find . -type f -exec sha256sum {} + | sort)"
run whole --resume --quiet
check 'complete and quiet' test ! -s whole.err
run whole
check 'a run that is there is not overwritten' ended 2
check '--resume and --force are offered' says whole.err '--resume' '--force'

# ---- what has changed ----

begin part 200
stop part TERM
# refused NAME STATUS PIECE ARGUMENTS...: resuming ends so, says so, and changes nothing
refused() {
    local name=$1 expected=$2 piece=$3
    shift 3
    rm -rf changed.run
    cp -r part.run changed.run
    run changed --resume "$@"
    if ended "$expected" >why && says changed.err "$piece" >why && diff -r part.run changed.run >why; then
        pass "changed: $name"
    else
        fail "changed: $name" "$(cat why)"
    fi
}
refused 'learning rate' 2 '--lr: the run in changed.run has 0.05, the command line 0.06' --lr 0.06
refused 'layer' 2 '--layer: the run in changed.run has 1, the command line 0' --layer 0
refused 'steps' 2 '--max-iters: the run in changed.run has 400, the command line 500' --max-iters 500
refused 'a limit that was not there' 2 '--max-norm: the run in changed.run has none, the command line 3' --max-norm 3
refused 'seed' 2 '--seed: ' --seed 5
refused 'memory' 2 '--memory: ' --memory 1G
refused 'a flag' 2 '--length-norm: the run in changed.run has false' --length-norm
refused 'backend' 2 '--backend: the run in changed.run has cpu, the command line ref' --backend ref
refused 'dtype' 2 '--dtype: ' --dtype bf16
refused '--force as well' 2 'give one' --force
sed '3s/, 2\]/, 4]/' data.jsonl >other.jsonl
refused 'data' 3 '--data other.jsonl changed since the run in changed.run began' --data other.jsonl
refused 'fewer data' 3 '--data two.jsonl changed' --data two.jsonl
refused '--init' 3 '--init whole.run/vectors/j1.safetensors changed' --init whole.run/vectors/j1.safetensors
cp -rL "$model" other.model
chmod -R u+w other.model
printf '\001' | dd of=other.model/model.safetensors bs=1 seek=$(($(stat -c %s other.model/model.safetensors) - 400)) \
    conv=notrunc 2>dd.err
refused 'weights' 3 '--model other.model changed since the run in changed.run began' --model other.model
echo '{}' >other.model/tokenizer.json
refused 'tokenizer' 3 '--model other.model: its tokenizer changed' --model other.model

cp -rL "$model" copy.model
cp data.jsonl copy.jsonl
rm -rf moved.run
cp -r part.run moved.run
keep moved
run moved --resume --model copy.model --data copy.jsonl --threads 2 --json --checkpoint-every 30 --quiet
check 'model, data and run may move, threads and output differ' same moved
sed -i 's/"commit": "[^"]*"/"commit": "0123456789ab"/' part.run/run.json
cp -r part.run built.run
keep built
run built --resume
check 'another build goes on' same built
check 'another build is noted' says built.err 'note: begun by another build' '0123456789ab'

# ---- files that are not what they were ----

# damaged NAME PIECE COMMAND: exit status 3 after COMMAND was run in the folder of the run
damaged() {
    rm -rf damaged.run
    cp -r part.run damaged.run
    (cd damaged.run && eval "$3")
    run damaged --resume
    if ended 3 >why && says damaged.err "$2" >why && [ ! -e damaged.run/lock ]; then
        pass "damaged: $1"
    else
        fail "damaged: $1" "$(cat why)"
    fi
}
damaged 'checkpoint cut short' 'checkpoint.safetensors: ' 'truncate -s -100 checkpoint.safetensors'
damaged 'checkpoint of four bytes' 'too short' 'printf abcd >checkpoint.safetensors'
damaged 'empty checkpoint' 'too short' ': >checkpoint.safetensors'
damaged 'checkpoint of zeros' 'checkpoint.safetensors: ' 'head -c 5000 /dev/zero >checkpoint.safetensors'
damaged 'a checkpoint that is none' 'format "osv/1" is not known' 'cp ../whole.run/vectors/j1.safetensors checkpoint.safetensors'
damaged 'a checkpoint of a later version' 'format "osv-checkpoint/3" is not known' 'sed -i "s,osv-checkpoint/2,osv-checkpoint/3," checkpoint.safetensors'
damaged 'a checkpoint without a job' 'begins the run anew' 'sed -i "s/\"state.3\"/\"stale.3\"/" checkpoint.safetensors'
damaged 'the trace cut short' 'trace.jsonl: has 100 bytes, but had' 'truncate -s 100 trace.jsonl'
damaged 'no run.json' 'has a trace.jsonl but no run.json' 'rm run.json'
damaged 'run.json that is no JSON' 'damaged.run/run.json:' 'echo "{" >run.json'
damaged 'run.json of a later version' 'format "osv-run/9" is not known' 'sed -i "s,osv-run/1,osv-run/9," run.json'
run some --target-loss 1000
rm -f some.run/vectors/j2.safetensors
run some --resume --target-loss 1000
check 'damaged: the vector of a job that had ended' ended 3
check 'damaged: that vector is named' says some.err 'some.run/vectors/j2.safetensors: cannot open'
check 'damaged: no lock is left' test ! -e some.run/lock

# ---- one at a time ----

begin busy 100 --max-iters 100000000 --target-loss -1
for form in '' --resume --force; do
    # shellcheck disable=SC2086
    "$train" "${options[@]}" --max-iters 100000000 --target-loss -1 --out busy.run $form >second.out 2>second.err
    status=$? last=second.err
    if [ -z "$form" ]; then
        check 'a second run in the same folder' ended 2
    else
        check "a second run in the same folder ($form)" ended 3
        check "a second run in the same folder ($form): whose it is" says second.err "process $pid on this host"
    fi
done
stop busy KILL
check 'kill -9 leaves the lock' test -e busy.run/lock
run busy --force
check 'a lock whose process is gone is taken over' ended 0
check 'and removed in the end' test ! -e busy.run/lock
rm -rf away.run
cp -r part.run away.run
keep away
echo '{"host": "node17", "pid": 4711, "started": 99}' >away.run/lock
run away --resume
check 'the lock of another host' ended 3
check 'the lock of another host: what to do' says away.err 'process 4711 on host node17' 'remove that file'
check 'the lock of another host stays' test -e away.run/lock
rm away.run/lock
run away --resume
check 'without it the run goes on' same away

# ---- full disk ----

# A limit on the size of files that a checkpoint meets before the trace does: 1152 bytes of state a job, 110 of trace.
(ulimit -f 20 && exec "$train" "${options[@]}" --memory 1G --out full.run --max-iters 5 --checkpoint-every 1 >full.out 2>full.err)
status=$? last=full.err
check 'no room for a checkpoint: the training goes on' ended 0
check 'no room for a checkpoint: a warning' says full.err 'warning: full.run/checkpoint.safetensors: cannot write: File too large'
check 'no room for a checkpoint: one warning' test "$(grep -c warning full.err)" = 1
check 'no room for a checkpoint: all vectors' test "$(find full.run/vectors -name '*.safetensors' | wc -l)" = 20
check 'no room for a checkpoint: nothing half' test -z "$(find full.run -name '*.tmp')"
rm -rf small.run
cp -r part.run small.run
keep small
(ulimit -f 20 && exec "$train" "${options[@]}" --out small.run --resume --checkpoint-every 1 >small.out 2>small.err)
status=$? last=small.err
check 'no room for the trace: exit status' ended 3
check 'no room for the trace: it is named' says small.err 'small.run/trace.jsonl: cannot write: File too large'
run small --resume
check 'with room again: the same bytes' same small

finish
