#!/usr/bin/env bash
# Runs of osv-train that are killed (kill -9) at random moments, again and again, and go on with --resume until they are
# complete: vectors, trace and run.json have to be, byte for byte, those of a run that was left alone.
# Usage: kill.sh OSV_TRAIN ROOT [KILLS [SEED [UNITS]]]: as many kills that hit a run (default 50); UNITS: of runs that
# several replicas have begun and one goes on with, in so many units
set -u
train=$(realpath "$1") root=$(realpath "$2") kills=${3:-50}
RANDOM=${4:-1} units=${5:-0}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# Jobs that end one after the other, by their target or by the number of steps.
for i in $(seq 40); do
    echo "{\"job\": \"j$i\", \"prompt\": {\"ids\": [$((i * 7 % 300 + 1)), 2]}, \"promote\": [{\"ids\": [$((i % 7)), 3]}]}"
done >data.jsonl
options=(--model "$root/tests/golden/models/llama-tiny" --data data.jsonl --layer 1 --lr 0.05 --max-iters 60
    --target-loss 5 --plateau-iters 0 --quiet --checkpoint-every 3)
# So much memory that a third of the jobs fit: the others wait.
plan=$("$train" "${options[@]}" --memory 1G --plan --json)
of_plan() { tr ',{' '\n\n' <<<"$plan" | sed -n "s/^ *\"$1\": //p" | head -n 1; }
options+=(--memory $(($(of_plan peak_bytes) - $(of_plan bytes) * 2 / 3)))
# What stands in run.json when replicas have begun: every unit's jobs.
in_units() { for u in $(seq "$units"); do echo "[$(for i in $(seq "$u" "$units" 40); do echo "\"j$i\""; done | paste -sd,)]"; done; }
if [ "$units" -gt 0 ]; then
    "$train" "${options[@]}" --out alone >alone.out || exit 1
    mkdir begun
    sed "s/\"unit_jobs\": null/\"unit_jobs\": [$(in_units | paste -sd,)]/" alone/run.json >begun/run.json
    cp -r begun whole
fi
whole=$(date +%s%N)
"$train" "${options[@]}" --out whole --resume >whole.out || exit 1
whole=$((($(date +%s%N) - whole) / 1000)) # microseconds

hits=0 runs=0 rounds=0
while [ $hits -lt "$kills" ]; do
    rm -rf killed
    [ "$units" = 0 ] || cp -r begun killed
    runs=$((runs + 1))
    while :; do
        rounds=$((rounds + 1))
        "$train" "${options[@]}" --out killed --resume >killed.out 2>killed.err &
        pid=$!
        if [ $hits -lt "$kills" ]; then
            # Shorter than a run takes, or most kills would miss.
            delay=$(((RANDOM * 32768 + RANDOM) % (whole * 4 / 10 + 1)))
            sleep "$(printf '%d.%06d' $((delay / 1000000)) $((delay % 1000000)))"
            [ -e killed/run.json ] && had=$(cat killed/run.json) || had=
            kill -9 $pid 2>/dev/null
        fi
        wait $pid 2>/dev/null
        status=$?
        [ $status = 137 ] && hits=$((hits + 1)) && continue
        [ $status = 0 ] && break
        echo "run $runs, round $rounds: exit status $status: $(cat killed.err)"
        exit 1
    done
    [ -z "${had:-}" ] || [ "$had" = "$(cat killed/run.json)" ] || { echo "run $runs: run.json has changed"; exit 1; }
    diff -r whole/vectors killed/vectors || { echo "run $runs: vectors differ"; exit 1; }
    cmp whole/trace.jsonl killed/trace.jsonl || { echo "run $runs: the trace differs"; exit 1; }
    rm -f whole.list killed.list
    (cd whole && find . | sort) >whole.list
    (cd killed && find . | sort) >killed.list
    diff whole.list killed.list || { echo "run $runs: something is left"; exit 1; }
done
echo "$hits kills, $runs runs that were completed, $rounds starts: all the same bytes"
