#!/usr/bin/env bash
# Trains on all nodes of a SLURM job, and resumes automatically after the time limit or a preemption. Submit it with the
# arguments of `gan_core train`; --out must be a folder that all nodes can access. In an array, %a in an argument is the
# number of the task:
#
#     sbatch --nodes 2 --gpus-per-node 8 launch/slurm.sh --variant dcgan --kimg 20000 --out /shared/runs/dcgan
#     sbatch --array 0-4 --nodes 1 --gpus-per-node 8 launch/slurm.sh --variant dcgan --seed %a --out /shared/runs/seed-%a
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

# A task of an array is ARRAY_TASK: the last one has the job ID of the array, which alone means all of its tasks.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}

# The first node's address: the name of a node in SLURM is not always a hostname.
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=${nodes[0]}
[[ $(scontrol show node "$address") =~ NodeAddr=([^[:space:]]+) ]] && address=${BASH_REMATCH[1]}

# Two minutes before the end, SLURM sends USR1 to this shell, which sends SIGTERM to the launchers. They forward it, and
# all ranks save and exit. The signal must not go to srun, which would kill them immediately.
told=no
trap 'told=yes; scancel --signal=TERM "$job"' USR1

# One launcher per node, which starts one process per GPU; without GPUs, one process.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun no longer inherits it from sbatch.
srun --kill-on-bad-exit=1 bash -c 'exec torchrun --node_rank "$SLURM_NODEID" "$@"' torchrun \
    --nnodes "$SLURM_NNODES" --nproc_per_node "${SLURM_GPUS_ON_NODE:-1}" \
    --master_addr "$address" --master_port "$((20000 + SLURM_JOB_ID % 10000))" \
    -m gan_core train "${@//"%a"/${SLURM_ARRAY_TASK_ID:-%a}}" &
step=$!

status=0
wait "$step" || status=$?
if ((status > 128)); then # The signal ended the wait above; this one ends with the last rank.
    status=0
    wait "$step" || status=$?
fi
if [[ $told == yes && $status != 0 ]]; then # With status 0, training has finished in the meantime.
    scontrol requeue "$job"
fi
exit "$status"
