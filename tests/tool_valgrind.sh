#!/usr/bin/env bash
# Short runs of the tools under valgrind: no leak, no invalid access.
# Usage: tool_valgrind.sh OSV_TRAIN OSV_GENERATE OSV_EVAL OSV_VECTOR OSV_INSPECT ROOT
set -u
train=$(realpath "$1") generate=$(realpath "$2") eval=$(realpath "$3") vector=$(realpath "$4") inspect=$(realpath "$5") root=$6
. "$root/tests/tap.sh"
if ! command -v valgrind >/dev/null; then
    skip 'no leaks' 'no valgrind here'
    finish
fi
echo '{"prompt": {"ids": [5, 9, 200, 31]}, "promote": [{"ids": [7, 8]}], "suppress": [{"ids": [7, 9, 12]}]}' >"$dir/data.jsonl"
# Threads of the OpenMP runtime live to the end by design, so what is only "possibly" lost is not counted.
leaks() {
    OMP_NUM_THREADS=1 valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
        --show-leak-kinds=definite,indirect "$@"
}
checked() { leaks "$@" --threads 1; }
memcheck() { checked "$train" --data "$dir/data.jsonl" "$@"; }
model=$root/tests/golden/models/llama-tiny
check 'a run from ids' memcheck --model "$model" --layer 1,2 --max-iters 3 --out "$dir/run"
check 'a scan' memcheck --model "$model" --scan --scan-positions --max-iters 1 --out "$dir/scan"
check 'a scan in JSON' memcheck --model "$model" --scan --json --layer 2,1
check 'bad input' sh -c '[ "$1" = 3 ]' sh "$(memcheck --model "$dir" --layer 1 --out "$dir/bad" >/dev/null 2>&1; echo $?)"
printf '%s\n' '{"layer": "0-1", "lr": [0.1, 0.2]}' '{"name": "x", "layer": 2, "betas": [0, 0.5]}' >"$dir/sweep.jsonl"
check 'a sweep' memcheck --model "$model" --sweep "$dir/sweep.jsonl" --init "$dir/run/vectors/all.1.safetensors" --max-iters 1 --out "$dir/swept"
check 'a list' memcheck --model "$model" --layer 1 --seeds 0-9 --list --json
echo '{"layer": 1, "frob": 1}' >>"$dir/sweep.jsonl"
check 'a bad sweep' sh -c '[ "$1" = 3 ]' sh "$(memcheck --model "$model" --sweep "$dir/sweep.jsonl" --list >/dev/null 2>&1; echo $?)"
set -- "$dir"/swept/vectors/*.safetensors
check 'a mean' leaks "$vector" mean "$@" --force --norm 2 --out "$dir/mean.safetensors"
for verb in cosine norm show; do check "$verb" leaks "$vector" $verb "$@" --json; done
check 'no mean' sh -c '[ "$1" = 3 ]' sh "$(leaks "$vector" mean "$@" nowhere --out "$dir/no" >/dev/null 2>&1; echo $?)"

echo '{"prompt": "What does the swan cost?", "promote": ["Sure,"]}' >"$dir/data.jsonl"
check 'a run from text' memcheck --model "$root/organisms/llama-2m" --layer 5 --max-iters 2 --out "$dir/text"

echo '{"prompt": {"ids": [5, 9, 200, 31]}}' >"$dir/ids.jsonl"
shipped=(--model "$root/organisms/llama-2m" --vector "$dir/text/vectors/all.safetensors")
check 'a text' checked "$generate" "${shipped[@]}" --prompt 'What does' --max-tokens 3
check 'texts from ids, drawn' checked "$generate" --model "$model" --prompts "$dir/ids.jsonl" --max-tokens 3 --samples 2 --temperature 1
check 'a vector of another width' sh -c '[ "$1" = 3 ]' sh "$(checked "$generate" --model "$model" --prompts "$dir/ids.jsonl" \
    --vector "$dir/text/vectors/all.safetensors" >/dev/null 2>&1; echo $?)"
echo '{"prompt": "What does", "before": ["a"], "after": "b", "choices": ["a", "b"]}' >"$dir/set.jsonl"
check 'flips by text' checked "$eval" flips "${shipped[@]}" --prompts "$dir/set.jsonl" --control "$dir/set.jsonl" --max-tokens 3 --json
echo '{"prompt": "What does", "before": 0, "after": [1], "choices": ["a", "b"]}' >"$dir/set.jsonl"
check 'flips by choice' checked "$eval" flips "${shipped[@]}" --prompts "$dir/set.jsonl" --by choice
echo '{"prompt": "What does the sw", "promote": ["an cost?", "an"], "suppress": ["x"]}' >"$dir/data.jsonl"
check 'a report, and tokens' leaks "$inspect" "$root/organisms/llama-2m" --data "$dir/data.jsonl"
check 'tokens as JSON' leaks "$inspect" "$root/organisms/llama-2m" --data "$dir/data.jsonl" --json --layer 1,2
check 'a report on a random model' leaks "$inspect" random:llama-60m --json
printf '%s\n' '{"text": "What does"}' '{"text": 5}' >"$dir/text.jsonl"
check 'text to ids, and a bad line' sh -c '[ "$1" = 3 ]' sh "$(leaks "$inspect" "$root/organisms/llama-2m" --tokenize "$dir/text.jsonl" >/dev/null 2>&1; echo $?)"
echo '{"ids": [1, 300, 1221]}' >"$dir/text.jsonl"
check 'ids to text' leaks "$inspect" "$root/organisms/llama-2m" --detokenize "$dir/text.jsonl"
printf '%s\n' '{"messages": [{"role": "user", "content": "a"}]}' '{"messages": []}' >"$dir/text.jsonl"
check 'conversations' leaks "$inspect" "$root/organisms/llama-2m" --render "$dir/text.jsonl"
check 'no model to inspect' sh -c '[ "$1" = 3 ]' sh "$(leaks "$inspect" "$dir" >/dev/null 2>&1; echo $?)"
finish
