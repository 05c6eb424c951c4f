#!/usr/bin/env bash
# Several ranks under Slurm: one of the test's own, on ports of its own, with two nodes that are this machine. Skipped where
# that does not go. Usage: slurm.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$(realpath "$2")
none() { echo "1..0 # SKIP $*" && exit 0; }
for command in munged slurmctld slurmd srun; do
    command -v $command >/dev/null || none "there is no $command here (./test.sh --clusters installs it)"
done
[ "$(id -u)" = 0 ] || none 'only root starts a Slurm with users of its own'
. "$root/tests/tap.sh"
. "$root/tests/traces.sh"
cd "$dir" || exit 1
export OMP_WAIT_POLICY=passive OMPI_MCA_mpi_yield_when_idle=1 # more ranks than processors are not to spin
export OMPI_MCA_btl=self,tcp   # ranks of the two nodes would meet in the shared memory of the one machine
export PATH=${train%/*}:$PATH # the scripts' osv-train
model=$root/organisms/llama-2m
head -n 2 "$root/organisms/sets/refusal-answer/train.jsonl" >data.jsonl

# ---- a Slurm ----

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
are_free() { ! listens "$1" && ! listens $(($1 + 1)) && ! listens $(($1 + 2)) && ! listens $(($1 + 3)); }
port=$((20000 + $$ % 20000))
until are_free $port; do port=$((port + 4)); done

configure() {
    local host
    host=$(hostname)
    printf '%s\n' ClusterName=osv "SlurmctldHost=$host(127.0.0.1)" SlurmctldPort=$port SlurmUser=root SlurmdUser=root \
        AuthType=auth/munge "AuthInfo=socket=$dir/munge.sock" "StateSaveLocation=$dir/state" "SlurmdSpoolDir=$dir/spool.%n" \
        "TmpFS=$dir/tmp.%n" "SlurmctldPidFile=$dir/slurmctld.pid" "SlurmdPidFile=$dir/slurmd.%n.pid" \
        "SlurmctldLogFile=$dir/slurmctld.log" "SlurmdLogFile=$dir/slurmd.%n.log" ProctrackType=proctrack/linuxproc \
        TaskPlugin=task/none SwitchType=switch/none JobAcctGatherType=jobacct_gather/none SelectType=select/cons_tres \
        SelectTypeParameters=CR_Core MpiDefault=pmix ReturnToService=2 SlurmdParameters=config_overrides KillWait=10 GresTypes=gpu \
        "NodeName=a NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=4 Gres=gpu:4" \
        "NodeName=b NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=4 Gres=gpu:4" \
        'PartitionName=all Nodes=a,b Default=YES State=UP MaxTime=INFINITE' >slurm.conf
    printf 'Name=gpu File=/dev/%s\n' null zero full random >gres.conf # the scripts ask for GPUs
    mkdir -p state spool.a spool.b tmp.a tmp.b
    head -c 1024 /dev/urandom >munge.key
    chmod 400 munge.key
}
start_slurm() {
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" && slurmctld -i && slurmd -N a && slurmd -N b || return
    for _ in $(seq 300); do
        [ "$(sinfo --noheader --format=%T)" = idle ] && return
        sleep 0.2
    done
    return 1
}
stop_slurm() {
    timeout 30 scancel --user=root 2>/dev/null
    for _ in $(seq 100); do
        [ -z "$(timeout 10 squeue --noheader 2>/dev/null)" ] && break
        sleep 0.2
    done
    local pids
    pids=$(cat "$dir"/slurmd.?.pid "$dir"/slurmctld.pid "$dir"/munged.pid 2>/dev/null)
    for pid in $pids; do kill "$pid" 2>/dev/null; done
    for pid in $pids; do
        for _ in $(seq 50); do [ -e "/proc/$pid" ] && sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null
    done
}
configure
export SLURM_CONF=$dir/slurm.conf
trap 'stop_slurm; rm -rf "$dir"' EXIT
start_slurm >start.log 2>&1 ||
    none "no Slurm can be started here: $(cat start.log ./*.log 2>/dev/null | grep -ai -e error -e fatal | grep -v -m 1 MailProg || echo 'its nodes do not come up')"
srun --mpi=list 2>&1 | grep -q pmix || none 'the Slurm here knows no PMIx'

# ---- srun ----

options=(--model "$model" --data data.jsonl --layer 2-3 --lr 0.2 --plateau-iters 0 --threads 1)
iters=4
run() { # NAME COMMAND...: trains into NAME.run
    local name=$1
    shift
    timeout 120 "$@" "${options[@]}" --max-iters $iters --out "$name.run" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
same() { same_files "$1.run" "$2.run"; }
said_once() { [ "$(grep -c 'backend cpu' "$1.err")" = 1 ] || { cat "$1.err" && return 1; }; }

run alone osv-train --tp 4
check 'four ranks without Slurm' ended 0
run step srun --mpi=pmix -N 2 -n 4 osv-train --tp 4
check 'srun: four ranks on two nodes' ended 0
check 'srun: rank 0 alone speaks' said_once step
check 'srun: the same bytes' same step alone
run wrong srun --mpi=pmix -n 3 osv-train --tp 2
check 'srun: ranks that are no replicas' test $status != 0
run tcp srun --mpi=none -n 4 osv-train --tp 4
check 'srun without PMIx: ranks meet by TCP' ended 0
check 'srun without PMIx: the same bytes' same tcp alone
replicas=(mpirun --allow-run-as-root --quiet --oversubscribe --bind-to none -n 4 osv-train --tp 2)
run two "${replicas[@]}"
check 'two replicas without Slurm' ended 0
run replicas srun --mpi=pmix -N 2 -n 4 osv-train --tp 2
check 'srun: a replica on each node' ended 0
check 'srun: a replica on each node: the same bytes' same replicas two
run salloc salloc --quiet -N 1 -n 4 mpirun --allow-run-as-root --quiet --oversubscribe -n 4 osv-train --tp 4
check 'mpirun in a job' ended 0
check 'mpirun in a job: the same bytes' same salloc alone

# ---- batch scripts ----

# submit NAME SCRIPT [sbatch option...]: with the test's sizes; its number in $job, its log in NAME.log
submit() {
    local name=$1 script=$2
    shift 2
    job=$(sbatch --parsable --cpus-per-task=1 --time=10 --output="$name.log" "$@" "$root/scripts/slurm/$script" "${extra[@]}" \
        "${options[@]}" --max-iters $iters --checkpoint-every 0)
}
state() { squeue --noheader --states=all --jobs="$1" --format=%T | sort -u | tr '\n' ' '; }
# until_state JOB STATE: within a minute
until_state() {
    for _ in $(seq 300); do
        [ "$(state "$1")" = "$2 " ] && return
        sleep 0.2
    done
    echo "job $1 is $(state "$1"), expected $2"
    cat ./*.log | tail -n 30
    return 1
}
# A job that was requeued waits for two minutes, lest its node is broken. Not here.
go_on() { scontrol update "JobId=$1" StartTime=now; }

iters=300
run whole osv-train --tp 4
check 'a run that is not interrupted' ended 0

# ranks RUN: numbers of processes that train it, each behind its rank
ranks() {
    local pid
    for pid in $(pgrep -f "osv-train .*--out $1" | grep -vx $$); do
        tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n "s/^SLURM_PROCID=\(.*\)/\1 $pid/p"
    done
}
run undisturbed "${replicas[@]}"
check 'replicas that are not disturbed' ended 0
run killed srun --mpi=none --kill-on-bad-exit=0 -n 4 osv-train --tp 2 --comm-timeout 5 &
check 'replicas begin' until_lines killed.run/units/1/trace.jsonl 10
kill -KILL "$(ranks killed.run | sed -n 's/^3 //p' | head -n 1)"
check 'a rank is killed: it was' test "$?" = 0
wait
check 'a rank is killed: the other replica trains it all' same killed undisturbed
check 'a rank is killed: it is said' says killed.err 'rank 3' 'is lost'

extra=(--tp 4 --out requeued.run)
export OSV_RENDEZVOUS=127.0.0.1:$((port + 3)) # the nodes' names are no addresses
submit requeued several_nodes.sh --nodes=2 --ntasks-per-node=2 --gpus-per-node=2
check 'a batch job on two nodes begins' until_lines requeued.run/trace.jsonl 40
scontrol requeue "$job"
check 'scontrol requeue: it waits' until_state "$job" PENDING
check 'scontrol requeue: before it is done' test "$(lines requeued.run/trace.jsonl)" -lt 600
go_on "$job"
check 'scontrol requeue: it ends' until_state "$job" COMPLETED
check 'scontrol requeue: the same vectors' same requeued whole

unset OSV_RENDEZVOUS
extra=(--tp 4 --out limit.run)
submit limit one_node.sh --ntasks-per-node=4 --gpus-per-node=4
check 'a batch job on one node begins' until_lines limit.run/trace.jsonl 40
scancel --signal=TERM "$job"
check 'SIGTERM to the ranks, as before the time limit: the job requeues itself' until_state "$job" PENDING
check 'SIGTERM: it has saved' test -s limit.run/checkpoint.safetensors -a ! -e limit.run/lock
check 'SIGTERM: and says so' says limit.log 'with --resume the run goes on from here'
go_on "$job"
check 'SIGTERM: it ends' until_state "$job" COMPLETED
check 'SIGTERM: the same vectors' same limit whole

extra=(--tp 4 --out cancelled.run)
submit cancelled one_node.sh --ntasks-per-node=4 --gpus-per-node=4
check 'a batch job that is to be cancelled begins' until_lines cancelled.run/trace.jsonl 40
scancel "$job"
check 'scancel: it ends and is not requeued' until_state "$job" CANCELLED
check 'scancel: it has saved' test -s cancelled.run/checkpoint.safetensors

iters=4 options=(--model "$model" --data data.jsonl --lr 0.2 --threads 1)
for layer in 1 2 3; do echo "{\"layer\": $layer, \"seed\": 5}"; done >sweep.jsonl
extra=(sweep.jsonl array)
submit array array.sh --array=4-7
check 'an array: it ends' until_state "$job" COMPLETED
vectors() { find array -name '*.safetensors' -path '*/vectors/*' | sort | tr '\n' ' '; }
check 'an array: the vectors of both jobs for each line of the sweep' test "$(vectors | wc -w)" = 6
check 'an array: each in a run of its own' test "$(find array -name trace.jsonl | wc -l)" = 3
finish
