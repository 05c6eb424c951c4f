#!/usr/bin/env bash
# A sweep cut into the tasks of an array job, for nodes that come free one at a time: task i of n trains every n-th line of
# SWEEP.jsonl in a run of its own, OUT/<i>:
#
#     sbatch --array=0-15 scripts/slurm/array.sh SWEEP.jsonl OUT --model M --data d.jsonl
#
# With --array=0-15%4 no more than four run at a time. Options of sbatch before the name of this script take the place of
# the lines below. docs/clusters.md has the rest.
#SBATCH --job-name=osv
#SBATCH --array=0-7
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=6
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append

sweep=$1 out=$2
shift 2
task=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN))
mkdir -p "$out" || exit
part=$out/sweep.$SLURM_ARRAY_TASK_ID.jsonl
awk -v n="$SLURM_ARRAY_TASK_COUNT" -v i="$task" 'NF && k++ % n == i' "$sweep" >"$part" || exit
[ -s "$part" ] || exit 0 # fewer lines than tasks

srun --mpi=none osv-train "$@" --sweep "$part" --out "$out/$SLURM_ARRAY_TASK_ID" --resume
status=$?
# 143: saved, as the time limit is near. A job that was cancelled is not running any more and stays cancelled.
if [ $status = 143 ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
