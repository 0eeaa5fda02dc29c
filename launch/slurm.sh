#!/usr/bin/env bash
# Trains on all nodes of a SLURM job, and resumes automatically after the time limit or a preemption. Submit it with the
# arguments of `gan_core train`; --out must be a folder that all nodes can access:
#
#     sbatch --nodes 2 --gpus-per-node 8 launch/slurm.sh --variant dcgan --kimg 20000 --out /shared/runs/dcgan
#
#SBATCH --job-name=gan_core
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
set -euo pipefail

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun no longer inherits it from sbatch.

# One launcher per node, which starts one process per GPU; without GPUs, one process.
srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" --nproc_per_node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv_backend c10d --rdzv_endpoint "${nodes[0]}:$((20000 + SLURM_JOB_ID % 10000))" --rdzv_id "$SLURM_JOB_ID" \
    -m gan_core train "$@" &
step=$!

# Two minutes before the end, SLURM sends USR1 to this shell, which sends SIGTERM to the launchers. They forward it, and
# all ranks save and exit. The signal must not go to srun, which would kill them immediately.
told=no
trap 'told=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1

status=0
wait "$step" || status=$?
if [[ $told == yes ]]; then
    wait "$step" || true # The signal ended the wait above; this one ends with the last rank.
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
