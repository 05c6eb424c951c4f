#!/usr/bin/env bash
# Random combinations of what osv-train can be asked for: each ends well, with finite losses and the same bytes when it
# is run again, or is refused as a mistake of usage or data in one sentence. The draws are the same in every run.
# Usage: combinations.sh OSV_TRAIN ROOT [COUNT [SEED]]
set -u
train=$(realpath "$1") root=$2 combinations=${3:-150} state=${4:-1}
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive
models=(llama-tiny gemma2-tiny)

# draw N: 0 .. N - 1, in `drawn` (Park & Miller 1988)
draw() { state=$((state * 48271 % 2147483647)) && drawn=$((state / 7 % $1)); }
# pick WORD...: one of them, in `picked`
pick() { draw $# && shift "$drawn" && picked=$1; }

# ---- what there is to choose from: a line is an option, how often of ten it is given, and its values ----

options() {
    cat <<'END'
layer 10 0 1 2 0,2 0-2
apply 5 add add-norm clamp ablate affine
clamp 1 0.5 -1
offset 1 offset.safetensors
rank 1 2
joint 3 shared per-layer
init 1 offset.safetensors
init-norm 2 0.5 2 0,1
init-affine-norm 1 0.5
seed 2 7
seeds 3 0-1
lr 6 0.01 0.1 0.05,0.5
lr-schedule 2 linear cosine
warmup 1 2
max-iters 10 0 1 3 5
betas 1 0.8,0.99
adam-eps 1 1e-4
max-norm 4 0 1 1,3
max-affine-norm 1 0.5
coldness 3 1 0.3
eps 1 1e-3
suppress-loss 3 one-minus negated
length-norm 3
melbo 1 2 2 5
orthogonal 1
orthogonal-to 1 offset.safetensors
satisfice 2
min-norm 2 3
min-norm-lr 1 0.2
target-loss 3 2 20 unsteered 0.75x
target-rule 2 sum each
target-iters 1 2
plateau-eps 1 0.5
plateau-iters 1 0 2
noise 2 0.1
noise-draws 1 2
noise-kind 1 tangent no-gain anti
l1 1 0.1
group-sparsity 1 0.1
parity 2 reference extra-step,cut
positions 3 all prompt completion prompt:-2: all:1:3
promote-from-beam 1
beta 1 0.5
preference-signs 1 both random
beam-width 1 1 3
beam-tokens 1 1 2
beam-rank 1 last
backend 3 cpu ref
dtype 2 f32 bf16
memory 1 20M
checkpoint-every 1 1
END
}

data() { # one file a line: name, then its lines after a slash each
    local p='{"prompt": {"ids": [5, 9, 31, 7]}'
    printf '%s\n' "$p, \"promote\": [{\"ids\": [7, 8]}]}" >promote.jsonl
    printf '%s\n' "$p, \"promote\": [{\"ids\": [7, 8]}, {\"ids\": [7, 9, 2]}], \"suppress\": [{\"ids\": [4]}]}" >mixed.jsonl
    printf '%s\n' "$p, \"promote\": [{\"ids\": [7, 8]}], \"promote_targets\": [3], \"promote_weights\": [0.5]}" \
        "$p, \"suppress\": [{\"ids\": [3, 8]}], \"negative\": true}" >targets.jsonl
    printf '%s\n' "$p, \"promote_from_beam\": {\"prompt\": {\"ids\": [3, 6]}, \"minus\": {\"prompt\": {\"ids\": [4]}}, \"times\": 2}}" \
        "$p, \"promote\": [{\"ids\": [3]}], \"promote_targets\": [{\"prompt\": {\"ids\": [1, 2]}}]}" >relative.jsonl
    printf '%s\n' "$p, \"prefer\": [{\"chosen\": {\"ids\": [7, 8]}, \"rejected\": {\"ids\": [3]}}, {\"chosen\": {\"ids\": [1]}, \"rejected\": {\"ids\": [7]}, \"beta\": 2}], \"suppress\": [{\"ids\": [2]}]}" >prefer.jsonl
    printf '%s\n' "${p/{/\{\"job\": \"a\", }, \"promote\": [{\"ids\": [7, 8]}]}" \
        "${p/{/\{\"job\": \"b\", }, \"suppress\": [{\"ids\": [1]}], \"positions\": \"prompt:-1\"}" >jobs.jsonl
}

# draw_arguments: the next combination, in `arguments`
draw_arguments() {
    local name often line values
    pick "${models[@]}"
    arguments=(--model "$root/tests/golden/models/$picked")
    pick promote mixed targets relative prefer jobs
    arguments+=(--data "$picked.jsonl" --threads 1 --quiet)
    while read -r name often line; do
        draw 10
        [ "$drawn" -lt "$often" ] || continue
        arguments+=("--$name")
        [ -z "$line" ] && continue
        read -ra values <<<"$line"
        pick "${values[@]}"
        arguments+=("$picked")
    done < <(options)
}

# ---- what has to hold ----

run() { # run FOLDER
    "$train" "${arguments[@]}" --out "$1" --force >"$1.out" 2>"$1.err"
    status=$?
}
refused() { # one sentence, and where the options are listed
    grep -q '^osv-train: ' "$1.err" && [ "$(grep -cv '^osv-train --help lists the options$' "$1.err")" = 1 ] ||
        { echo "not one sentence:" && cat "$1.err" && return 1; }
}
same() { cmp a/trace.jsonl b/trace.jsonl && diff -r a/vectors b/vectors; }
finite() {
    [ -s a/trace.jsonl ] || { echo 'no trace' && return 1; }
    ! grep -niE 'nan|inf|"(loss|norm)": null' a/trace.jsonl
}
holds() {
    rm -rf a b
    run a
    case $status in
    2 | 3) refused a ;;
    0)
        trained=$((trained + 1))
        finite && run b && [ "$status" = 0 ] && same
        ;;
    *) echo "exit status $status" && cat a.err && return 1 ;;
    esac
}

data
"$train" --model "$root/tests/golden/models/llama-tiny" --data promote.jsonl --layer 1 --max-iters 0 --out offset --quiet >/dev/null
cp offset/vectors/all.safetensors offset.safetensors
trained=0
for _ in $(seq "$combinations"); do
    draw_arguments
    if holds >"$dir/holds.log" 2>&1; then continue; fi
    fail "${arguments[*]}" "$(cat "$dir/holds.log")"
done
check "$combinations combinations; trained: $trained, the others are refused" test $((trained * 4)) -ge "$combinations"
finish
