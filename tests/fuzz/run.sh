#!/usr/bin/env bash
# Runs one fuzz target and says in one line of TAP what came of it.
# Usage: run.sh NAME TARGET SECONDS FOLDER [libFuzzer option or corpus folder...]; what it finds is left in FOLDER.
set -u
name=$1 target=$2 seconds=$3 folder=$4
shift 4
log=$folder/$name.log
echo 1..1
"$target" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$folder/$name-" "$@" >"$log" 2>&1 </dev/null
status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
said="$name: ${runs:-?} runs, coverage ${coverage:-?}"
if [ $status = 0 ]; then
    echo "ok 1 - $said, 0 findings"
else
    found=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo "not ok 1 - $said, a finding: ${found:-see $log}"
    tail -n 40 "$log" | sed 's/^/# /'
    exit 1
fi
