#!/usr/bin/env bash
# osv-vector on vectors small enough to check by hand, on files of other makers, and on what it has to refuse.
# Usage: tool_vector.sh OSV_VECTOR OSV_TRAIN ROOT
set -u
tool=$(realpath "$1") train=$(realpath "$2") root=$3
. "$root/tests/tap.sh"
cd "$dir" || exit 1

# bytes NUMBER...: small numbers as F32, lowest byte first
bytes() {
    local x
    for x in "$@"; do
        case $x in
        0) printf '\0\0\0\0' ;;
        1) printf '\0\0\200\077' ;;
        -1) printf '\0\0\200\277' ;;
        2) printf '\0\0\0\100' ;;
        3) printf '\0\0\100\100' ;;
        4) printf '\0\0\200\100' ;;
        -4) printf '\0\0\200\300' ;;
        12) printf '\0\0\100\101' ;;
        nan) printf '\0\0\300\177' ;;
        huge) printf '\377\377\177\177' ;; # the largest
        esac
    done
}
# length NUMBER: as eight bytes, lowest first
length() {
    local n=$1
    for _ in 1 2 3 4 5 6 7 8; do
        # shellcheck disable=SC2059
        printf "\\$(printf %03o $((n & 255)))"
        n=$((n >> 8))
    done
}
# file NAME HEADER NUMBER...: a safetensors file
file() { { length ${#2} && printf %s "$2" && bytes "${@:3}"; } >"$1.safetensors"; }
# vector NAME METADATA NUMBER...: with the tensor `vector`
vector() {
    local n=$(($# - 2))
    file "$1" "{\"__metadata__\":{$2},\"vector\":{\"dtype\":\"F32\",\"shape\":[$n],\"data_offsets\":[0,$((4 * n))]}}" "${@:3}"
}
osv='"format":"osv/1","site":"block_input:3","apply":"add","positions":"all","chat":"raw","model":"m","model_sha256":"aa"'
vector a "$osv" 3 4 0
vector b "$osv" 4 -4 0
vector c "$osv" 0 0 2
vector zero "$osv" 0 0 0
vector five "${osv/:3/:5}" 1 0 0
vector other "${osv/aa/bb}" 1 0 0
vector prompt "${osv/all/prompt}" 1 0 0
vector clamped "${osv/add/clamp}" 1 0 0
vector long "$osv" 1 0 0 0
vector nan "$osv" 1 nan 0
vector huge "$osv" huge 0 0
file bare '{"vector":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}' 3 4 12
file layers '{"__metadata__":{"format":"osv/1","site":"block_input:1,3"},"vector.1":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"vector.3":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}' 3 4 1 0
file affine '{"__metadata__":{"format":"osv/1","site":"block_input:1","apply":"affine"},"left":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"right":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"vector":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}' 3 4 1 0 4 -4

# run ARGUMENTS...: output in out and err
run() {
    "$tool" "$@" >out 2>err </dev/null
    status=$?
}
# holds FILE NUMBER...: the values of its tensor
holds() {
    local n=$(($# - 1)) got
    got=$(tail -c $((4 * n)) "$1" | od -An -v -t f4 | xargs)
    [ "$got" = "${*:2}" ] || { echo "$got" && return 1; }
}
# bad NAME STATUS PIECE ARGUMENTS...
bad() {
    local name=$1 expected=$2 piece=$3
    shift 3
    rm -f bad.safetensors
    run "$@"
    if [ $status != "$expected" ]; then
        fail "$name" "exit status $status, expected $expected: $(cat err)"
    elif ! grep -qF -e "$piece" err; then
        fail "$name" "does not say \"$piece\": $(cat err)"
    elif [ -s out ] || [ -e bad.safetensors ]; then
        fail "$name" "something is left: $(cat out)"
    else
        pass "$name"
    fi
}

# ---- mean, sum ----

check 'a mean' is 'm.safetensors: mean of 2 vectors, 3 elements, layer 3, norm 3.5' mean a.safetensors b.safetensors \
    --out m.safetensors
check 'its elements' holds m.safetensors 3.5 0 0
check 'its metadata' says m.safetensors '"format":"osv/1"' '"site":"block_input:3"' '"apply":"add"' '"positions":"all"' \
    '"chat":"raw"' '"model":"m"' '"model_sha256":"aa"' '"norm":"3.5"' '"created_by":"osv-vector ' \
    '"objective":"mean of a.safetensors, b.safetensors"'
check 'nothing that was not measured' sh -c '! grep -qaE "\"(loss|seed|iterations|coldness|clamp)\"" m.safetensors'
check 'a weighted mean' is 'm.safetensors: mean of 2 vectors, 3 elements, layer 3, norm 3.81608' mean a.safetensors:3 \
    b.safetensors --out m.safetensors --force
check 'is over the weights' holds m.safetensors 3.25 2 0
check 'the weights are recorded' says m.safetensors '"objective":"mean of a.safetensors:3, b.safetensors"'
check 'a sum' is 's.safetensors: sum of 3 vectors, 3 elements, layer 3, norm 8.12404' sum a.safetensors \
    b.safetensors:-1 --out s.safetensors c.safetensors:0.5
check 'its elements: a - b + c / 2' holds s.safetensors -1 8 1
run sum a.safetensors --norm 10 --out n.safetensors --json
check 'rescaled' holds n.safetensors 6 8 0
check 'rescaled: said in JSON' says out '{"file": "n.safetensors", "objective": "sum of a.safetensors, norm 10", "elements": 3, "layer": 3, "norm": 10.0}'
run sum a.safetensors --norm 0 --out z.safetensors
check 'to nothing' holds z.safetensors 0 0 0
check 'what is written is read again' is '10  n.safetensors' norm n.safetensors
run sum a.safetensors b.safetensors --out s2.safetensors
run sum a.safetensors b.safetensors --out s3.safetensors
check 'the same call, the same bytes' cmp s2.safetensors s3.safetensors
run sum a.safetensors five.safetensors --out l.safetensors --layer 4
check 'other layers with --layer' says l.safetensors '"site":"block_input:4"'
run sum a.safetensors five.safetensors --out l.safetensors --force
check 'other layers with --force: none is recorded' sh -c '! grep -qa site l.safetensors'
run sum a.safetensors other.safetensors --out o.safetensors --force
check 'other models with --force: none is recorded' sh -c '! grep -qa model_sha256 o.safetensors'
run sum a.safetensors prompt.safetensors --out p.safetensors
check 'other positions: mixed' says p.safetensors '"positions":"mixed"'
run sum clamped.safetensors --out k.safetensors
check 'a clamp stays one' says k.safetensors '"apply":"clamp"' '"clamp":"1"'
run sum bare.safetensors bare.safetensors:-2 --out q.safetensors
check 'files of other makers' holds q.safetensors -3 -4 -12
run mean a.safetensors b.safetensors --force --out a2.safetensors
cp a.safetensors in.safetensors
run sum in.safetensors:2 --force --out in.safetensors
check 'a file may be replaced by its own sum' holds in.safetensors 6 8 0
cp a.safetensors 'odd:2'
run sum odd:2 --out odd.safetensors
check 'a file with a colon in its name' holds odd.safetensors 3 4 0
run sum --out dash.safetensors -- a.safetensors
check 'files after --' holds dash.safetensors 3 4 0

out=(--out bad.safetensors)
bad 'no --out' 2 '--out is missing' mean a.safetensors
bad 'no files' 2 'no files: osv-vector sum FILE' sum "${out[@]}"
bad 'an --out that is there' 2 '--out m.safetensors: is there already' mean a.safetensors --out m.safetensors
bad 'other lengths' 3 'a.safetensors has 3 elements, long.safetensors has 4' sum a.safetensors long.safetensors "${out[@]}"
bad 'other lengths, --force' 3 'only vectors of one length' sum a.safetensors long.safetensors "${out[@]}" --force
bad 'other layers' 3 'a.safetensors is for block 3, five.safetensors for block 5; give --layer' sum a.safetensors \
    five.safetensors "${out[@]}"
bad 'no layer beside one' 3 'bare.safetensors does not say for which block it is, a.safetensors is for block 3' sum \
    a.safetensors bare.safetensors "${out[@]}"
bad 'other models' 3 'trained on different models, m (aa...) and m (bb...)' sum a.safetensors other.safetensors "${out[@]}"
bad 'other forms' 3 'is for apply add, clamped.safetensors for clamp:1' sum a.safetensors clamped.safetensors "${out[@]}"
bad 'weights that add up to nothing' 2 'the weights add up to 0' mean a.safetensors b.safetensors:-1 "${out[@]}"
bad 'nothing to rescale' 3 'the sum is zero' sum a.safetensors a.safetensors:-1 "${out[@]}" --norm 1
bad 'too large for F32' 3 'element 0 of the sum is not a finite number' sum huge.safetensors huge.safetensors "${out[@]}"
bad 'several layers' 3 'layers.safetensors: is for 2 layers at once; osv-vector mean' mean layers.safetensors "${out[@]}"
bad 'an affine map' 3 'affine.safetensors: holds an affine map' mean affine.safetensors "${out[@]}"
bad 'NaN' 3 'nan.safetensors: element 1' sum nan.safetensors "${out[@]}"
bad 'no such file' 3 'nowhere.safetensors: cannot open' sum nowhere.safetensors:2 "${out[@]}"
bad 'a weight without a file' 2 ':2: names no file' sum :2 "${out[@]}"
bad 'no folder to write to' 3 'nowhere/x.safetensors' sum a.safetensors --out nowhere/x.safetensors
bad 'a bad number' 2 '--norm -1: must be' sum a.safetensors "${out[@]}" --norm -1

# ---- norm ----

check 'norms, a line each' is '5  a.safetensors
13  bare.safetensors
0  zero.safetensors' norm a.safetensors bare.safetensors zero.safetensors
check 'norms as JSON Lines' is '{"file": "a.safetensors", "norm": 5.0, "elements": 3, "layer": 3}
{"file": "bare.safetensors", "norm": 13.0, "elements": 3, "layer": null}' norm --json a.safetensors bare.safetensors
bad 'norm of several layers' 3 'osv-vector norm takes files with one vector' norm layers.safetensors
bad 'norm of one file that is not there' 3 'nowhere' norm a.safetensors nowhere

# ---- cosine ----

run cosine a.safetensors b.safetensors c.safetensors bare.safetensors zero.safetensors
check 'cosines' says out '  1  1.00000 -0.14142  0.00000  0.38462      nan  a.safetensors' \
    '  2 -0.14142  1.00000  0.00000 -0.05439      nan  b.safetensors' '      nan      nan  zero.safetensors'
check 'cosines as JSON' is '{"files": ["a.safetensors", "c.safetensors", "zero.safetensors"], "cosine": [[1.0, 0.0, null], [0.0, 1.0, null], [null, null, null]]}' \
    cosine a.safetensors c.safetensors zero.safetensors --json
cp a.safetensors 'a,"b'
check 'cosines as CSV' is 'file,"a.safetensors","a,""b","zero.safetensors"
"a.safetensors",1,1,nan
"a,""b",1,1,nan
"zero.safetensors",nan,nan,nan' cosine --csv - a.safetensors 'a,"b' zero.safetensors
run cosine a.safetensors c.safetensors --csv table.csv --json
check 'CSV beside JSON' says table.csv '"a.safetensors",1,0'
bad 'cosine of other lengths' 3 'only vectors of one length can be compared' cosine a.safetensors long.safetensors
bad '--csv - and --json' 2 'cannot both have standard output' cosine a.safetensors --csv - --json
bad 'cosine has no --out' 2 'unknown option --out' cosine a.safetensors --out x

# ---- show ----

check 'a file of another maker' is 'bare.safetensors
  tensor    vector  F32 [3]  norm 13
    largest   2: 12, 1: 4' show --top 2 bare.safetensors
run show affine.safetensors layers.safetensors
check 'affine maps and several layers' says out 'tensor    left  F32 [1, 2]  norm 5' 'tensor    right  F32 [1, 2]  norm 1' \
    'tensor    vector.1  F32 [2]  norm 5' 'largest   1: 4, 0: 3' 'metadata  apply   affine' 'metadata  site    block_input:1,3'
check 'as JSON Lines' is '{"file": "affine.safetensors", "tensors": [{"name": "left", "dtype": "F32", "shape": [1, 2], "norm": 5.0, "largest": []}, {"name": "right", "dtype": "F32", "shape": [1, 2], "norm": 1.0, "largest": []}, {"name": "vector", "dtype": "F32", "shape": [2], "norm": 5.65685425, "largest": [{"index": 0, "value": 4.0}]}], "metadata": {"format": "osv/1", "site": "block_input:1", "apply": "affine"}}' \
    show --json --top 1 affine.safetensors
run show nan.safetensors
check 'NaN comes first' says out 'largest   1: nan, 0: 1, 2: 0'
run show "$root/tests/golden/models/llama-bf16/"*.safetensors
check 'other types: shapes alone' says out 'BF16 ['
echo x >short.safetensors
bad 'no safetensors file' 3 'short.safetensors: 2 bytes, too short' show short.safetensors

# ---- a vector that was trained ----

echo '{"prompt": {"ids": [5, 9, 200, 31]}, "promote": [{"ids": [7, 8]}]}' >data.jsonl
"$train" --model "$root/tests/golden/models/llama-tiny" --data data.jsonl --layer 1 --seeds 0-2 --max-iters 2 --out run \
    --quiet >train.out
run mean run/vectors/*.safetensors --out mean.safetensors
check 'the mean of trained vectors' says mean.safetensors '"site":"block_input:1"' '"model":"llama-tiny"' \
    '"objective":"mean of run/vectors/all.s0.safetensors, run/vectors/all.s1.safetensors, run/vectors/all.s2.safetensors"'
"$train" --model "$root/tests/golden/models/llama-tiny" --data data.jsonl --layer 1 --init mean.safetensors --max-iters 0 \
    --out again --quiet >again.out
check 'starts a run' cmp <(tail -c 192 mean.safetensors) <(tail -c 192 again/vectors/all.safetensors)

# ---- help, verbs ----

bad 'no verb' 2 'the verb is missing: one of mean, sum, cosine, norm, show'
bad 'an unknown verb' 2 'median: there is no such verb; known are mean, sum, cosine, norm, show' median a.safetensors
run --help
check 'help lists the verbs' says out 'mean     ' 'sum      ' 'cosine   ' 'norm     ' 'show     ' 'Exit status'
for verb in mean sum cosine norm show; do
    run $verb --help
    check "help of $verb" says out "osv-vector $verb FILE" '--json' '--version' 'Exit status'
    check "help of $verb is narrow enough" sh -c 'test "$(wc -L <out)" -le 120'
done
run --version
check 'version' says out 'osv-vector 0.' 'commit:'
"$tool" norm a.safetensors >/dev/full 2>err
status=$?
check 'results that cannot be written' test $status = 3
{ "$tool" show a.safetensors b.safetensors; echo $? >deaf; } | true
check 'a closed pipe is no error' test "$(cat deaf)" = 0
finish
