#!/usr/bin/env bash
# A thousand jobs in bins of about a hundred: memory as with a hundred jobs, as many iterations a second at the end as
# at the beginning, and, interrupted in the middle, the same bytes.
# Usage: many_jobs.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$(realpath "$2")
. "$root/tests/tap.sh"
cd "$dir" || exit 1

for i in $(seq 1000); do
    echo "{\"job\": \"j$i\", \"prompt\": {\"ids\": [$((i % 500 + 4)), $((i / 500 + 9))]}, \"promote\": [{\"ids\": [$((i % 97 + 3))]}]}"
done >data.jsonl
head -n 100 data.jsonl >hundred.jsonl
options=(--model "$root/organisms/llama-2m" --layer 5 --lr 0.1 --max-iters 16 --plateau-iters 0 --target-loss 4
    --threads 1 --quiet)
plan=$("$train" "${options[@]}" --data hundred.jsonl --memory 4G --plan --json)
options+=(--memory "$(tr ',{' '\n\n' <<<"$plan" | sed -n 's/^ *"peak_bytes": //p')")
# watch PID FILE: seconds and lines of the trace, as the run goes on
watch() {
    while kill -0 "$1" 2>/dev/null; do
        echo "$(date +%s.%N) $(wc -l 2>/dev/null <"$2" || echo 0)"
        sleep 0.05
    done
}
of() { tr ',{' '\n\n' <"$2" | sed -n "s/^ *\"$1\": //p" | head -n 1; }

"$train" "${options[@]}" --data hundred.jsonl --out hundred --json >hundred.json
check 'a hundred jobs' test $? = 0
"$train" "${options[@]}" --data data.jsonl --out all --json >all.json &
pid=$!
watch $pid all/trace.jsonl >progress
wait $pid
check 'a thousand jobs' test $? = 0
check 'all vectors are there' test "$(find all/vectors -name '*.safetensors' | wc -l)" = 1000
few=$(of host_peak_bytes hundred.json) many=$(of host_peak_bytes all.json)
echo "# peak: $few bytes with 100 jobs, $many with 1000"
check 'memory does not grow with the jobs that have ended' test $((many)) -lt $((few + few / 4 + 20000000))
lines=$(wc -l <all/trace.jsonl)
# Lines a second in the first and in the last quarter of the trace.
rates=$(awk -v all="$lines" '$2 > 0 && !start { start = $1 } $2 <= all / 4 { first = $1; at_first = $2 }
    $2 <= 3 * all / 4 { third = $1; at_third = $2 } $2 < all { last = $1; at_last = $2 }
    END { print at_first / (first - start + 0.05), (at_last - at_third) / (last - third + 0.05) }' progress)
echo "# trace lines a second, first and last quarter: $rates"
check 'throughput does not fall' awk -v rates="$rates" 'BEGIN { split(rates, r, " "); exit !(r[2] > 0.4 * r[1]) }'

"$train" "${options[@]}" --data data.jsonl --out half >half.out &
pid=$!
while kill -0 $pid 2>/dev/null && [ "$(wc -l 2>/dev/null <half/trace.jsonl || echo 0)" -lt $((lines / 2)) ]; do sleep 0.02; done
kill -TERM $pid
wait $pid
check 'interrupted in the middle' test $? = 143
check 'some had not begun' grep -q 'not begun when the run was interrupted' half.out
"$train" "${options[@]}" --data data.jsonl --out half --resume >half.out
check 'resumed' test $? = 0
check 'the same vectors' diff -r all/vectors half/vectors
check 'the same trace' cmp all/trace.jsonl half/trace.jsonl
finish
