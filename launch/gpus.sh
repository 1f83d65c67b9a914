#!/usr/bin/env bash
# Trains on all GPUs of this machine, or on some of them.
#
#   launch/gpus.sh [--gpus=0,1,2,3] [--each] [--dry-run] [--config=FILE] [--workdir=DIR] [--config.KEY=VALUE ...]
#
#   --gpus=LIST  the GPU numbers; default: all that nvidia-smi lists
#   --each       one process per GPU instead of one for all; faster if the host is the bottleneck (each process reads
#                and decodes a part of the images)
#   --dry-run    prints what would run
#
# All other arguments go to `python -m ltjax.main` (default: --config=configs/inat_reslt.py), or those behind the word
# predict to `python -m ltjax.predict`. The batch is over all GPUs.
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
  command -v nvidia-smi >/dev/null || die "nvidia-smi is not installed, so the GPUs cannot be counted; give them as --gpus=0,1"
  gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -s -d, -)
fi
[[ $gpus =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--gpus=$gpus: give numbers separated by commas, such as 0,1"
train_arguments ${rest[@]+"${rest[@]}"}
if $each; then
  if $DRY_RUN; then TRAIN+=(--dry-run); fi
  if [[ $PROGRAM == ltjax.predict ]]; then TRAIN=(predict "${TRAIN[@]}"); fi
  exec "$here/local.sh" "--gpus=$gpus" "${TRAIN[@]}"
fi
export CUDA_VISIBLE_DEVICES=$gpus
if $DRY_RUN; then
  quoted env "CUDA_VISIBLE_DEVICES=$gpus" "$PYTHON" -m "$PROGRAM" "${TRAIN[@]}"
else
  exec "$PYTHON" -m "$PROGRAM" "${TRAIN[@]}"
fi
