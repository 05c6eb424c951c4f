#!/usr/bin/env bash
# The benchmarks run and say what they should; how fast anything is, is not looked at.
# Usage: bench.sh BENCH_OPS BENCH_STEP BENCH_GENERATE BENCH_TOKENIZER EMU_BENCH_OPS EMU_BENCH_STEP BENCH_COMM ROOT BUILD
set -u
ops=$(realpath "$1") step=$(realpath "$2") generate=$(realpath "$3") tokenizer=$(realpath "$4")
emu_ops=$(realpath "$5") emu_step=$(realpath "$6") comm=$(realpath "$7") root=$8 build=$9
. "$root/tests/tap.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 # threads that spin take the processors from other suites

# run NAME COMMAND...: output in NAME.csv and NAME.err, exit status in $status
run() {
    local name=$1
    shift
    "$@" >"$name.csv" 2>"$name.err" </dev/null
    status=$? last=$name.err
}
# table FILE ROWS FIRST: at least so many rows, as wide as their header; from column FIRST on all are finite numbers
table() {
    awk -F, -v first="$3" -v rows="$2" '
        /^#/ { next }
        /^$/ { wide = 0; next }
        !wide { wide = NF; next }
        NF != wide { print FILENAME ": " NF " columns, not " wide ": " $0; bad = 1 }
        { n++; for (i = first; i <= NF; i++) if ($i !~ /^-?[0-9.]+(e[-+][0-9]+)?$/) { print "no number: " $0; bad = 1 } }
        END { if (n < rows) print n + 0 " rows"; exit bad || n < rows }' "$1"
}
quick="--quick --threads 1 --seconds 0"

# ---- bench-ops ----

run ops "$ops" $quick --backend cpu --model llama-60m --rows 4
check 'bench-ops runs' ended 0
check 'bench-ops: its header' says ops.csv '# hardware: ' '# backend: cpu, f32, 1 thread' '# rates: matmul ' '# copies ' \
    'model,operator,shape,rows,us,gflops,percent_of_matmul,gbytes_per_s,percent_of_copy,floor_us,ratio'
check 'bench-ops: finite numbers' table ops.csv 35 4
for op in matmul matmul_dx attention attention_dx rmsnorm rmsnorm_dx residual_add rope glu glu_dx embed bias score_max \
    score_sum score score_dx objective sample apply apply_dp adam norm gather_rows scatter_rows; do
    check "bench-ops: $op" says ops.csv "llama-60m,$op,"
done
run ref "$ops" $quick --backend ref --model gemma2-0.4b/2 --rows 4 --op softcap,rope,attention_dx,residual_add
check 'bench-ops: the reference, a rank of two' ended 0
check 'bench-ops: only those asked for' test "$(cut -d , -f 2 ref.csv | sed -n '/^[a-z]/p' | sort -u | xargs)" = \
    'attention_dx operator residual_add rope softcap'
run long "$ops" --quick --threads 1 --seconds 0 --model llama-60m --rows 1,200 --op attention,apply,gather_rows
check 'bench-ops: more rows than a tile, and one' ended 0
check 'bench-ops: both' says long.csv '1 x 1 after 192' '4 x 50 after 192'
run emu_ops "$emu_ops" $quick --backend cuda --model llama-60m --rows 2 --op rmsnorm,attention_dx,adam,scatter_rows
check 'bench-ops with graphs' ended 0
check 'bench-ops with graphs: numbers' table emu_ops.csv 4 4
check 'bench-ops with graphs: header' says emu_ops.csv '# backend: cuda, bf16, CUDA emulated' ', copying '
run bad1 "$ops" --model llama-9000b
check 'an unknown model' ended 2
run bad2 "$ops" --rows 0
check 'rows of none' ended 2
run bad3 "$ops" 64
check 'an argument without its option' ended 2
run help "$ops" --help
check 'help' says help.csv '--rows N,..' '--backend auto|cpu|cuda|ref'

# ---- bench-step, bench-generate ----

run step "$step" --quick --threads 1 --model llama-60m --iterations 3 --layer 6 --prompt 6 --completion 2 --ops
check 'bench-step runs' ended 0
check 'bench-step: numbers' table step.csv 20 4
check 'bench-step: its tables' says step.csv 'model,backend,dtype,threads,jobs,live_tokens,scored,start_layer,seconds_min,' \
    'llama-60m,cpu,f32,1,1,7,2,6,' 'llama-60m,block forward,matmul,9,' 'llama-60m,block backward,attention_dx,2,' \
    'llama-60m,head,score_dx,1,' 'llama-60m,optimizer,adam,1,' 'llama-60m,gaps,gaps,0,'
run folder "$emu_step" --quick --backend cuda --model "$root/tests/golden/models/gemma2-tiny" --iterations 3 --jobs 2 --ops
check 'bench-step: a folder, two jobs, with graphs' ended 0
check 'bench-step with graphs: numbers' table folder.csv 20 4
check 'bench-step with graphs: the part before the blocks' says folder.csv ',steer,apply,1,' ',cuda,bf16,0,2,126,'
run bad4 "$step" --layer 8
check 'a layer that is not there' ended 2
run generate "$generate" --quick --threads 1 --model "$root/tests/golden/models/llama-tiny" --tokens 8 --batch 1,3
check 'bench-generate runs' ended 0
check 'bench-generate: numbers' table generate.csv 2 4

# ---- several ranks ----

export OMPI_MCA_mpi_yield_when_idle=1
run alone "$comm" --max 4096 --threads 1
check 'bench-comm: one rank has nobody' ended 2
# Under sanitizers: what MPI leaks is known by its callers.
export ASAN_OPTIONS=fast_unwind_on_malloc=0
run comm "$comm" --tp 2 --min 1K --max 64K --factor 8 --iterations 2 --threads 1
between=$(awk -F, '/^cpu/ { print $2; exit }' comm.csv) # mpi, or tcp in a build without
check 'bench-comm runs' ended 0
check 'bench-comm: numbers' table comm.csv 9 5
check 'bench-comm: its table' says comm.csv 'backend,communicator,ranks,operator,bytes,us,algbw_gbytes_per_s,busbw_' \
    "cpu,$between,2,all_reduce,1024," "cpu,$between,2,all_gather,65536," "cpu,$between,2,broadcast,8192,"
check 'bench-comm: nothing is wrong' test "$(grep -c ',0$' comm.csv)" = 9
check 'bench-comm: 2 (n - 1) / n is 1 for two' awk -F, '$4 == "all_reduce" && $7 != $8 { exit 1 }' comm.csv
run step2 "$step" --quick --threads 1 --model llama-60m --iterations 3 --layer 6 --prompt 6 --completion 2 --tp 2 --ops
check 'bench-step on two ranks' ended 0
check 'bench-step on two ranks: numbers, once' table step2.csv 20 4
check 'bench-step on two ranks: what they send' says step2.csv ',ranks,collectives,collective_mbytes' ',2,14,0.090' \
    'llama-60m,block forward,all_reduce,4,'

# ---- bench-tokenizer ----

run tokenizer "$tokenizer" --repeats 1 --megabytes 0.01 "$root/tests/golden/tokenizer/llama3" "$root/organisms/gemma2-2m"
check 'bench-tokenizer runs' ended 0
check 'bench-tokenizer: numbers' table tokenizer.csv 6 4
check 'bench-tokenizer: its table' says tokenizer.csv 'directory,tokenizer,text,size,load_ms,bytes,ids,encode_mbytes_per_s' \
    'tokenizer/llama3,tokenizer.json; BPE; byte-level,prose,' ',scripts,'
run bad5 "$tokenizer"
check 'no directory' ended 2
run bad6 "$tokenizer" nowhere
check 'a directory without a tokenizer' ended 3

# ---- peers ----

peers() { run peers "$root/bench/peers.sh" --quick --rounds 1 --models llama-60m --csv peers.all.csv "$build"; }
PYTHON=false peers
check 'peers.sh without PyTorch runs' ended 0
check 'peers.sh without PyTorch says so' says peers.err 'false has no torch and transformers'
check 'peers.sh: its table' says peers.csv '# peer: none' 'iteration / floor ' '8 packed / floor ' '<= 1.25 ' \
    'generate: of bandwidth ' '>= 0.85 ' 'two threads against one ' 'memory / (1.1 weights + 64 MB) '
check 'peers.sh: as a file' says peers.all.csv 'model,line,value,beside,ratio,spread,load,target,result' \
    'llama-60m,memory / (1.1 weights + 64 MB),' 'model,measured,round,value,beside,load,how' 'llama-60m,two threads,1,'
PYTHON=${PYTHON:-python3}
if "$PYTHON" -c 'import torch, transformers' 2>python.log; then
    PYTHON=$PYTHON peers
    check 'peers.sh with PyTorch runs' ended 0
    check 'peers.sh with PyTorch: its table' says peers.csv '# peer: PyTorch ' 'against eager f32 ' 'against frozen bf16 ' \
        'against best f32 ' '>= 1.6 '
else
    skip 'peers.sh with PyTorch' "$PYTHON has no torch and transformers (tests/golden/requirements.txt)"
fi
run bad7 "$root/bench/peers.sh" --rounds
check 'peers.sh: an option without its value' ended 1
run bad8 "$root/bench/peers.sh" nowhere
check 'peers.sh: no build' ended 2

# ---- compare ----

compare() { "$root/bench/compare" "$@"; }
printf '# hardware: A\nmodel,operator,rows,us,ratio\nm,a,1,10,2\n# rates: of the second model\nm,b,1,10,2\nm,c,1,10,2\nm,gone,1,1,1\n' >old.csv
printf '# hardware: B\nmodel,operator,rows,us,ratio\nm,b,1,20,3\nm,a,1,10.2,2\nm,c,1,5,1\nm,new,1,1,1\n' >new.csv
run compare compare old.csv new.csv
check 'compare ends well' ended 0
check 'compare: rows find each other' says compare.csv '10         10.2   1.020  m, a, 1 (us)' '2.000  m, b, 1 (us)  slower' \
    '0.500  m, c, 1 (us)  faster'
check 'compare: the mean' says compare.csv 'geometric mean of 3 ratios: 1.007; 1 slower, 1 faster'
check 'compare: rows alone' says compare.csv 'only in old.csv: m, gone, 1' 'only in new.csv: m, new, 1'
check 'compare: the hardware' says compare.csv 'hardware differs:' 'old.csv: A' 'new.csv: B'
run same compare step.csv step.csv
check 'compare: two tables in a file' says same.csv 'llama-60m, block forward, matmul, 9 (us)' '(seconds_min)' ' 0 slower, 0 faster'
run missing compare old.csv nowhere.csv
check 'compare: a missing file' ended 2
run few compare old.csv
check 'compare: one file' ended 2
run none compare old.csv step.csv
check 'compare: nothing in common' ended 1

finish
