#!/bin/bash
# A Slurm cluster of this one machine, for as long as a command runs:
#
#     profiles/slurm/single_node.sh snakemake --profile profiles/slurm h1_bw_efficiency
#
# Needs slurmctld, slurmd, slurm-client and munge (`apt-get install slurmctld slurmd munge` as root). Keeps what it needs in a folder
# of its own, which stays, with the logs, only where the cluster does not start. Exit code: the command's; 2 where nothing was run.
set -euo pipefail

fail() { echo "error: $1" >&2; exit 2; }

[ $# -gt 0 ] || fail "say what to run on the cluster: $0 COMMAND..."
missing=$(for program in munged slurmctld slurmd sinfo; do command -v "$program" >/dev/null || echo "$program"; done)
[ -z "$missing" ] || fail "not found: $(echo $missing); install slurmctld, slurmd, slurm-client and munge"

folder=$(mktemp -d)
node=$(hostname -s)
started=()

# Jobs first: the daemon of a node does not end while a job of its own is there.
stop() {
    trap - EXIT
    scancel --state=RUNNING --user="$(id -un)" 2>/dev/null || true
    for _ in $(seq 20); do [ -n "$(squeue --noheader 2>/dev/null)" ] || break; sleep 0.5; done
    for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
    (sleep 10; kill -9 "${started[@]}" 2>/dev/null) &
    for process in "${started[@]}"; do wait "$process" 2>/dev/null || true; done
    kill $! 2>/dev/null || true
}
trap stop EXIT

mkdir "$folder/state" "$folder/spool"
(umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
munged --foreground --force --key-file "$folder/munge.key" --socket "$folder/munge.socket" --pid-file "$folder/munged.pid" \
    --log-file "$folder/munged.log" --seed-file "$folder/munged.seed" 2>"$folder/munged.err" &
started+=($!)

# What `slurmd -C` says of this machine: processors, cores and memory.
cat >"$folder/slurm.conf" <<END
ClusterName=single_node
SlurmctldHost=$node(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=600
$(slurmd -C | head -n 1) NodeAddr=127.0.0.1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
export SLURM_CONF=$folder/slurm.conf
# Snakemake's plugin starts steps of a job without any SLURM_ variable, but a cluster of one user has no other way to be found.
mkdir "$folder/bin"
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$folder/bin/srun"
chmod +x "$folder/bin/srun"
export PATH=$folder/bin:$PATH

slurmctld -D -f "$SLURM_CONF" >"$folder/slurmctld.log" 2>&1 &
started+=($!)
slurmd -D -f "$SLURM_CONF" >"$folder/slurmd.log" 2>&1 &
started+=($!)

for _ in $(seq 60); do
    if sinfo --noheader --states=idle 2>/dev/null | grep -q idle; then
        code=0
        "$@" || code=$?
        stop
        rm -rf "$folder"
        exit "$code"
    fi
    sleep 0.5
done
tail -n 5 "$folder"/*.log "$folder"/*.err >&2
fail "the cluster did not come up in 30 s; its files are in $folder"
