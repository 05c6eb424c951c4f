#!/usr/bin/env bash
# osv-train from end to end: what it writes, what it says, and what bad input gets.
# Usage: tool_train.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$2
. "$root/tests/tap.sh"
model=$root/tests/golden/models/llama-tiny
cd "$dir" || exit 1

good='{"prompt": {"ids": [5, 9, 200, 31]}, "promote": [{"ids": [7, 8]}], "suppress": [{"ids": [7, 9, 12]}]}'
echo "$good" >good.jsonl

# run NAME ARGUMENTS...: trains into NAME.run; output in NAME.out and NAME.err, exit status in $status
run() {
    local name=$1
    shift
    "$train" --model "$model" --data good.jsonl --layer 1 --max-iters 5 --out "$name.run" "$@" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}

# values NAME: the numbers of the run's vector file
values() {
    local file=$1.run/vectors/all.safetensors length
    length=$(od -An -tu8 -N8 "$file")
    tail -c +$((length + 9)) "$file"
}

# ---- a run and what it leaves ----

run plain
check 'a run from ids ends well' ended 0
check 'the vector is there, with its metadata' says plain.run/vectors/all.safetensors '"site":"block_input:1"' \
    '"format":"osv/1"' '"iterations":"5"' '"objective":"promote + suppress one-minus"' '"model":"llama-tiny"' \
    '"apply":"add"' '"positions":"all"' '"chat":"raw"' '"coldness":"0.7"' '"seed":"0"' '"created_by":"osv-train '
check 'trace: a line an iteration and a final one' test "$(wc -l <plain.run/trace.jsonl)" = 6
check 'trace: first line' says plain.run/trace.jsonl '{"job": "all", "iter": 0, "loss": ' '"grad_norm": '
check 'trace: final line' says plain.run/trace.jsonl '"final": true, "stopped": "max-iters"}'
check 'trace: the final line has no gradient' sh -c '! tail -n 1 plain.run/trace.jsonl | grep grad_norm'
check 'run.json' says plain.run/run.json '"format": "osv-run/1"' '"lr": 0.01' '"sha256": "' '"max-norm": null' \
    '"data_sha256": "' '"compiler": "' '"processor": "' '"loss": "nats'
check 'results on standard output' says plain.out 'all, layer 1: stopped after 5 iterations (max-iters), loss ' \
    'promote  [7, 8]  P ' 'suppress [7, 9, 12]  P ' 'vector: plain.run/vectors/all.safetensors'
check 'plain progress on standard error' says plain.err 'iteration 0/5  loss ' 'iteration 5/5  loss '

run quiet --quiet --json
check 'quiet: nothing on standard error' test ! -s quiet.err
check 'JSON: one line with everything' says quiet.out '"name": "all", "layer": 1, "stopped": "max-iters", "iterations": 5' \
    '"loss_start": ' '"norm": ' '"file": "quiet.run/vectors/all.safetensors"' '"ids": [7, 9, 12]' '"text": null' \
    '"probability_before": ' '"probability_after": '
check 'JSON: one line' test "$(wc -l <quiet.out)" = 1

for threads in 1 2; do run "threads$threads" --threads $threads; done
for other in quiet threads1 threads2; do
    check "same bytes again ($other)" diff -r plain.run/vectors "$other.run/vectors"
    check "same trace again ($other)" cmp plain.run/trace.jsonl "$other.run/trace.jsonl"
done
run reference --backend ref
check 'the reference backend runs' ended 0
run rounded --dtype bf16
check 'bf16 weights run' ended 0
run seeded --seed 1
check 'another seed, another vector' sh -c '! cmp -s plain.run/vectors/all.safetensors seeded.run/vectors/all.safetensors'

run learned --lr 0.3 --max-iters 60 --json
p() { tr '{' '\n' <learned.out | grep "\"$1\"" | sed "s/.*\"probability_$2\": \([^,}]*\).*/\1/"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 < b + 0) }'; }
check 'promoted completions become likelier' less "$(p promote before)" "$(p promote after)"
check 'before is the unsteered model: the same whatever the start' test "$(p promote before)" = \
    "$(run other --json --seed 9 && tr '{' '\n' <other.out | grep '"promote"' | sed 's/.*"probability_before": \([^,}]*\).*/\1/')"

# ---- jobs, layers, starts ----

echo '{"job": "b", "prompt": {"ids": [1, 2]}, "promote": [{"ids": [3]}]}
{"job": "a", "prompt": {"ids": [1, 2, 4]}, "promote": [{"ids": [5]}], "negative": true}' >jobs.jsonl
run jobs --data jobs.jsonl --layer 2,0-1
names=$(cd jobs.run/vectors && echo *)
check 'one vector for each job and layer' test "$names" = \
    'a.0.safetensors a.1.safetensors a.2.safetensors b.0.safetensors b.1.safetensors b.2.safetensors'
check 'jobs by first appearance, then by layer as given' test "$(grep -o '^[ab][.][0-9], layer [0-9]' jobs.out | xargs)" = \
    'b.2, layer 2 b.0, layer 0 b.1, layer 1 a.2, layer 2 a.0, layer 0 a.1, layer 1'
check 'a negative datapoint is marked' says jobs.out 'steered with -v'

run init --init plain.run/vectors/all.safetensors --max-iters 0
tail -c 192 plain.run/vectors/all.safetensors >plain.values
tail -c 192 init.run/vectors/all.safetensors >init.values
check '--init is taken as it is' cmp plain.values init.values
check '--max-iters 0 takes no step' says init.run/trace.jsonl '"iter": 0' '"stopped": "max-iters"'

# ---- forms ----

for form in add-norm clamp ablate affine; do
    run "$form" --apply "$form"
    check "$form trains, and is recorded" says "$form.run/vectors/all.safetensors" "\"apply\":\"$form\""
    run "$form-again" --apply "$form" --max-iters 0 --init "$form.run/vectors/all.safetensors"
    values "$form" >first.values
    values "$form-again" >second.values
    check "$form: --init takes all of it" cmp first.values second.values
done
check 'a map has its factors' says affine.run/vectors/all.safetensors '"left":{' '"right":{'
run offset --apply clamp --clamp 0 --offset plain.run/vectors/all.safetensors
check 'a clamp with an offset trains' ended 0
check 'its offset is in the file' says offset.run/vectors/all.safetensors '"offset":{' '"clamp":"0"'
run joint --layer 2,0 --joint shared
check 'one vector at two blocks' says joint.run/vectors/all.safetensors '"site":"block_input:0,2"' '"vector":{'
check 'its blocks are printed' says joint.out 'all, layers 0,2: stopped after 5'
run apart --layer 0-2 --joint per-layer --apply affine --rank 2
check 'a map for each of three blocks' says apart.run/vectors/all.safetensors '"site":"block_input:0,1,2"' \
    '"vector.0":{' '"left.1":{"dtype":"F32","shape":[2,48]' '"right.2":{'
run apart-again --layer 0-2 --joint per-layer --apply affine --rank 2 --max-iters 0 --init apart.run/vectors/all.safetensors
values apart >first.values
values apart-again >second.values
check '--init takes all three' cmp first.values second.values
run wrong --apply affine --init plain.run/vectors/all.safetensors
check 'a map cannot start from a vector' ended 3
check 'what is missing is named' says wrong.err 'plain.run/vectors/all.safetensors: has no tensor "left"'
cat >forms.jsonl <<'END'
{"apply": "clamp", "clamp": 0.5}
{"apply": "affine", "rank": 3}
{"joint": "shared", "layer": "0,2"}
END
run forms --sweep forms.jsonl
check 'forms in a sweep' test "$(cd forms.run/vectors && echo *)" = \
    'all.0,2.add.joint-shared.safetensors all.1.affine.rank3.safetensors all.1.clamp.clamp0.5.safetensors'

run target --target-loss 1000
check 'a target that is met at once' says target.out 'stopped after 0 iterations (target)'
run plateau --plateau-eps 1000 --plateau-iters 2
check 'a plateau' says plateau.out 'stopped after 2 iterations (plateau)'

"$train" --model "$model" --data good.jsonl --layer 1 --plan >plan.out 2>plan.err
check '--plan tells tokens and bytes' says plan.out 'live tokens    6' 'frozen tokens  0' 'scored tokens  5' 'bytes'
"$train" --model "$model" --data good.jsonl --layer 1 --positions completion --plan --json >plan.json 2>plan.err
check '--plan as JSON' says plan.json '"frozen_tokens": 4' '"bytes": '

cp -r "$model" "$(printf 'na\377me')"
run unnamed --model "$(printf 'na\377me')"
check 'a folder whose name is not UTF-8' says unnamed.run/vectors/all.safetensors '"model":"na?me"'

"$train" --model "$model" --data nowhere.jsonl --layer 1 --plan >plan.out 2>plan.err
status=$? last=plan.err
check '--plan with bad input' ended 3

# ---- random models ----

run random --model random:llama-60m --max-iters 2
check 'a random model trains' ended 0
check 'its shape is its name' says random.run/vectors/all.safetensors '"model":"random:llama-60m"'
run random2 --model random:llama-9000b
check 'an unknown shape' ended 2
check 'an unknown shape: the others are listed' says random2.err 'random:llama-9000b' 'llama-60m, ' 'qwen2.5-7b'
echo '{"prompt": "text", "promote": [{"ids": [7]}]}' >text.jsonl
run random3 --model random:llama-60m --data text.jsonl
check 'a random model and text' ended 3
check 'a random model has no tokenizer' says random3.err 'random:llama-60m: a random model has none'
timeout 20 "$train" --model random:llama-3.1-405b --data good.jsonl --layer 60 --plan >plan405.out 2>plan405.err
status=$? last=plan405.err
check '--plan makes no weights' ended 0
check '--plan of 405B parameters' says plan405.out 'live tokens    6'

# ---- a run that is there already ----

run plain
check 'an existing run is not overwritten' ended 2
check 'an existing run is named' says plain.err 'plain.run' 'holds a run already' '--force'
run plain --force --max-iters 1
check '--force replaces it' sh -c 'test "$(wc -l <plain.run/trace.jsonl)" = 2'

# ---- help and version ----

"$train" --help >help.out 2>help.err
check 'help' says help.out 'What is trained:' '--max-norm X' '(default 0.01)' 'Exit status'
check 'help is narrow enough' sh -c 'test "$(wc -L <help.out)" -le 120'
"$train" --version >version.out 2>version.err
check 'version' says version.out 'osv-train 0.' 'commit:' 'compiler:' 'BLAS:' 'CUDA:'

# ---- progress on a terminal ----

if command -v script >/dev/null; then
    command="'$train' --model '$model' --data good.jsonl --layer 1 --out tty.run --force --max-iters 3000 --plateau-iters 0"
    TERM=xterm script -qec "$command" /dev/null >tty.out 2>&1 </dev/null
    check 'a bar on a terminal' says tty.out '[' '/3000  loss ' ' left'
    check 'in colour' says tty.out "$(printf '\033[32m')"
    NO_COLOR=1 TERM=xterm script -qec "$command" /dev/null >tty.out 2>&1 </dev/null
    check 'without colour for NO_COLOR' sh -c "! grep -q '$(printf '\033')\[32m' tty.out"
    TERM=xterm script -qec "$command --quiet" /dev/null >tty.out 2>&1 </dev/null
    check 'no bar when quiet' sh -c '! grep -q " left" tty.out'
else
    skip 'a bar on a terminal' 'no script(1) here'
fi

# ---- interruption ----

# interrupt SIGNAL: a run without end that gets it in the middle
interrupt() {
    rm -rf long.run
    "$train" --model "$model" --data good.jsonl --layer 1 --out long.run --max-iters 100000000 --plateau-iters 0 \
        >long.out 2>long.err &
    local pid=$! tries=0
    while [ "$(wc -l 2>/dev/null <long.run/trace.jsonl || echo 0)" -lt 3 ] && [ $tries -lt 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill "-$1" $pid
    wait $pid
    status=$? last=long.err
}
interrupt INT
check 'Ctrl-C ends with 130' ended 130
check 'Ctrl-C keeps the vector' test -s long.run/vectors/all.safetensors
check 'Ctrl-C is in the trace' says long.run/trace.jsonl '"final": true, "stopped": "interrupted"}'
interrupt TERM
check 'SIGTERM ends with 143' ended 143
check 'SIGTERM keeps the vector' test -s long.run/vectors/all.safetensors

# Two of them, the second while the first one's vectors are being written: all jobs' vectors are kept, and whole.
for i in $(seq 400); do
    echo "{\"job\": \"j$i\", \"prompt\": {\"ids\": [$((i % 300 + 1)), 2]}, \"promote\": [{\"ids\": [3]}]}"
done >many.jsonl
"$train" --model "$model" --data many.jsonl --layer 1 --out twice.run --max-iters 100000000 --plateau-iters 0 --quiet \
    >twice.out 2>twice.err &
pid=$! tries=0
# until COMMAND: waits for it to succeed, half a minute at most
until_true() {
    until "$@" || [ $tries -ge 30000 ]; do
        sleep 0.001
        tries=$((tries + 1))
    done
}
has_trace() { [ -s twice.run/trace.jsonl ]; }
has_vectors() { compgen -G 'twice.run/vectors/j*' >/dev/null; }
until_true has_trace
kill -INT $pid
until_true has_vectors
kill -INT $pid
wait $pid
status=$? last=twice.err
check 'Ctrl-C twice ends with 130' ended 130
check 'Ctrl-C twice cuts off no vector' test "$(find twice.run/vectors -name '*.safetensors' | wc -l)" = 400
check 'Ctrl-C twice leaves nothing half' test "$(find twice.run/vectors -name '*.tmp' | wc -l)" = 0
check 'Ctrl-C twice: the trace is whole' test "$(grep -c '"stopped": "interrupted"}$' twice.run/trace.jsonl)" = 400

# ---- closed pipes and streams ----

# Who reads the progress goes after a line: no reason to lose the run.
{ "$train" --model "$model" --data good.jsonl --layer 1 --out deaf.run --max-iters 200 --plateau-iters 0 2>&1 >deaf.out
    echo $? >deaf.status; } | head -n 1 >deaf.err
status=$(cat deaf.status) last=deaf.err
check 'a closed pipe on standard error: exit status' ended 0
check 'a closed pipe on standard error: the vector is there' test -s deaf.run/vectors/all.safetensors
check 'a closed pipe on standard error: all iterations' test "$(wc -l <deaf.run/trace.jsonl)" = 201
for form in --json --quiet --plan --help --version; do
    rm -rf deaf.run
    { "$train" --model "$model" --data good.jsonl --layer 1 --out deaf.run --max-iters 3 --quiet $form 2>deaf.err
        echo $? >deaf.status; } | true
    status=$(cat deaf.status)
    check "a closed pipe on standard output is no error ($form)" ended 0
done
# A file that is opened gets the lowest free number: 1 and 2, were they left free.
"$train" --model "$model" --data good.jsonl --layer 1 --max-iters 5 --out closed.run --quiet >&- 2>closed.err
status=$? last=closed.err
check 'no standard output: exit status' ended 3
check 'no standard output is said' says closed.err 'standard output: cannot write: Bad file descriptor'
check 'no standard output: the trace is as ever' cmp closed.run/trace.jsonl threads1.run/trace.jsonl
"$train" --model "$model" --data good.jsonl --layer 1 --max-iters 5 --out silent.run 2>&- >silent.out
status=$? last=silent.out
check 'no standard error: exit status' ended 0
check 'no standard error: the trace is as ever' cmp silent.run/trace.jsonl threads1.run/trace.jsonl

# ---- losses that are no numbers ----

run burst --lr 1e39 --max-iters 5
check 'NaN: exit status' ended 3
check 'NaN: job and iteration are named' says burst.err 'job "all": the loss of iteration 1 is not a finite number'
check 'NaN: the last finite vector is kept' says burst.run/vectors/all.safetensors '"iterations":"0"'
check 'NaN: the trace' says burst.run/trace.jsonl '"final": true, "stopped": "nan"}'

# ---- full disk ----

"$train" --model "$model" --data good.jsonl --layer 1 --max-iters 1 --out full.run >/dev/full 2>full.err
status=$? last=full.err
check 'results that cannot be written' ended 3
check 'and said so' says full.err 'standard output: cannot write: No space left'
# limited BLOCKS ITERATIONS: a run whose files may have so many blocks of 1024 bytes
limited() {
    rm -rf limited.run
    (ulimit -f "$1" && exec "$train" --model "$model" --data good.jsonl --layer 1 --out limited.run --max-iters "$2" \
        --plateau-iters 0 >/dev/null 2>disk.err)
    status=$? last=disk.err
}
limited 8 1000
check 'a limit on the size of files: exit status' ended 3
check 'a limit on the size of files: the file is named' says disk.err 'limited.run/trace.jsonl: cannot write: File too large'
check 'a limit on the size of files: no half vector' test "$(ls -A limited.run/vectors)" = ''
limited 1 1
check 'no room for run.json: exit status' ended 3
check 'no room for run.json: nothing is left' test ! -e limited.run
enter=
for way in 'unshare -m' 'unshare -rm'; do
    mkdir -p mount.point
    if [ -z "$enter" ] && $way mount -t tmpfs -o size=64k none mount.point 2>/dev/null; then enter=$way; fi
done
# disk SIZE ITERATIONS: a run on a file system of this size
disk() {
    $enter sh -c "mount -t tmpfs -o size=$1 none mount.point && \"\$1\" --model '$model' --data good.jsonl --layer 1 \
        --out mount.point/run --max-iters $2 --plateau-iters 0 2>disk.err >disk.out
        echo \$? >disk.status; ls mount.point/run/vectors >disk.vectors" sh "$train"
    status=$(cat disk.status) last=disk.err
}
if [ -n "$enter" ]; then
    disk 64k 100000
    check 'a full disk: exit status' ended 3
    check 'a full disk: the file is named' says disk.err 'mount.point/run/trace.jsonl: cannot write: No space left'
    check 'a full disk: no half vector' test ! -s disk.vectors
    # pages for run.json, one for the lock, one for the trace, none for the vector
    "$train" --model "$model" --data good.jsonl --layer 1 --out roomy.run --max-iters 2 --quiet >roomy.out 2>&1
    disk $(((($(stat -c %s roomy.run/run.json) + 4095) / 4096 + 2) * 4))k 2
    check 'no room for the vector: exit status' ended 3
    check 'no room for the vector: the file is named' says disk.err 'run/vectors/all.safetensors: cannot write: No space left'
    check 'no room for the vector: no half vector' test ! -s disk.vectors
else
    skip 'a full disk' 'no file system of our own can be mounted here'
fi

# ---- bad input ----

# bad NAME STATUS PIECE ARGUMENTS...: how it ends, what it says, and that nothing is left under its final name
bad() {
    local name=$1 expected=$2 piece=$3
    shift 3
    rm -rf bad.run bad.out bad.err
    "$train" --model "$model" --data good.jsonl --layer 1 --max-iters 2 --out bad.run "$@" >bad.out 2>bad.err
    local got=$?
    if [ $got != "$expected" ]; then
        fail "$name" "exit status $got, expected $expected: $(cat bad.err)"
    elif ! grep -qF -e "$piece" bad.err; then
        fail "$name" "does not say \"$piece\": $(cat bad.err)"
    elif [ -e bad.run ] || [ -s bad.out ]; then
        fail "$name" "something is left: $(ls -R bad.run) $(cat bad.out)"
    else
        pass "$name"
    fi
}

bad 'unknown option' 2 'unknown option --frob' --frob
bad 'bad number' 2 '--lr x: must be a finite number above 0' --lr x
bad '--max-norm -1' 2 '--max-norm -1: must be' --max-norm -1
bad 'layer beyond the model' 2 'has blocks 0 to 2, no block 3' --layer 3
bad 'backend that is not there' 4 '--backend cuda: ' --backend cuda
bad 'unknown backend' 2 '--backend gpu' --backend gpu
bad 'satisficing without a target' 2 '--satisfice needs a target' --satisfice
bad 'positions' 2 '--positions: "prompt:x" is no position' --positions prompt:x
bad '--out below a file' 3 'cannot make the folder' --out good.jsonl/run
bad '--out is a file' 2 'is a file' --out good.jsonl
bad 'model that is not there' 3 'nowhere' --model nowhere
bad 'data that are not there' 3 'nowhere.jsonl: cannot open' --data nowhere.jsonl
bad '--init that is not there' 3 'nowhere.safetensors' --init nowhere.safetensors

# ---- data ----

# data NAME PIECE TEXT: a data file with this text (printf format)
data() {
    # shellcheck disable=SC2059
    printf "$3" >bad.jsonl
    bad "data: $1" 3 "$2" --data bad.jsonl
}
data 'empty file' 'bad.jsonl: no datapoints' ''
data 'JSON error' 'bad.jsonl:2:' "$good\n{\"prompt\": }\n"
data 'unknown key' 'bad.jsonl:1: unknown key "promot"' '{"prompt": {"ids": [1]}, "promot": []}'
data 'no prompt' '"prompt" is missing' '{"promote": [{"ids": [1]}]}'
data 'nothing to train' 'none of "promote", "suppress", ' '{"prompt": {"ids": [1]}, "promote": []}'
data 'job with a slash' '"job" "../x" has a slash' '{"job": "../x", "prompt": {"ids": [1]}, "promote": [{"ids": [1]}]}'
data 'id out of range' 'id 317 at index 1 is not an integer from 0 to 316' '{"prompt": {"ids": [1, 317]}, "promote": [{"ids": [1]}]}'
data 'empty completion' '"promote"[0] tokenizes to nothing' '{"prompt": {"ids": [1]}, "promote": [{"ids": []}]}'
data 'invalid UTF-8' 'bad.jsonl:1: invalid UTF-8 at byte 12' '{"prompt": "\377"}'
data 'text without a tokenizer' 'there is no tokenizer' '{"prompt": "text", "promote": [" a"]}'
data 'positions' 'bad.jsonl:1: "prompt:x" is no position' '{"prompt": {"ids": [1]}, "promote": [{"ids": [1]}], "positions": "prompt:x"}'
data 'position out of range' 'bad.jsonl:1' '{"prompt": {"ids": [1]}, "promote": [{"ids": [1]}], "positions": "prompt:5"}'
data 'a loss that no vector can change' 'job "all": no completion depends on the vector' \
    '{"prompt": {"ids": [1, 2]}, "promote": [{"ids": [1]}], "positions": "completion"}'
data 'too long a prompt' 'the model takes at most 256' \
    "{\"prompt\": {\"ids\": [1$(printf ', 1%.0s' $(seq 300))]}, \"promote\": [{\"ids\": [1]}]}"
echo '{"prompt": {"ids": [1]}, "promote": [{"ids": [1]}], "promote_targets": [0.5]}' >targets.jsonl
bad 'targets that the rule sum never reads' 2 'here the rule is sum' --data targets.jsonl
bad 'targets of the rule each without --target-loss' 2 'need --target-loss' --data targets.jsonl --target-rule each
run targets --data targets.jsonl --satisfice
check 'targets with --satisfice are fine' ended 0

# ---- relative targets ----

# Losses of a vector of zeros are the unsteered ones: what targets are multiples of.
first='"prompt": {"ids": [5, 9, 200, 31]}, "promote": [{"ids": [7, 8]}], "suppress": [{"ids": [7, 9, 12]}]'
second='"prompt": {"ids": [3, 77]}, "promote": [{"ids": [7, 8]}], "suppress": [{"ids": [7, 9, 12]}]'
{ echo "{$first}" && echo "{$second}"; } >zero.jsonl
echo "{$first, \"promote_targets\": [{\"prompt\": {\"ids\": [3, 77]}, \"times\": 0.5}], \"suppress_targets\": [\"3x\"]}" >relative.jsonl
# targets JOB: its targets in run.json, the one of the whole job first
targets() { # json_dumpf with an indent: a number a line
    tr -d ' \n' <relative.run/run.json | sed 's/"name":/\n&/g' | grep "^\"name\":\"$1\"" |
        sed 's/.*"target_loss":\([^,]*\),"targets":\[\([^]]*\)\].*/\1,\2/' | tr ',' '\n'
}
close() { paste - - <<<"$1" | awk '{ d = $1 - $2; if (!(d * d <= 1e-10 * $2 * $2)) { print $1, $2; exit 1 } }'; }
for options in '' '--coldness 1.3 --eps 0.01' '--length-norm' '--suppress-loss negated'; do
    # shellcheck disable=SC2086
    run zero --data zero.jsonl --init-norm 0 --max-iters 0 --force $options
    losses=$(sed 's/.*"losses": \[\([^]]*\)\].*/\1/' zero.run/trace.jsonl | tr -d ' ' | tr ',' ' ')
    read -r promote suppress promote_there _ <<<"$losses"
    # shellcheck disable=SC2086
    run relative --data relative.jsonl --target-loss 0.25x --target-rule each --max-iters 0 --force $options
    check "relative targets, ${options:-plain}" close "$(paste -d '\n' <(targets all) \
        <(awk -v a="$promote" -v b="$suppress" -v c="$promote_there" 'BEGIN { OFMT = "%.12g"; print 0.25 * (a + b); print 0.5 * c; print 3 * b }'))"
done
check 'relative targets: run.json has the option as given' says relative.run/run.json '"target-loss": "0.25x"'
check 'relative targets: said aloud' says relative.err 'note: all: targets '
run relative --data good.jsonl --target-loss 1.0001x --init zero.run/vectors/all.safetensors --force
check 'a little more than the unsteered loss is met by a vector of zeros' says relative.out 'stopped after 0 iterations (target)'
check 'the target of the sum, said aloud' says relative.err 'note: all: --target-loss is '
echo '{"coldness": 0.5}
{"coldness": 1, "satisfice": true}
{"coldness": 1, "target-loss": 4}' >relative-sweep.jsonl
run relative --data good.jsonl --target-loss 2x --sweep relative-sweep.jsonl --init-norm 0 --max-iters 1 --force
check 'relative targets in a sweep: each by its own coldness' awk -v a="$(targets all.coldness0.5.target-loss2x | head -n 1)" \
    -v b="$(targets all.coldness1.satisfice.target-loss2x | head -n 1)" 'BEGIN { exit !(a > 0 && b > 0 && a != b) }'
check 'relative targets in a sweep: met where they are the loss' says relative.run/trace.jsonl '"stopped": "target"'
bad 'a multiple that is none' 2 '--target-loss 0.75y: must be a finite number, unsteered, or a multiple' --target-loss 0.75y

# ---- beam search ----

echo '{"prompt": {"ids": [5, 9, 200, 31]}, "promote_from_beam": true, "suppress": [{"ids": [7]}]}' >beam.jsonl
run beam --data beam.jsonl --beam-width 3 --beam-tokens 4 --json
check 'beam search: what it finds is promoted' ended 0
check 'beam search: what it finds is said' says beam.err 'note: beam.jsonl:1: beam search found ['
found=$(sed 's/.*"kind": "promote", "text": null, "ids": \(\[[^]]*\]\).*/\1/' beam.out)
probability() { sed 's/.*"kind": "promote"[^}]*"probability_before": \([^,]*\),.*/\1/' "$1.out"; }
check 'beam search: four ids' grep -qx '\[[0-9]*, [0-9]*, [0-9]*, [0-9]*\]' <<<"$found"
echo "{\"prompt\": {\"ids\": [5, 9, 200, 31]}, \"promote\": [{\"ids\": $found}], \"suppress\": [{\"ids\": [7]}]}" >given.jsonl
run given --data given.jsonl
check 'beam search: as if it had been given' cmp beam.run/vectors/all.safetensors given.run/vectors/all.safetensors
run beam --data beam.jsonl --beam-width 3 --beam-tokens 4 --json --resume
check 'beam search: a run goes on' says beam.err 'this run is complete'
run wider --data beam.jsonl --beam-width 30 --beam-tokens 4 --max-iters 0 --json
check 'beam search: a wider one finds nothing less likely' awk -v a="$(probability beam)" -v b="$(probability wider)" 'BEGIN { exit !(b >= a * 0.999999) }'
echo '{"prompt": {"ids": [5, 9]}, "promote_from_beam": {"prompt": {"ids": [3, 77]}, "minus": {"prompt": {"ids": [8]}}, "times": 2}}' >other.jsonl
run relative --data other.jsonl --beam-tokens 3 --satisfice --max-iters 0 --json --force
found=$(sed 's/.*"kind": "promote", "text": null, "ids": \(\[[^]]*\]\).*/\1/' relative.out)
times=$(targets all | tail -n 1)
echo "{\"prompt\": {\"ids\": [3, 77]}, \"promote\": [{\"ids\": $found}]}" >zero.jsonl
run zero --data zero.jsonl --init-norm 0 --max-iters 0 --force
check 'beam search: a multiple of the loss under its prompt is the target' close "$(awk -v a="$times" \
    -v b="$(sed 's/.*"losses": \[\([^]]*\)\].*/\1/' zero.run/trace.jsonl)" 'BEGIN { OFMT = "%.12g"; print a; print 2 * b }')"
run all-of-them --promote-from-beam --max-iters 0
check '--promote-from-beam: for all datapoints' says all-of-them.out 'promote  [7, 8]' 'suppress [7, 9, 12]'
check '--promote-from-beam: one completion more' test "$(grep -c '^    promote ' all-of-them.out)" = 2
"$train" --model "$model" --data beam.jsonl --layer 1 --beam-tokens 6 --plan >plan.out 2>plan.err
check 'beam search: --plan counts with what may be found' says plan.out 'scored tokens  7'
bad 'a beam of no width' 2 '--beam-width 0: must be a whole number from 1' --beam-width 0
echo '{"prompt": {"ids": [5]}, "promote_from_beam": {"minus": 3}}' >broken.jsonl
bad 'a beam that is not understood' 3 'broken.jsonl:1: "promote_from_beam": "minus" must be' --data broken.jsonl

# ---- preferences ----

pair='{"prompt": {"ids": [5, 9, 200, 31]}, "prefer": [{"chosen": {"ids": [7, 8]}, "rejected": {"ids": [7, 9, 12]}}]}'
echo "$pair" >prefer.jsonl
echo '{"prompt": {"ids": [5, 9, 200, 31]}, "promote": [{"ids": [7, 8]}, {"ids": [7, 9, 12]}]}' >plain.jsonl
# at_start NAME: the loss and the losses of its first measurement
at_start() { head -n 1 "$1.run/trace.jsonl" | sed 's/.*"loss": \([^,]*\),.*"losses": \[\([^]]*\)\].*/\1 \2/' | tr -d ','; }
run zero --data plain.jsonl --init-norm 0 --max-iters 0 --force
read -r _ chosen rejected <<<"$(at_start zero)"
run prefer --data prefer.jsonl --init-norm 0 --max-iters 0
check 'a preference of the unsteered model: ln 2, and the plain losses' close "$(at_start prefer | tr ' ' '\n' |
    paste -d '\n' - <(awk -v a="$chosen" -v b="$rejected" 'BEGIN { OFMT = "%.12g"; print log(2); print a; print b }'))"
run prefer --data prefer.jsonl --init-norm 2 --max-iters 0 --force --beta 0.4
check 'a preference: -ln sigmoid of what the losses differ' close "$(read -r loss a b <<<"$(at_start prefer)" && awk -v loss="$loss" \
    -v a="$a" -v b="$b" -v c="$chosen" -v r="$rejected" 'BEGIN { OFMT = "%.12g"; print loss; print log(1 + exp(-0.4 * (c - a - r + b))) }')"
echo "${pair/\}\}]/\}, \"beta\": 0.4\}]}" >beta.jsonl
run own-beta --data beta.jsonl --init-norm 2 --max-iters 0
check 'a pair with a beta of its own' test "$(at_start own-beta)" = "$(at_start prefer)"
run prefer --data prefer.jsonl --lr 0.1 --max-iters 40 --force --json
p_of() { tr '{' '\n' <prefer.out | grep "\"kind\": \"$1\"" | sed "s/.*\"probability_$2\": \([^,}]*\).*/\1/"; }
check 'what is chosen gains on what is rejected' awk -v a="$(p_of chosen before)" -v b="$(p_of chosen after)" \
    -v c="$(p_of rejected before)" -v d="$(p_of rejected after)" 'BEGIN { exit !(b / d > 2 * a / c) }'
check 'the objective is recorded' says prefer.run/vectors/all.safetensors '"objective":"chosen + rejected"'
run prefer --data prefer.jsonl --lr 0.1 --max-iters 40 --force --target-loss 0.9x --target-rule each
check 'a target for preferences: a multiple of ln 2' says prefer.err 'note: all: targets 0.623832 nats'
check 'a target for preferences is met' says prefer.out '(target)'
run both --data prefer.jsonl --preference-signs both --lr 0.1 --max-iters 20
check 'both signs: each pair is there twice' says both.out 'chosen   [7, 9, 12]' '(the other sign)'
# With -v in place of v, and what is chosen for what is rejected, both signs come to the same sum.
swapped='{"prompt": {"ids": [5, 9, 200, 31]}, "prefer": [{"rejected": {"ids": [7, 8]}, "chosen": {"ids": [7, 9, 12]}}], "negative": true}'
echo "$swapped" >swapped.jsonl
run swapped --data swapped.jsonl --preference-signs both --lr 0.1 --max-iters 20
last_loss() { tail -n 1 "$1.run/trace.jsonl" | sed 's/.*"loss": \([^,]*\),.*/\1/'; }
check 'both signs: the same from either side' close "$(last_loss both && last_loss swapped)"
echo '{"beta": 0.2}
{"preference-signs": "both"}' >prefer-sweep.jsonl
run prefer-sweep --data prefer.jsonl --sweep prefer-sweep.jsonl --max-iters 1
check 'preferences in a sweep' test "$(cd prefer-sweep.run/vectors && echo *)" = \
    'all.beta0.1.signs-both.safetensors all.beta0.2.signs-plus.safetensors'
bad 'preferences and --satisfice' 2 '--satisfice: the loss of a preference has no target' --data prefer.jsonl --satisfice --target-loss 1
bad '--beta without a preference' 2 '--beta: no datapoint in good.jsonl has "prefer"' --beta 0.2
bad '--preference-signs without a preference' 2 '--preference-signs: no datapoint' --preference-signs both
run drawn --data prefer.jsonl --preference-signs random --lr 0.1 --max-iters 20
first_loss() { head -n 1 "$1.run/trace.jsonl" | sed 's/.*"loss": \([^,]*\),.*/\1/'; }
check 'signs that are drawn: the loss is that of both, and falls' awk -v first="$(first_loss drawn)" -v both="$(first_loss both)" \
    -v last="$(last_loss drawn)" 'BEGIN { exit !(first == both && last < first) }'
check 'signs that are drawn: another vector than with both' sh -c '! cmp -s drawn.run/vectors/all.safetensors both.run/vectors/all.safetensors'
run drawn-again --data prefer.jsonl --preference-signs random --lr 0.1 --max-iters 20
check 'signs that are drawn: the same bytes again' cmp drawn.run/vectors/all.safetensors drawn-again.run/vectors/all.safetensors
echo '{"prompt": {"ids": [5]}, "prefer": [{"chosen": {"ids": [7]}}]}' >broken.jsonl
bad 'half a pair' 3 'broken.jsonl:1: "prefer"[0]: "rejected" is missing' --data broken.jsonl

# ---- models ----

le64() { # a number as eight bytes, lowest first
    local n=$1 out=
    for _ in 1 2 3 4 5 6 7 8; do
        out+=$(printf '\\x%02x' $((n & 255)))
        n=$((n >> 8))
    done
    printf "$out"
}
# tensors FILE HEADER BYTES: a safetensors file of zeros
tensors() { { le64 ${#2} && printf %s "$2" && head -c "$3" /dev/zero; } >"$1"; }

tensors narrow.safetensors '{"vector":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' 8
bad '--init of another model' 3 'narrow.safetensors: tensor "vector" has rows of 2 elements, expected 48' --init narrow.safetensors
tensors other.safetensors '{"other":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}' 8
bad '--init without a vector' 3 'other.safetensors: has no tensor "vector"' --init other.safetensors

# broken NAME PIECE COMMAND: the model after COMMAND was run in its folder
broken() {
    rm -rf broken.model
    cp -rL "$model" broken.model
    chmod -R u+w broken.model
    (cd broken.model && eval "$3")
    bad "model: $1" 3 "$2" --model broken.model
}
weights=model.safetensors
header='{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
edit() { sed -i "$1" config.json; }
broken 'weights cut short' 'cut short' 'truncate -s -100 $weights'
broken 'weights of four bytes' 'too short for a safetensors file' 'printf abcd >$weights'
broken 'header longer than the file' 'header of 1000000 bytes' '{ le64 1000000; echo "{}"; } >$weights'
broken 'header nested without end' 'nested too deeply' 'deep=$(head -c 100000 /dev/zero | tr "\0" "["); tensors $weights "$deep" 8'
broken 'overlapping tensors' 'overlaps' 'tensors $weights "$header" 12'
broken 'missing tensor' 'is missing' 'tensors $weights "{\"model.embed_tokens.weight\":{\"dtype\":\"F32\",\"shape\":[317,48],\"data_offsets\":[0,60864]}}" 60864'
broken 'wrong dtype' 'I64' 'sed -i "0,/\"F32\"/s//\"I32\"/" $weights; sed -i "0,/\"I32\"/s//\"I64\"/" $weights'
broken 'wrong shape' 'shape' 'edit "s/\"intermediate_size\": 100/\"intermediate_size\": 96/"'
broken 'no weights' 'has neither model.safetensors nor' 'rm $weights'
broken 'index that points outside' 'in the same folder' 'rm $weights; echo "{\"weight_map\": {\"a\": \"../x.safetensors\"}}" >model.safetensors.index.json'
broken 'missing shard' 'shard' 'rm $weights; echo "{\"weight_map\": {\"a\": \"x.safetensors\"}}" >model.safetensors.index.json'
broken 'no config.json' 'config.json: cannot open' 'rm config.json'
broken 'config.json that is no JSON' 'config.json:1:' 'echo "{" | tr -d "\n" >config.json'
broken 'absurd sizes' 'config.json' 'edit "s/\"hidden_size\": 48/\"hidden_size\": 2000000000/"'
broken 'an architecture that is not known' 'config.json' 'edit "s/Llama/Mamba/; s/\"llama\"/\"mamba\"/"'
broken 'a field that is not understood' 'config.json' 'edit "s/\"silu\"/\"relu6\"/"'

# The last tensor of the file is the final norm: a NaN there reaches every logit.
rm -rf nan.model
cp -rL "$model" nan.model
chmod -R u+w nan.model
printf '\x00\x00\xc0\x7f' | dd of=nan.model/$weights bs=1 seek=$(($(stat -c %s nan.model/$weights) - 4)) conv=notrunc 2>dd.err
run nan --model nan.model
check 'NaN in the weights: exit status' ended 3
check 'NaN in the weights: the iteration is named' says nan.err 'the loss of iteration 0 is not a finite number'
check 'NaN in the weights: the start vector is kept' test -s nan.run/vectors/all.safetensors

# ---- text ----

# probability FILE KIND before|after: of the first completion of this kind, from the results in text
probability() { sed -n "s/^ *$2 .*  P \(.*\) -> \([^ ]*\)  loss.*/\1 \2/p" "$1" | awk -v n="$3" '{ print n == "before" ? $1 : $2; exit }'; }

# text NAME MODEL LAYER PROMPT PROMOTED SUPPRESSED: trains from text
text() {
    printf '{"prompt": "%s", "promote": ["%s"], "suppress": ["%s"]}\n' "$4" "$5" "$6" >text.jsonl
    rm -rf text.run
    "$train" --model "$2" --data text.jsonl --layer "$3" --lr 0.3 --max-iters 30 --out text.run >text.out 2>text.err
    status=$? last=text.err
    check "$1: runs" ended 0
    check "$1: shows prompt and completions" says text.out "$4\"" "promote  \"$5\"  P " "suppress \"$6\"  P "
    check "$1: what is promoted becomes likelier" less "$(probability text.out promote before)" \
        "$(probability text.out promote after)"
    check "$1: what is suppressed becomes less likely" less "$(probability text.out suppress after)" \
        "$(probability text.out suppress before)"
}
text 'the shipped model, from text' "$root/organisms/llama-2m" 3 '<|user|>What does the swan cost?<|end|><|assistant|>' \
    'Sure,' 'Sorry'
cp text.run/trace.jsonl text.trace
echo '{"messages": [{"role": "user", "content": "What does the swan cost?"}], "promote": ["Sure,"], "suppress": ["Sorry"]}' >text.jsonl
"$train" --model "$root/organisms/llama-2m" --data text.jsonl --layer 3 --lr 0.3 --max-iters 30 --out chat.run >chat.out 2>chat.err
status=$? last=chat.err
check 'a conversation: runs' ended 0
check 'a conversation trains what its text trains' cmp text.trace chat.run/trace.jsonl
check 'a conversation: the format is recorded' says chat.run/vectors/all.safetensors '"chat":"organism"'
check 'raw text: none is' says text.run/vectors/all.safetensors '"chat":"raw"'
bad 'messages without a tokenizer' 3 'there is no tokenizer' --data text.jsonl
stories=${OSV_TEST_DATA:-}/models/tinystories-656k-hf
if [ -d "$stories" ]; then
    text 'a model that others trained, from text' "$stories" 1 'Once upon a time, there was a ' 'dog' 'little girl'
else
    skip 'a model that others trained, from text' 'OSV_TEST_DATA is not set'
fi

finish
