#!/usr/bin/env bash
# osv-inspect from end to end: the report, tokens of a data file, text to ids and back, conversations, bad input.
# With OSV_TEST_DATA also real tokenizers and chat templates. Usage: tool_inspect.sh OSV_INSPECT OSV_TRAIN ROOT
set -u
tool=$(realpath "$1") train=$(realpath "$2") root=$3
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive
models=$root/tests/golden/models llama=$root/organisms/llama-2m gemma=$root/organisms/gemma2-2m

# run ARGUMENTS...: output in out and err
run() {
    "$tool" "$@" >out 2>err </dev/null
    status=$?
}
# bad NAME STATUS PIECE ARGUMENTS...: refused with this text, and nothing on standard output
bad() {
    local name=$1 expected=$2 piece=$3
    shift 3
    run "$@"
    if [ $status != "$expected" ]; then
        fail "$name" "exit status $status, expected $expected: $(cat err)"
    elif ! grep -qF -e "$piece" err; then
        fail "$name" "does not say \"$piece\": $(cat err)"
    elif [ -s out ]; then
        fail "$name" "something is printed: $(cat out)"
    else
        pass "$name"
    fi
}
# json NAME FILTER FILE: jq finds the filter true of every line
have_jq=$(command -v jq)
json() {
    if [ -z "$have_jq" ]; then skip "$1" 'no jq here'; else check "$1" jq -e -s "length > 0 and all(.[]; $2)" "$3"; fi
}

# ---- the report ----

run "$llama"
cp out report
check 'a model: exit status' test $status = 0
check 'its sizes' says report 'family                   llama' 'blocks                   6' 'width                    128' \
    'query heads              4' 'kv heads                 2' 'vocabulary               1227'
check 'its maths' says report 'rms, times w' 'activation               silu' 'kind default, theta 10000, components 64' \
    'attention softcap        none' 'tied head                no'
check 'what is ignored, and why' says report 'use_cache                true: how a program runs the model' \
    'initializer_range        0.04: about training the weights'
check 'its parameters' says report 'embedding                157056' 'total                    1790336'
check 'as many as the file has' says report 'all                      3.58 MB' 'tensors                  57'
check 'its tokenizer' says report 'tokenizer.json, BPE, byte-level' 'size                     1227' \
    'special                  <|begin|> (1221), <|stop|> (1222), <|system|> (1223)' \
    'added to a text          <|begin|> (1221)' 'ends a text              <|end|> (1226), <|stop|> (1222)'
check 'its chat format' says report 'format                   organism' 'end of turn              <|end|>'
check 'nothing on standard error' test ! -s err
check 'narrow enough' test "$(wc -L <report)" -le 140

run "$gemma"
check 'Gemma 2' says out 'rms, times 1 + w' 'activation               gelu, tanh form' 'norms after              yes' \
    'tied head                yes' 'attention softcap        ' 'window                   '
run "$models/gemma2-tiny"
check 'windows of every other block' says out 'window                   5, none, and so on'
run "$models/llama-tiny"
check 'stretched rotary embeddings' says out \
    'kind llama3, theta 10000, components 12, factor 8, original positions 32, low freq factor 1, high freq factor 4'
run "$models/llama-bf16"
check 'two files of weights' says out 'files                    2'
check 'no tokenizer, said' says out 'no tokenizer; looked for tokenizer.json'
check 'no chat format, said' says out 'the model has no chat_template'
run random:gemma-2-9b
check 'a random model' says out 'random:gemma-2-9b' 'total                    9241705984' 'a random model has none' 'made                     at random'
run random:llama-3.1-8b --layer 16 --json
check 'as JSON' says out '"layer": "16"' '"total": 8030261248' '"original_positions": 8192.0'
for model in "$llama" "$gemma" "$models"/*/; do
    case $model in *-mm/) continue ;; esac # whose files have more parts than the text model
    run "$model" --json
    json "parameters of ${model#"$root"/} are those of its files" \
        '.parameters.total * (if .config.weights == "F32" then 4 else 2 end) == .files.all_bytes' out
done
for model in "$llama" "$gemma" "$models"/*/ random:llama-60m; do
    run "$model" --json
    json "JSON of ${model#"$root"/}" '.config.blocks > 0 and (.config.rope.kind | type == "string") and
        (.ignored | all(.key and .reason)) and .parameters.total > 0 and .memory.peak_bytes > .memory.weights_bytes and
        (.tokenizer | has("size") or has("none")) and (.chat | has("format") or has("none"))' out
done

# What --plan says of the same run.
echo '{"prompt": "What does the swan cost?", "promote": ["Sure,", "Sure. It"]}' >one.jsonl
"$train" --model "$llama" --data one.jsonl --layer 3 --plan --json --memory 1G --backend cpu >plan
run "$llama" --data one.jsonl --memory 1G --backend cpu
bytes=$(grep -o '"bytes": [0-9]*' plan | head -n 1 | cut -d' ' -f2)
check 'the largest bin of --plan' says out "largest bin              $(awk -v b="$bytes" 'BEGIN { printf "%.1f kB", b / 1000 }')"
run "$llama" --json --memory 1G --backend cpu --dtype bf16
check '--memory and --dtype' says out '"limit_bytes": 1073741824' '"dtype": "bf16"'
run random:llama-3.1-70b --backend cpu --memory 2T
check 'a model larger than this machine' says out 'limit                    2.20 TB'

# ---- tokens ----

# Nine tokens of prompt, of which the last two are steered; completions that agree in their first token.
cat >ids.jsonl <<'X'
{"id": "x", "prompt": {"ids": [1, 2, 3, 4]}, "promote": [{"ids": [5, 6, 7]}, {"ids": [5, 8]}], "positions": "prompt:-2:"}
{"id": "y", "prompt": {"ids": [1, 2, 9]}, "suppress": [{"ids": [5]}], "positions": "prompt:2", "negative": true, "job": "b"}
X
tiny=$models/llama-tiny
run "$tiny" --data ids.jsonl --layer 2
sed -n '/^x: /,$p' out >tokens
check 'tokens with their flags' diff tokens - <<'X'
x: job all, promote, block 2, positions prompt:-2:, bin 0; 4 tokens of prompt, 3 of completion
    0  .hf.        1
    1  .hf.        2
    2  +h..        3
    3  +h..        4
    4  .h.s        5
    5  ...s        6
    6  ...s        7

x: job all, promote, block 2, positions prompt:-2:, bin 0; 4 tokens of prompt, 2 of completion
    0  .hf.        1
    1  .hf.        2
    2  +h..        3
    3  +h..        4
    4  .h.s        5
    5  ...s        8

y: job b, suppress, block 2, positions prompt:2, bin 0; 3 tokens of prompt, 1 of completion
    0  .hf.        1
    1  .hf.        2
    2  -...        9
    3  ...s        5
X
run "$tiny" --data ids.jsonl --layer 2 --json
cp out tokens
check 'one object a completion, nothing else' test "$(wc -l <tokens)" = 3
check 'its keys' says tokens '{"id": "y", "line": 2, "job": "b", "layer": 2, "positions": "prompt:2", "objective": "suppress", "completion": 0, "text": null, "bin": 0, "prompt_tokens": 3, "tokens": [{"id": 1, "piece": null, "pos": 0, "steered": 0, "shared": true, "frozen": true, "scored": false}'
check 'its last token' says tokens '{"id": 5, "piece": null, "pos": 3, "steered": 0, "shared": false, "frozen": false, "scored": true}], "warnings": []}'
# --plan counts the same tokens: frozen once, live once, the last ones not at all.
"$train" --model "$tiny" --data ids.jsonl --layer 2 --plan --json --backend cpu >plan
if [ -n "$have_jq" ]; then
    check 'as many scored tokens as --plan has' test "$(jq -s '[.[].tokens[] | select(.scored)] | length' tokens)" = \
        "$(jq .scored_tokens plan)"
    check 'as many frozen ones' test "$(jq -s '[.[].tokens | .[:-1][] | select(.frozen) | [.pos, .id]] | unique | length' \
        tokens)" = "$(jq .frozen_tokens plan)"
else
    skip 'tokens of --plan' 'no jq here'
fi
run "$tiny" --data ids.jsonl --layer 1,2 --json
check 'several layers: each vector by itself' test "$(wc -l <out)" = 6
run "$tiny" --data ids.jsonl
check 'the middle block where no --layer is given' says out 'block 1, positions'

# The boundary of prompt and completion in text.
echo '{"prompt": "What does the sw", "promote": ["an cost?"]}' >cross.jsonl
echo '{"prompt": {"ids": [5, 9]}, "promote_from_beam": true}' >beam.jsonl
run "$tiny" --data beam.jsonl
check 'what beam search is to find has no ids yet' says out '2 tokens of prompt, 8 of completion at most, not written yet' 's        ?'
run "$tiny" --data beam.jsonl --json
json 'what beam search is to find, as JSON' '[.tokens[2:][].id] == [null, null, null, null, null, null, null, null]' out
run "$llama" --data cross.jsonl
check 'a token across the boundary' says out 'cross.jsonl:1: "promote"[0]: token "Ġswan" (481) crosses the boundary' \
    '6  +..s      288  "an"'
run "$llama" --data cross.jsonl --json
check 'in JSON' says out '"warnings": ["cross.jsonl:1: \"promote\"[0]: token \"Ġswan\"'
run "$llama" --data cross.jsonl --boundary joint
check '--boundary joint' says out '4  +...      481  "Ġswan"' '6 tokens of prompt, 1 of completion'
check '--boundary joint: no warning' sh -c '! grep -q warning: out'
echo '{"messages": [{"role": "user", "content": "Hi"}], "promote": ["Sure, it"]}' >chat.jsonl
run "$llama" --data chat.jsonl --positions completion
check 'messages' says out '"<|user|>"' '"<|assistant|>"' 'positions completion'
run "$llama" --data chat.jsonl --chat chatml
check '--chat' says out '"<"' '"Sure"' '41 tokens of prompt'
echo '{"prompt": {"ids": [1, 2]}, "promote": [{"ids": [3]}], "promote_targets": [0.5]}' >targets.jsonl
check 'targets are no mistake here' "$tool" "$tiny" --data targets.jsonl
"$tool" "$tiny" --data - --layer 2 --json <ids.jsonl >again
check 'data from standard input' cmp tokens again
check 'no colours in a file' sh -c "! grep -q \$(printf '\\033') out"
if command -v script >/dev/null; then
    TERM=xterm NO_COLOR='' script -qec "'$tool' '$tiny' --data ids.jsonl --layer 2" /dev/null >terminal </dev/null
    check 'colours on a terminal' says terminal $'\033[32m.h.s\033[0m' $'\033[33m+h..\033[0m' $'\033[34m.hf.\033[0m'
    TERM=xterm NO_COLOR=1 script -qec "'$tool' '$tiny' --data ids.jsonl --layer 2" /dev/null >terminal </dev/null
    check 'NO_COLOR' sh -c "! grep -q \$(printf '\\033') terminal"
else
    skip 'colours on a terminal' 'no script here'
fi

# ---- text and ids ----

printf '%s\n' '{"text": "What does the swan <|user|>"}' '' '{"text": "x", "special": true}' '{"text": ""}' '{"text": "é\n日\u0007"}' >text.jsonl
check 'text to ids' is '{"ids": [397, 365, 258, 481, 220, 1224]}
{"ids": [1221, 87]}
{"ids": []}
{"ids": [127, 102, 198, 162, 245, 98, 195]}' "$llama" --tokenize text.jsonl
"$tool" "$llama" --tokenize text.jsonl >ids.out
check 'there and back' is '{"text": "What does the swan <|user|>"}
{"text": "<|begin|>x"}
{"text": ""}
{"text": "é\n日\u0007"}' "$llama" --detokenize ids.out
printf '%s\n' '{"ids": [1221, 397], "skip_special": true}' >skip.jsonl
check 'without special tokens' is '{"text": "What"}' "$llama" --detokenize skip.jsonl
mkdir bare && cp "$llama/tokenizer.json" bare
run bare --tokenize text.jsonl
check 'a folder with nothing but a tokenizer' cmp out ids.out
# Each line is answered before the next one is there.
mkfifo in.fifo out.fifo
"$tool" "$llama" --tokenize - <in.fifo >out.fifo &
exec 3>in.fifo 4<out.fifo
for text in What does; do
    echo "{\"text\": \"$text\"}" >&3
    read -r -t 60 answer <&4
    check 'a line is answered at once' test "${answer#'{"ids": ['}" != "$answer"
done
exec 3>&- 4<&-
wait
awk 'BEGIN { for (i = 0; i < 200000; i++) print "{\"text\": \"What does the swan cost?\"}" }' >large.jsonl
check 'a large file' sh -c "'$tool' '$llama' --tokenize large.jsonl | uniq -c | grep -F '200000 {\"ids\": [397, 365, 258, 481, 363, 30]}'"

# ---- conversations ----

printf '%s\n' '{"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": true}' \
    '{"messages": [{"role": "user", "content": "hi"}]}' '{"messages": [{"role": "user", "content": "hi"}], "prefill": "So"}' \
    '{"messages": [{"role": "tool", "content": "hi"}]}' >render.jsonl
check 'conversations' is '{"text": "<|begin|><|user|>hi<|end|><|assistant|>"}
{"text": "<|begin|><|user|>hi<|end|>"}
{"text": "<|begin|><|user|>hi<|end|><|assistant|>So"}
{"error": "render.jsonl:4: messages[0]: \"role\" must be \"system\", \"user\" or \"assistant\", not \"tool\""}' "$llama" --render render.jsonl
echo '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}' >system.jsonl
run "$llama" --render system.jsonl --chat gemma
check "a template's refusal" says out '{"error": "' 'System role not supported'
check 'is no failure' test $status = 0
printf '%s\n' '{"messages": [{"role": "user", "content": "hi"}], "date_string": "1 Jan 2030"}' '{"messages": [{"role": "user", "content": "hi"}]}' >date.jsonl
run "$llama" --render date.jsonl --chat llama3.1
check 'a date, and the usual one' sh -c "sed -n 1p out | grep -qF 'Today Date: 1 Jan 2030' && sed -n 2p out | grep -qF 'Today Date: 26 Jul 2024'"

# ---- bad input ----

# line NAME PIECE MODE LINE: refused, exit status 3, with the file and the number of the line
line() {
    printf '%s\n' '' "$4" >bad.jsonl
    bad "$1" 3 "bad.jsonl:2$2" "$llama" "--$3" bad.jsonl
}
line 'no JSON' ':' tokenize '{"text": "a"'
line 'no object' ': a line must be one JSON object' tokenize '["a"]'
line 'an unknown key' ': unknown key "txt"; known are text, special' tokenize '{"txt": "a"}'
line 'no text' ': "text"' tokenize '{"special": true}'
line 'text that is none' ': "text" must be a string, not 5' tokenize '{"text": 5}'
line 'special that is none' ': "special"' tokenize '{"text": "a", "special": 1}'
line 'no ids' ': "ids" is missing' detokenize '{}'
line 'ids that are none' ': "ids" must be an array' detokenize '{"ids": 5}'
line 'an id that is none' ': "ids"[1] is "a", no token id' detokenize '{"ids": [1, "a"]}'
line 'a negative id' ': "ids"[0] is -1, no token id' detokenize '{"ids": [-1]}'
line 'an id too large' ': "ids"[0] is 1227, the tokenizer has 1227' detokenize '{"ids": [1227]}'
line 'no messages' ': "messages" is missing' render '{"prefill": "a"}'
line 'an unknown key of messages' ': unknown key "tools"' render '{"messages": [], "tools": []}'
printf '{"text": "a"}\n{"text": "\377"}\n' >bad.jsonl
"$tool" "$llama" --tokenize bad.jsonl >out 2>err
check 'invalid UTF-8' sh -c "grep -qF 'bad.jsonl:2: invalid UTF-8 at byte 24' err && grep -qF '[64]' out"
bad 'no such file' 3 'nowhere.jsonl: cannot open' "$llama" --tokenize nowhere.jsonl
bad 'a folder for a file' 3 'is a folder' "$llama" --tokenize .
bad 'no tokenizer' 3 'no tokenizer; looked for tokenizer.json' "$tiny" --tokenize text.jsonl
bad 'no chat format' 3 'has no chat_template' "$tiny" --render render.jsonl
bad 'an unknown chat format' 2 '--chat frob: no such chat format' "$llama" --render render.jsonl --chat frob
bad 'no config' 3 'bare/config.json' bare
bad 'no such folder' 3 'nowhere' nowhere
bad 'no such shape' 2 'there are llama-60m' random:frob
mkdir odd && sed 's/"use_cache": true/"use_cash": 7/' "$llama/config.json" >odd/config.json
bad 'a config that is not understood' 3 '"use_cash" is 7, which is not understood' odd
bad 'a layer that is not there' 2 '--layer 6: ' "$llama" --layer 6
bad 'too little memory' 4 '1.02 kB of memory are too little' "$llama" --memory 1K
bad 'bad data' 3 'bad.jsonl:' "$llama" --data bad.jsonl
bad 'a vector on which nothing depends' 3 'no completion depends on the vector' "$tiny" --data <(
    echo '{"prompt": {"ids": [1]}, "promote": [{"ids": [2]}], "positions": "completion"}')
bad 'no model' 2 'the model is missing'
bad 'two models' 2 'unexpected argument "b"' a b
bad 'an unknown option' 2 'unknown option --frob' "$llama" --frob
bad 'two modes' 2 '--tokenize and --render: one of them at a time' "$llama" --tokenize a --render b
bad 'bad positions' 2 '--positions' "$llama" --positions frob
run --help
check 'help' says out 'osv-inspect MODEL' '--data FILE' '--tokenize FILE' '--detokenize FILE' '--render FILE' '--boundary' 'Exit status'
check 'help is narrow enough' test "$(wc -L <out)" -le 120
run --version
check 'version' says out 'osv-inspect 0.' 'commit:'
"$tool" "$llama" >/dev/full 2>err
status=$?
check 'results that cannot be written' test $status = 3
{ "$tool" "$llama" --tokenize large.jsonl; echo $? >deaf; } | head -n 1 >head.out
check 'a closed pipe is no error' test "$(cat deaf)" = 0

# ---- real data ----

data=${OSV_TEST_DATA:-}
if [ -z "$data" ] || [ -z "$have_jq" ]; then
    skip 'chat templates of real models' 'OSV_TEST_DATA is not set, or no jq here'
    finish
fi
# Every case of the chat data, template by template: equal, refused with the template's words, or all refused by name.
golden=$data/test-vectors/chat-golden.json
equal=0 refused=0 unknown=0 wrong=0
mkdir -p real
for template in $(jq -r '[.cases[].template] | unique[]' "$golden"); do
    bos='' eos=''
    for family in deepseek hermes minueza smollm mistral gemma phi qwen llama; do
        case ${template,,} in *$family*)
            bos=$(jq -c ".bos_eos.${family}[0]" "$golden") eos=$(jq -c ".bos_eos.${family}[1]" "$golden")
            break
            ;;
        esac
    done
    rm -f real/*
    jq -c -n --argjson bos "$bos" --argjson eos "$eos" '{bos_token: $bos, eos_token: $eos}' >real/tokenizer_config.json
    format=auto
    if [ ! -f "$data/$template" ]; then # only what it prints is there
        case $template in
        *phi-3-mini*) format=phi3 ;;
        */v1.jinja) format=mistral-v1 ;;
        */v1_spm.*) format=mistral-v1-spm ;;
        */v2.* | */v3.*) format=mistral-v3 ;;
        */v2_spm.* | */v3_spm.*) format=mistral-v3-spm ;;
        */v7.*) format=mistral-v7 ;;
        */v7_spm.*) format=mistral-v7-spm ;;
        esac
    elif [ "${template%.json}" != "$template" ]; then
        jq -c --slurpfile c real/tokenizer_config.json '$c[0] + {chat_template}' "$data/$template" >real/new
        mv real/new real/tokenizer_config.json
    else
        cp "$data/$template" real/chat_template.jinja
    fi
    date='null' # the clock of these data, which only these two ask
    case $template in
    *Llama-3.2*) date='"10 Jul 2025"' ;;
    *Small-3.2*) date='"2025-07-10"' ;;
    esac
    jq -c --arg t "$template" --argjson date "$date" '.conversations as $c | .cases[] | select(.template == $t) |
        {messages: $c[.conversation], add_generation_prompt} + (if $date then {date_string: $date} else {} end)' "$golden" >cases.jsonl
    jq -c --arg t "$template" '.cases[] | select(.template == $t) | {text: .output, error}' "$golden" >expected.jsonl
    n=$(wc -l <cases.jsonl) u=0
    if "$tool" real --chat "$format" --render cases.jsonl >got.jsonl 2>err; then
        read -r e r <<<"$(jq -s -r --slurpfile x expected.jsonl '[., $x] | transpose |
            "\(map(select(.[0].text != null and .[0].text == .[1].text)) | length) \(map(. as [$g, $w] | select($g.error != null and
            $w.error != null and ($g.error | contains($w.error | sub("^[^:]*: "; ""))))) | length)"' got.jsonl)"
    else
        e=0 r=0
        grep -q 'is none that is known' err && u=$n
    fi
    echo "# $template: $e equal, $r refused in its words, $u of an unknown template"
    equal=$((equal + e)) refused=$((refused + r)) unknown=$((unknown + u)) wrong=$((wrong + n - e - r - u))
done
check "chat templates of real models: $equal equal, $refused refused in their words, $unknown of unknown ones" \
    test "$equal $refused $unknown $wrong" = '292 8 10 0'
finish
