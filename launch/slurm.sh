#!/usr/bin/env bash
# A Slurm job with one task per GPU. Submit it from the root of the project:
#
#   sbatch --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 --time=24:00:00 launch/slurm.sh [--config=FILE] [--workdir=DIR] [--config.KEY=VALUE ...]
#
#   --dry-run    (without sbatch) prints what the job would run
#
# The processes find one another by Slurm's own variables. With one task a node (--ntasks-per-node=1) each takes all
# GPUs of its node. Two minutes before the time limit the run saves and the job is queued again; after a preemption
# Slurm queues it again by itself (--requeue, where the partition has PreemptMode=REQUEUE). It then resumes.
# scancel stops it.
#SBATCH --job-name=ltjax
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
set -euo pipefail
# sbatch runs a copy of this file that lies elsewhere
here=${SLURM_SUBMIT_DIR:+$SLURM_SUBMIT_DIR/launch}
here=${here:-$(cd "$(dirname "$0")" && pwd)}
[[ -f $here/common.sh ]] || { echo "error: no $here/common.sh; submit from the root of the project" >&2 && exit 2; }
# shellcheck source=launch/common.sh
source "$here/common.sh"

rest=()
for word in "$@"; do
  case $word in
    --help | -h) show_help ;;
    --dry-run) DRY_RUN=true ;;
    *) rest+=("$word") ;;
  esac
done
train_arguments ${rest[@]+"${rest[@]}"}
$DRY_RUN || [[ -n ${SLURM_JOB_ID:-} ]] || die "not inside a Slurm job; submit it: sbatch --nodes=1 --ntasks-per-node=8 --gpus-per-node=8 $0"

step=(srun --kill-on-bad-exit=1)
tasks=${SLURM_NTASKS_PER_NODE:-${SLURM_TASKS_PER_NODE:-1}} gpus=${SLURM_GPUS_ON_NODE:-1}
if [[ ${tasks%%(*} == 1 && $gpus =~ ^[0-9]+$ ]] && ((gpus > 1)); then # JAX gives a task one GPU unless it is told
  step+=(env "JAX_LOCAL_DEVICE_IDS=$(seq -s, 0 $((gpus - 1)))")
fi
step+=("$PYTHON" -u -m "$PROGRAM" "${TRAIN[@]}")
if $DRY_RUN; then
  quoted "${step[@]}"
  exit 0
fi

srun_pid="" late=false told=false
stop() { # the step, or as soon as there is one
  if [[ -n $srun_pid ]]; then kill -TERM "$srun_pid" 2>/dev/null || true; else told=true; fi
}
trap 'late=true; stop' USR1
trap stop TERM
"${step[@]}" &
srun_pid=$!
if $told; then stop; fi # a signal came before its number was known
while true; do # a trap ends the wait, not the step
  status=0
  wait "$srun_pid" || status=$?
  kill -0 "$srun_pid" 2>/dev/null || break
done
if $late && ((status)); then
  echo "slurm.sh: the time limit is near (status $status); the job is queued again" >&2
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
