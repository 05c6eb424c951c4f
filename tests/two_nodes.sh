#!/usr/bin/env bash
# Two nodes, which are network namespaces of this machine with a cable between: mpirun trains over it. Skipped where that
# does not go. Usage: two_nodes.sh OSV_TRAIN ROOT
set -u
train=$(realpath "$1") root=$(realpath "$2")
none() { echo "1..0 # SKIP $*" && exit 0; }
for command in ip unshare mpirun; do
    command -v $command >/dev/null || none "there is no $command here (./test.sh --clusters installs it)"
done
[ "$(id -u)" = 0 ] || none 'only root makes network namespaces that programs are started in by others'
. "$root/tests/tap.sh"
. "$root/tests/traces.sh"
cd "$dir" || exit 1
model=$root/organisms/llama-2m
head -n 2 "$root/organisms/sets/refusal-answer/train.jsonl" >data.jsonl

# ---- the nodes: a and b, 10.99.0.1 and 10.99.0.2 ----

a=osv-a-$$ b=osv-b-$$
stop_nodes() {
    local name pids
    for name in $a $b; do
        pids=$(ip netns pids $name 2>/dev/null)
        [ -z "$pids" ] || kill -KILL $pids 2>/dev/null
        ip netns del $name 2>/dev/null
    done
}
trap 'stop_nodes; rm -rf "$dir"' EXIT
start_nodes() {
    ip netns add $a && ip netns add $b &&
        ip link add veth-a netns $a type veth peer name veth-b netns $b &&
        ip -n $a addr add 10.99.0.1/24 dev veth-a && ip -n $b addr add 10.99.0.2/24 dev veth-b &&
        ip -n $a link set lo up && ip -n $b link set lo up &&
        ip -n $a link set veth-a up && ip -n $b link set veth-b up &&
        ip netns exec $a unshare --uts hostname node-a
}
start_nodes >nodes.log 2>&1 || none "no network namespaces can be made here: $(tail -n 1 nodes.log)"

# What mpirun takes for ssh: options, an address, a command. Each node has a name of its own, lest MPI takes them for one
# machine with one shared memory.
cat >agent.sh <<AGENT
#!/usr/bin/env bash
while [ "\${1#-}" != "\$1" ]; do shift; done
case \$1 in 10.99.0.1) name=$a host=node-a ;; 10.99.0.2) name=$b host=node-b ;; *) exit 1 ;; esac
shift
exec ip netns exec \$name unshare --uts bash -c "hostname \$host; \$*"
AGENT
chmod +x agent.sh

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_WAIT_POLICY=passive
on_nodes() { # RANKS_OF_EACH COMMAND...: mpirun on node a
    local each=$1
    shift
    timeout 120 ip netns exec $a unshare --uts bash -c 'hostname node-a && exec "$@"' bash mpirun --quiet --bind-to none \
        --mca plm_rsh_agent "$dir/agent.sh" --mca oob_tcp_if_include 10.99.0.0/24 --mca btl_tcp_if_include 10.99.0.0/24 \
        --mca btl self,vader,tcp --mca pml ob1 --mca mpi_yield_when_idle 1 \
        --host "10.99.0.1:$each,10.99.0.2:$each" -n $((2 * each)) "$@"
}
options=(--model "$model" --data data.jsonl --layer 2-3 --lr 0.2 --plateau-iters 0 --threads 1)
iters=4
run() { # NAME COMMAND...: trains into NAME.run
    local name=$1
    shift
    "$@" "${options[@]}" --max-iters $iters --out "$name.run" >"$name.out" 2>"$name.err"
    status=$? last=$name.err
}
same() { same_files "$1.run" "$2.run"; }

# ---- as one node ----

check 'two nodes' sh -c '[ "$1" = "node-a node-a node-b node-b" ]' sh "$(on_nodes 2 hostname 2>/dev/null | sort | xargs)"
run alone timeout 120 "$train" --tp 4
check 'four ranks on one node' ended 0
run nodes on_nodes 2 "$train" --tp 4
check 'four ranks on two nodes' ended 0
check 'the same bytes' same nodes alone

# by_hand COMMAND...: the same four ranks as torchrun would start them; without MPI
by_hand() {
    local rank name pids=() status=0
    for rank in 0 1 2 3; do
        name=$a && [ $rank -ge 2 ] && name=$b
        timeout 120 ip netns exec $name env RANK=$rank WORLD_SIZE=4 LOCAL_RANK=$((rank % 2)) LOCAL_WORLD_SIZE=2 \
            MASTER_ADDR=10.99.0.1 MASTER_PORT=29400 "$@" &
        pids+=($!)
    done
    for rank in 0 1 2 3; do wait "${pids[rank]}" || status=$?; done
    return $status
}
run hand by_hand "$train" --tp 4
check 'ranks that know an address, by TCP alone' ended 0
check 'by TCP alone: the same bytes' same hand alone
if command -v torchrun >/dev/null; then
    with_torchrun() { # COMMAND...
        local name node=0 pids=()
        for name in $a $b; do
            timeout 120 ip netns exec $name torchrun --nnodes 2 --node-rank $node --nproc-per-node 2 --master-addr 10.99.0.1 \
                --master-port 29500 --no-python "$@" &
            pids+=($!) node=1
        done
        wait "${pids[0]}" && wait "${pids[1]}"
    }
    run torchrun with_torchrun "$train" --tp 2
    check 'torchrun: two replicas' ended 0
    check 'torchrun: all vectors' test "$(find torchrun.run/vectors -name '*.safetensors' | wc -l)" = "$(find alone.run/vectors -name '*.safetensors' | wc -l)"
else
    skip torchrun 'there is no torchrun here'
fi

# ---- the cable is cut ----

processes() { # NODE NAME: how many of this name
    ip netns pids "$1" | while read -r pid; do cat "/proc/$pid/comm" 2>/dev/null; done | grep -c "^$2$"
}
until_none() { # NODE SECONDS: its ranks have ended
    for _ in $(seq $((10 * $2))); do
        [ "$(processes "$1" osv-train)" = 0 ] && return
        sleep 0.1
    done
    echo "$(processes "$1" osv-train) ranks are left on $1"
    return 1
}

iters=300
run whole timeout 120 "$train" --tp 4
run cut on_nodes 2 "$train" --tp 4 --comm-timeout 3 &
check 'training over a cable' until_lines cut.run/trace.jsonl 40
check 'four ranks' test "$(processes $a osv-train) $(processes $b osv-train)" = '2 2'
ip -n $b link set veth-b down
check 'cut: the ranks of one node end' until_none $a 10
check 'cut: the ranks of the other node end' until_none $b 10
check 'cut: before they are done' test "$(lines cut.run/trace.jsonl)" -lt 600
# mpirun, which cannot reach the other node either, may wait for ever. What the ranks said goes through it.
for _ in $(seq 30); do grep -q 'is lost' cut.err || sleep 0.1; done
for name in $a $b; do ip netns pids $name | xargs -r kill -KILL; done
wait
check 'cut: one message, with host and reason' says cut.err 'is lost' 'host node-b'
check 'cut: one message' test "$(grep -c 'is lost' cut.err)" = 1
check 'cut: what was trained is saved' test -s cut.run/checkpoint.safetensors
ip -n $b link set veth-b up
run cut on_nodes 2 "$train" --tp 4 --resume
check 'mended: --resume' ended 0
check 'mended: the same vectors' same cut whole
finish
