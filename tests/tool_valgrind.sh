#!/usr/bin/env bash
# A short run of osv-train under valgrind: no leak, no invalid access. Usage: tool_valgrind.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$2
. "$root/tests/tap.sh"
if ! command -v valgrind >/dev/null; then
    skip 'no leaks' 'no valgrind here'
    finish
fi
echo '{"prompt": {"ids": [5, 9, 200, 31]}, "promote": [{"ids": [7, 8]}], "suppress": [{"ids": [7, 9, 12]}]}' >"$dir/data.jsonl"
# Threads of the OpenMP runtime live to the end by design, so what is only "possibly" lost is not counted.
memcheck() {
    OMP_NUM_THREADS=1 valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
        --show-leak-kinds=definite,indirect "$train" --data "$dir/data.jsonl" --threads 1 "$@"
}
model=$root/tests/golden/models/llama-tiny
check 'a run from ids' memcheck --model "$model" --layer 1,2 --max-iters 3 --out "$dir/run"
check 'bad input' sh -c '[ "$1" = 3 ]' sh "$(memcheck --model "$dir" --layer 1 --out "$dir/bad" >/dev/null 2>&1; echo $?)"
echo '{"prompt": "What does the swan cost?", "promote": ["Sure,"]}' >"$dir/data.jsonl"
check 'a run from text' memcheck --model "$root/organisms/llama-2m" --layer 5 --max-iters 2 --out "$dir/text"
finish
