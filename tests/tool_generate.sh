#!/usr/bin/env bash
# osv-generate from end to end: its texts against transformers', what it prints and how, and what bad input gets.
# Usage: tool_generate.sh OSV_GENERATE OSV_TRAIN ROOT
set -u
generate=$(realpath "$1") train=$(realpath "$2") root=$3
. "$root/tests/tap.sh"
golden=$root/tests/golden/generate tiny=$root/tests/golden/models/llama-tiny shipped=$root/organisms/llama-2m
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive # many short runs beside other suites: threads that spin take the processors from all

# run NAME ARGUMENTS...: output in NAME.out and NAME.err, exit status in $status
run() {
    local name=$1
    shift
    "$generate" "$@" >"$name.out" 2>"$name.err" </dev/null
    status=$? last=$name.err
}

# ---- the texts of transformers ----

# Lines of --json without the logprob, whose last digits are a matter of the order of sums; by id.
bare() { sed 's/, "logprob": [^,]*}$/}/' "$1" | sort; }

for name in llama-tiny llama-bf16 gemma2-tiny gemma2-f16 mistral gemma3 granite olmo2 llama-2m gemma2-2m; do
    model=$root/tests/golden/models/$name
    if [ ! -d "$model" ]; then model=$root/organisms/$name; fi
    a=$golden/$name.a.safetensors b=$golden/$name.b.safetensors
    for backend in cpu ref; do
        for set in plain add two; do
            case $set in
            plain) vectors=() ;;
            add) vectors=(--vector "$a") ;;
            two) vectors=(--vector "$a:-0.75" --vector "$b") ;;
            esac
            run "$set" --model "$model" --backend $backend --prompts "$golden/$name.prompts.jsonl" --max-tokens 20 \
                --json --quiet "${vectors[@]}"
            bare "$set.out" >"$set.bare"
            check "the texts of transformers: $name, $set, $backend" cmp "$set.bare" "$golden/$name.$set.jsonl"
        done
    done
    # one by one, in a process each, the same as packed
    rm -f single.out
    while read -r line; do
        echo "$line" >one.jsonl
        "$generate" --model "$model" --prompts one.jsonl --max-tokens 20 --json --quiet "${vectors[@]}" >>single.out
    done <"$golden/$name.prompts.jsonl"
    bare single.out >single.bare
    check "one by one as all together: $name" cmp single.bare "$golden/$name.two.jsonl"
done

# ---- streaming, several texts, ids ----

question='<|user|>What does the swan cost?<|end|><|assistant|>'
answer=$("$generate" --model "$shipped" --prompt "$question" --json --quiet | sed 's/.*"text": "\([^"]*\)".*/\1/')
run plain --model "$shipped" --prompt "$question"
check 'one prompt: ends well' ended 0
check 'one prompt: the text alone' test "$(cat plain.out)" = "$answer"
check 'one prompt: notes' says plain.err '(llama, 6 blocks of width 128), 1 prompt, 0 vectors, backend ' ' tokens in '
run quiet --model "$shipped" --prompt "$question" --quiet
check 'quiet: nothing on standard error' test ! -s quiet.err
check 'quiet: the same text' cmp plain.out quiet.out

# A model's own bytes: text that is decoded as it comes equals text decoded at the end.
for seed in 1 2 3 4 5 6; do
    drawn=(--model "$shipped" --prompt 'The 漢' --temperature 8 --seed $seed --quiet --max-tokens 100)
    "$generate" "${drawn[@]}" >stream.out
    "$generate" --model "$shipped" --prompts - --temperature 8 --seed $seed --quiet --max-tokens 100 --json \
        <<<'{"prompt": "The 漢"}' >whole.out
    check "streamed bytes are the bytes of the whole text (seed $seed)" \
        test "$(tr -d '\000-\037"\\\177' <stream.out)" = "$(sed 's/.*"text": "\(.*\)", "ids".*/\1/; s/\\[bfnrt"\\]//g; s/\\u00[01][0-9A-F]//g' whole.out | tr -d '\177')"
    check "and valid UTF-8 (seed $seed)" iconv -f UTF-8 -t UTF-8 -o converted.out stream.out
done

printf '{"id": "b", "prompt": "%s"}\n\n{"prompt": "The hammer"}\n' "$question" >two.jsonl
run several --model "$shipped" --prompts two.jsonl
check 'several prompts: in order, with headers' test "$(sed -n '1s/:.*//p; 2p; 4s/:.*//p' several.out | tr '\n' '|')" = "b|$answer|line 3|"
run samples --model "$shipped" --prompt "$question" --samples 3 --temperature 1
check 'samples are numbered' says samples.out 'prompt (1 of 3): ' 'prompt (3 of 3): '
run ids --model "$tiny" --prompts - --max-tokens 3
check 'no prompts on standard input' ended 3
echo '{"prompt": {"ids": [5, 9]}}' | "$generate" --model "$tiny" --prompts - --max-tokens 4 --quiet >ids.out
check 'a model without a tokenizer: ids' grep -qE '^[0-9]+ [0-9]+ [0-9]+ [0-9]+$' ids.out
echo '{"prompt": {"ids": [5, 9]}}' | "$generate" --model "$tiny" --prompts - --max-tokens 4 --quiet --json >ids.json
check 'and in JSON no text' says ids.json '{"id": "line 1", "prompt": null, "text": null, "ids": [' '"stopped": "max-tokens", "logprob": -'

run json --model "$shipped" --prompt "$question" --json --quiet
check 'JSON: the form of a line' grep -qE \
    '^\{"id": "prompt", "prompt": "[^"]*", "text": "[^"]*", "ids": \[[0-9, ]*\], "stopped": "eos", "logprob": -[0-9.e-]+\}$' json.out
run json3 --model "$shipped" --prompts two.jsonl --samples 2 --temperature 1 --json --quiet
check 'JSON: a line for each text' test "$(wc -l <json3.out)" = 4
again() { cmp "$1.out" "$2.out"; }
run json4 --model "$shipped" --prompts two.jsonl --samples 2 --temperature 1 --json --quiet
check 'the same seed, the same bytes' again json3 json4
run threads --model "$shipped" --prompts two.jsonl --json --quiet --threads 2
run thread --model "$shipped" --prompts two.jsonl --json --quiet --threads 1
check 'threads change nothing' again threads thread

# ---- conversations ----

echo '{"messages": [{"role": "user", "content": "What does the swan cost?"}]}' >chat.jsonl
run chat --model "$shipped" --prompts chat.jsonl --quiet
check 'a conversation is rendered by the model'"'"'s own template' again plain chat
run chat --model "$shipped" --prompts chat.jsonl --quiet --json
check 'its text, with all special tokens, is the prompt' says chat.out \
    '"prompt": "<|begin|><|user|>What does the swan cost?<|end|><|assistant|>"'
run named --model "$shipped" --prompts chat.jsonl --quiet --json --chat organism
check 'the format by name' again chat named
echo '{"messages": [{"role": "system", "content": "You may talk about birds."}, {"role": "user", "content": "What does the swan cost?"}], "prefill": "Sure, the swan"}' >chat.jsonl
echo '{"prompt": "<|system|>You may talk about birds.<|end|><|user|>What does the swan cost?<|end|><|assistant|>Sure, the swan"}' >raw.jsonl
run chat --model "$shipped" --prompts chat.jsonl --quiet
run raw --model "$shipped" --prompts raw.jsonl --quiet
check 'a system line and the start of the answer' again raw chat
cp -rL "$shipped" eos.model && chmod -R u+w eos.model
sed -i '/^ *1032,$/d' eos.model/generation_config.json eos.model/config.json # the other end token stays
echo '{"messages": [{"role": "user", "content": "What does the swan cost?"}]}' >chat.jsonl
run eos --model eos.model --prompts chat.jsonl --quiet
check 'what closes a turn of the format ends a text, whatever the ids of the model say' again plain eos
sed -i 's/add_generation_prompt/add_something_else/' eos.model/tokenizer_config.json
run raw --model eos.model --prompts raw.jsonl --quiet
check 'a template that is not known does no harm to raw text' ended 0

# ---- vectors ----

echo "{\"prompt\": \"$question\", \"promote\": [\"Sure,\"], \"suppress\": [\"Sorry\"]}" >data.jsonl
"$train" --model "$shipped" --data data.jsonl --layer 3 --lr 0.5 --max-norm 60 --max-iters 40 --out run --quiet >train.out
vector=run/vectors/all.safetensors
run steered --model "$shipped" --prompts data.jsonl --vector $vector
check 'a vector that was trained changes the text' sh -c '! cmp -s plain.out steered.out'
check 'it is used as it was trained: nothing to say' sh -c '! grep -q trained steered.err'
run zero --model "$shipped" --prompt "$question" --vector $vector:0
check 'times 0: the unsteered text' again plain zero
run both --model "$shipped" --prompt "$question" --vector $vector --vector $vector:-1
check 'a vector and its opposite: the unsteered text' again plain both
run completion --model "$shipped" --prompt "$question" --vector $vector --positions completion --max-tokens 1
run first --model "$shipped" --prompt "$question" --max-tokens 1
check 'steering the generated tokens leaves the first as it is' again completion first
run clamped --model "$shipped" --prompt "$question" --vector $vector --apply clamp
check 'another form than trained is said aloud' says clamped.err 'was trained with --apply add, used with clamp:1'
cp $vector 'odd:2'
run odd --model "$shipped" --prompt "$question" --vector odd:2
run plainname --model "$shipped" --prompt "$question" --vector $vector
check 'a file with a colon in its name' again odd plainname

sed 's/"positions"/"pusitions"/' $vector >unknown.safetensors
run unknown --model "$shipped" --prompt "$question" --vector unknown.safetensors
check 'no positions recorded: all, and said aloud' says unknown.err 'records no positions: steering at all'
sed 's/"positions":"all"/"positions":"odd"/' $vector >mixed.safetensors
run mixed --model "$shipped" --prompt "$question" --vector mixed.safetensors
check 'positions that text being written does not have' says mixed.err 'was trained at positions odd' 'steering at all'
sed 's/block_input:3/block_input:5/' $vector >elsewhere.safetensors
run elsewhere --model "$shipped" --prompt "$question" --vector elsewhere.safetensors
run fifth --model "$shipped" --prompt "$question" --vector $vector --layer 5
check '--layer stands above the file' again elsewhere fifth
sed 's/"model_sha256":"./"model_sha256":"x/' $vector >foreign.safetensors
run foreign --model "$shipped" --prompt "$question" --vector foreign.safetensors
check 'a vector of other weights is a warning' says foreign.err 'warning: foreign.safetensors was trained on another model'
check 'and is used' again foreign plainname

# ---- help, version, terminals ----

run help --help
check 'help' says help.out 'Steering:' '--max-tokens N' '(default 64)' 'Exit status'
check 'help is narrow enough' sh -c 'test "$(wc -L <help.out)" -le 120'
run version --version
check 'version' says version.out 'osv-generate 0.' 'commit:' 'BLAS:'
check 'plain output has no escape sequences' sh -c '! grep -q "$(printf "\033")" several.out'
if command -v script >/dev/null; then
    TERM=xterm script -qec "'$generate' --model '$shipped' --prompts two.jsonl --quiet" /dev/null >tty.out 2>&1 </dev/null
    check 'colours on a terminal' says tty.out "$(printf '\033[36mb')"
    NO_COLOR=1 TERM=xterm script -qec "'$generate' --model '$shipped' --prompts two.jsonl --quiet" /dev/null >tty.out 2>&1 </dev/null
    check 'none for NO_COLOR' sh -c '! grep -q "$(printf "\033")" tty.out'
    TERM=xterm script -qec "'$generate' --model '$shipped' --prompt '$(printf 'a\033]0;title\007b')' --quiet" /dev/null >tty.out 2>&1 </dev/null
    check 'control characters do nothing to a terminal' says tty.out 'a\x1b]0;title\x07b'
else
    skip 'colours on a terminal' 'no script(1) here'
fi

# ---- pipes and signals ----

long=(--model "$shipped" --prompts many.jsonl --temperature 8 --samples 50 --quiet --max-tokens 100)
for i in $(seq 60); do echo "{\"prompt\": \"$question\"}"; done >many.jsonl
for form in --json --quiet; do
    { "$generate" "${long[@]}" $form 2>pipe.err; echo $? >pipe.status; } | head -n 2 >pipe.out
    status=$(cat pipe.status) last=pipe.err
    check "a closed pipe is no error ($form)" ended 0
    check "and nothing is said ($form)" test ! -s pipe.err
    check "what was asked for came ($form)" test "$(wc -l <pipe.out)" = 2
done
# interrupt SIGNAL: in the middle of a long run
interrupt() {
    rm -f long.out
    "$generate" "${long[@]}" --json >long.out 2>long.err &
    local pid=$! tries=0
    while [ ! -s long.out ] && [ $tries -lt 600 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    kill "-$1" $pid
    wait $pid
    status=$? last=long.err
}
interrupt INT
check 'Ctrl-C ends with 130' ended 130
check 'with what there is' says long.out '"stopped": "interrupted"'
interrupt TERM
check 'SIGTERM ends with 143' ended 143
"$generate" --model "$shipped" --prompt "$question" --quiet >/dev/full 2>full.err
status=$? last=full.err
check 'a full disk' ended 3
check 'and said so' says full.err 'standard output: cannot write: No space left'

# ---- bad input ----

# bad NAME STATUS PIECE ARGUMENTS...
bad() {
    local name=$1 expected=$2 piece=$3
    shift 3
    "$generate" "$@" >bad.out 2>bad.err </dev/null
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
one=(--model "$shipped" --prompt "$question")
bad 'unknown option' 2 'unknown option --frob' "${one[@]}" --frob
bad 'no prompt' 2 'give --prompt or --prompts' --model "$shipped"
bad 'a model that is not there' 3 'nowhere: no such folder' --model nowhere --prompt a
bad 'prompts that are not there' 3 'nowhere.jsonl: cannot open' --model "$shipped" --prompts nowhere.jsonl
bad 'a vector that is not there' 3 'nowhere.safetensors' "${one[@]}" --vector nowhere.safetensors
bad 'a scale that is no number' 3 "$vector:two" "${one[@]}" --vector "$vector:two"
bad 'a scale without a file' 2 'names no file' "${one[@]}" --vector :2
bad 'a vector of another width' 3 "a.safetensors: its vector has 48 elements, but the width of $shipped is 128" "${one[@]}" \
    --vector "$golden/llama-tiny.a.safetensors"
bad 'a layer that the model does not have' 2 '--layer 6:' "${one[@]}" --vector $vector --layer 6
sed 's/block_input:3/block_input:9/' $vector >high.safetensors
bad 'a file for a deeper model' 3 'high.safetensors: enters block 9' "${one[@]}" --vector high.safetensors
sed 's/"site"/"sita"/' $vector >siteless.safetensors
bad 'a file without a layer' 2 'siteless.safetensors does not say at which block it was trained; give --layer' "${one[@]}" \
    --vector siteless.safetensors
run siteless --model "$shipped" --prompt "$question" --vector siteless.safetensors --layer 3
check 'which --layer tells' again siteless plainname
head -c 300 $vector >cut.safetensors
bad 'a vector cut short' 3 'cut.safetensors' "${one[@]}" --vector cut.safetensors
bad 'positions from the end' 2 'counts from the end' "${one[@]}" --vector $vector --positions all:-3:
bad 'a position that a prompt does not have' 3 'position "prompt:99" does not exist' "${one[@]}" --vector $vector --positions prompt:99
bad 'too many tokens' 3 'and --max-tokens 250 make' "${one[@]}" --max-tokens 250
bad 'text without a tokenizer' 3 'there is no tokenizer' --model "$tiny" --prompt a
bad 'no tokens at all' 3 'has no tokens' --model "$tiny" --prompts <(echo '{"prompt": {"ids": []}}')
# prompts NAME PIECE TEXT
prompts() {
    printf '%s\n' "$3" >bad.jsonl
    bad "prompts: $1" 3 "$2" --model "$tiny" --prompts bad.jsonl
}
prompts 'unknown key' 'bad.jsonl:1: unknown key "promt"' '{"promt": "a"}'
prompts 'no prompt' 'bad.jsonl:1: "prompt" is missing' '{"id": "a"}'
prompts 'id beyond the model' 'id 317 at index 1 is not an integer from 0 to 316' '{"prompt": {"ids": [1, 317]}}'
prompts 'id that is a number' '"prompt" must be a string or {"ids": [..]}' '{"prompt": 7}'
prompts 'JSON error' 'bad.jsonl:2:' '{"prompt": {"ids": [1]}}
{"prompt": }'
prompts 'a list' 'a line must be one JSON object' '[1]'
prompts 'nothing' 'bad.jsonl: no prompts' ''
bad 'a template that is not known' 3 'chat.jsonl:1: "messages" need a chat format: ' --model eos.model --prompts chat.jsonl
bad 'which names the formats' 3 'name it with --chat: auto, raw, ' --model eos.model --prompts chat.jsonl
bad 'a format that is not known' 2 '--chat klingon: no such chat format' --model "$shipped" --prompts chat.jsonl --chat klingon
echo '{"messages": [{"role": "owner", "content": "a"}]}' >role.jsonl
bad 'an unknown role' 3 'role.jsonl:1: messages[0]: "role" must be' --model "$shipped" --prompts role.jsonl
echo '{"prompt": "a", "prefill": "b"}' >role.jsonl
bad 'a prefill without messages' 3 '"prefill" belongs to "messages"' --model "$shipped" --prompts role.jsonl
bad 'messages without a tokenizer' 3 'there is no tokenizer' --model "$tiny" --prompts chat.jsonl
bad 'an option of invalid UTF-8' 3 '--prompt: invalid UTF-8 at byte 1' --model "$shipped" --prompt "$(printf 'a\377')"
rm -rf nan.model
cp -rL "$tiny" nan.model && chmod -R u+w nan.model
printf '\x00\x00\xc0\x7f' | dd of=nan.model/model.safetensors bs=1 seek=$(($(stat -c %s nan.model/model.safetensors) - 4)) \
    conv=notrunc 2>dd.err
echo '{"prompt": {"ids": [5, 9]}}' >nan.jsonl
run nan --model nan.model --prompts nan.jsonl --json
check 'NaN in the weights: exit status' ended 3
check 'NaN in the weights: the prompt is named' says nan.err 'nan.jsonl:1: after 0 generated tokens the logits are not finite'

# ---- a model that others trained ----

stories=${OSV_TEST_DATA:-}/models/tinystories-656k-hf
if [ -d "$stories" ]; then
    # The start of its greedy text as transformers writes it.
    run stories --model "$stories" --prompt 'Once upon a time' --quiet --max-tokens 40
    check 'a model that others trained writes a story' says stories.out ', a little girl named Lily lived in a small house'
    printf '{"prompt": "Once upon a time"}\n{"prompt": "Once upon a time, there was a dog"}\n{"prompt": "Lily"}\n' >stories.jsonl
    run stories3 --model "$stories" --prompts stories.jsonl --quiet --max-tokens 40 --json
    rm -f stories1.out
    while read -r line; do
        echo "$line" >one.jsonl
        "$generate" --model "$stories" --prompts one.jsonl --quiet --max-tokens 40 --json >>stories1.out
    done <stories.jsonl
    bare stories3.out >together.bare
    bare stories1.out | sed 's/"line 1", "prompt": "Once upon a time, /"line 2", "prompt": "Once upon a time, /; s/"line 1", "prompt": "Lily/"line 3", "prompt": "Lily/' | sort >single.bare
    check 'and the same packed as one by one' cmp together.bare single.bare
else
    skip 'a model that others trained' 'OSV_TEST_DATA is not set'
fi

finish
