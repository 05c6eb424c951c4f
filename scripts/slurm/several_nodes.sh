#!/usr/bin/env bash
# osv-train on the GPUs of several nodes, a rank each, as a job that may be preempted, requeued and run out of time:
#
#     sbatch scripts/slurm/several_nodes.sh --tp 8 --model M --data d.jsonl --layer 40 --out run
#
# Ranks are numbered node by node, so that the --tp of them that share the model lie on one node where that goes. The
# folder of the run has to be one that all nodes see. Options of sbatch before the name of this script take the place of
# the lines below. docs/clusters.md has the rest.
#SBATCH --job-name=osv
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=6
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append

srun --mpi=none --kill-on-bad-exit=0 --distribution=block osv-train "$@" --resume
status=$?
# 143: saved, as the time limit is near. A job that was cancelled is not running any more and stays cancelled.
if [ $status = 143 ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
