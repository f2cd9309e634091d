#!/bin/bash
# Does a cluster make the committed reports? Makes H1 and the calibration in a copy of this project on a Slurm cluster of this one
# machine (single_node.sh), and compares what is made with what is committed, byte for byte:
#
#     profiles/slurm/compare.sh                        # about ten minutes on two cores
#     profiles/slurm/compare.sh h1_bw_efficiency       # a minute
#
# `snakemake` and its plugin for Slurm are those of the active environment. Exit code 1 where a file differs.
set -euo pipefail

project=$(cd "$(dirname "$0")/../.." && pwd)
targets=("${@:-h1_bw_efficiency}")
[ $# -gt 0 ] || targets+=(calibrate)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

cd "$project"
git ls-files --cached --others --exclude-standard -z | xargs -0 cp --parents --target-directory "$copy"
cd "$copy"
export PYTHONPATH=$copy/workflow:$copy
started=$SECONDS
# There is no accounting on such a cluster, so jobs are asked after with squeue.
profiles/slurm/single_node.sh bash -c '
    python -m snakemake --profile profiles/slurm --cores "$(nproc)" --slurm-status-command squeue "$@" || exit
    echo "jobs of the cluster:"
    squeue --states all --sort i --format "%.4i %.40k %.10T %.7M %.4C cores %.7m"' cluster "${targets[@]}"
echo "$((SECONDS - started)) s"
for folder in reports configs; do diff --recursive --brief "$project/$folder" "$folder"; done
echo "reports and constants are, byte for byte, as committed"
