#!/usr/bin/env bash
# For a machine with an NVIDIA GPU; not a part of test.sh. Builds the CUDA backend, runs on the GPU every suite that can,
# then the operators and a short training under each tool of compute-sanitizer. Prints a line a check; exit status 0 if
# all passed, 1 if one failed, 2 if this machine cannot do it. Takes about an hour, most of it racecheck.
#
# Needs: a GPU of compute capability 8.0 or later with its driver (nvidia-smi); the CUDA toolkit 12 or later with nvcc,
# cuBLASLt and compute-sanitizer in PATH (/usr/local/cuda/bin is tried too); and what test.sh needs, on Debian
#     meson ninja-build gcc g++ pkg-config libopenblas-openmp-dev libjansson-dev libpcre2-dev libutf8proc-dev
#     libssl-dev libcriterion-dev
# Usage: tests/gpu.sh [FOLDER]: builds there (default: build-gpu) and leaves a log of each check in FOLDER/gpu
set -u
cd "$(dirname "$0")/.." || exit 2
folder=${1:-build-gpu} failures=0
export PATH=$PATH:/usr/local/cuda/bin

cannot() {
    echo "gpu.sh: $1" >&2
    exit 2
}
{ command -v nvidia-smi && nvidia-smi -L | grep -q '^GPU '; } >/dev/null 2>&1 ||
    cannot 'there is no GPU here: nvidia-smi is missing or lists none'
for tool in nvcc compute-sanitizer meson ninja; do
    command -v $tool >/dev/null || cannot "$tool is missing; the top of this file says what is needed"
done

# check NAME COMMAND...: one line; what the command prints goes to a log
check() {
    local name=$1 start=$SECONDS log
    log=$folder/gpu/$(tr -c 'A-Za-z0-9\n' _ <<<"$1").log
    shift
    if "$@" >"$log" 2>&1 </dev/null; then
        echo "ok      $name ($((SECONDS - start)) s)"
    else
        echo "FAILED  $name ($((SECONDS - start)) s): $log"
        failures=$((failures + 1))
    fi
}

# ---- build ----

if [ ! -f "$folder/build.ninja" ]; then # -lineinfo: compute-sanitizer names lines
    meson setup "$folder" -Dcuda=enabled -Dcuda_args=-lineinfo --buildtype=release ||
        cannot "meson could not set up $folder; the top of this file says what is needed"
fi
mkdir -p "$folder/gpu"
check 'build' ninja -C "$folder"
[ $failures = 0 ] || exit 1
out=$folder/gpu/run train=$folder/tools/osv-train eval=$folder/tools/osv-eval root=$PWD
nvidia-smi -L | sed 's/ (UUID.*//'

# ---- suites ----

# on_gpu SUITE: passes, and its test "gpu" was not skipped: the other tests ran on the GPU too
on_gpu() {
    CRITERION_OUTPUTS=tap:- "$folder/tests/test-$1" --jobs 4 >"$folder/gpu/$1.tap"
    local status=$?
    cat "$folder/gpu/$1.tap"
    grep "^ok - $1::gpu" "$folder/gpu/$1.tap" | grep -qv SKIP && return $status
}
# Without a device it skips itself, which is no success here.
vocabulary() { "$folder/tests/emu/cuda-device" && "$folder/tests/emu/cuda-device" | grep -q '^ok '; }
check 'cuda-device: layouts of mma and ldmatrix, and the other words of kernels' vocabulary
operators='ops ops_candidates ops_forest ops_hand ops_sample'
for suite in $operators golden_forms golden_models golden_parity; do check "$suite" on_gpu "$suite"; done
check 'organisms: trained on the GPU in bf16' bash tests/organisms.sh "$train" "$eval" "$root" --backend cuda --dtype bf16

# ---- a short training ----

head -n 2 organisms/sets/refusal-answer/train.jsonl >"$folder/gpu/data.jsonl"
# short MODEL DTYPE: trains into $out
short() {
    "$train" --model "organisms/$1" --data "$folder/gpu/data.jsonl" --layer 2-3 --lr 0.2 --max-iters 4 --backend cuda \
        --dtype "$2" --out "$out" --force --quiet
}
twice() {
    short "$1" "$2" && rm -rf "$out.first" && cp -r "$out" "$out.first" && short "$1" "$2" && diff -r "$out.first" "$out"
}
for model in llama-2m gemma2-2m; do
    for dtype in f32 bf16; do check "$model $dtype: the same bytes twice" twice $model $dtype; done
done

# ---- ranks ----

# ranks N PROGRAM BACKEND [NAME=VALUE]: as many on the one GPU. NCCL wants each on a host of its own.
ranks() {
    local n=$1 program=$2 backend=$3
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n "$n" \
        bash -c 'NCCL_HOSTID=$OMPI_COMM_WORLD_RANK exec "$0" "$@"' "$folder/tests/ranks/ranks-$program" "$backend"
}
check 'NCCL: one rank' "$folder/tests/ranks/ranks-comm" nccl
if command -v mpirun >/dev/null; then
    for program in comm models; do
        check "2 ranks on a GPU, through the host: $program" ranks 2 $program gpu
        check "2 ranks on a GPU, NCCL (which may refuse that): $program" ranks 2 $program nccl
    done
else
    echo 'skipped 2 ranks on a GPU: there is no mpirun here'
fi

# ---- compute-sanitizer ----

# sanitized TOOL COMMAND...: the command passes and no process that it starts (Criterion starts one a test) has errors.
# Calls that fail are no errors of their own: tests ask for too much memory.
sanitized() {
    local tool=$1 log=$folder/gpu/sanitized status
    shift
    compute-sanitizer --tool "$tool" --target-processes all --report-api-errors no "$@" >"$log" 2>&1
    status=$?
    cat "$log"
    [ $status = 0 ] && grep -q ' SUMMARY: ' "$log" && ! grep ' SUMMARY: ' "$log" | grep -qv ' SUMMARY: 0 '
}
for tool in memcheck racecheck initcheck synccheck; do
    for suite in $operators; do
        check "$tool: $suite" sanitized $tool "$folder/tests/test-$suite" --jobs 4
    done
    for dtype in f32 bf16; do
        check "$tool: osv-train, $dtype" sanitized $tool "$train" --model organisms/llama-2m --data "$folder/gpu/data.jsonl" \
            --layer 2-3 --lr 0.2 --max-iters 4 --backend cuda --dtype $dtype --out "$out" --force --quiet
    done
done

[ $failures = 0 ] || echo "$failures failed"
[ $failures = 0 ]
