#!/usr/bin/env bash
# All GPUs of this machine, or some of them.
#
#   launch/gpus.sh [--gpus=0,1,2,3] [--each] [--dry-run] [--config=FILE] [--workdir=DIR] [--config.KEY=VALUE ...]
#
#   --gpus=LIST  their numbers; all that nvidia-smi names without it
#   --each       a process for each GPU instead of one process for all: when the host is what is slow (every process
#                reads and decodes its own share of the images)
#   --dry-run    prints what would run
#
# Everything else goes to `python -m ltjax.main` (default: --config=configs/inat_reslt.py). The batch is over all GPUs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
source "$here/common.sh"

gpus="" each=false rest=()
for word in "$@"; do
  case $word in
    --help | -h) show_help ;;
    --dry-run) DRY_RUN=true ;;
    --each) each=true ;;
    --gpus=*) gpus=${word#*=} ;;
    *) rest+=("$word") ;;
  esac
done
if [[ -z $gpus ]]; then
  command -v nvidia-smi >/dev/null || die "no nvidia-smi here to count the GPUs; give them with --gpus=0,1"
  gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -s -d, -)
fi
[[ $gpus =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--gpus=$gpus: numbers with commas between them, such as 0,1"
train_arguments ${rest[@]+"${rest[@]}"}
if $each; then
  if $DRY_RUN; then TRAIN+=(--dry-run); fi
  exec "$here/local.sh" "--gpus=$gpus" "${TRAIN[@]}"
fi
export CUDA_VISIBLE_DEVICES=$gpus
if $DRY_RUN; then
  quoted env "CUDA_VISIBLE_DEVICES=$gpus" "$PYTHON" -m ltjax.main "${TRAIN[@]}"
else
  exec "$PYTHON" -m ltjax.main "${TRAIN[@]}"
fi
