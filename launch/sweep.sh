#!/usr/bin/env bash
# Trains several configs and seeds one after another, each in a separate workdir under one root.
#
#   launch/sweep.sh --configs=configs/cifar100_ce.py:short,configs/cifar100_reslt.py:short --seeds=0,1,2 [--root=runs/sweep] [--dry-run] [--config.KEY=VALUE ...]
#
#   --configs  separated by commas (if a config contains a comma, repeat --configs instead)
#   --seeds    separated by commas (default 0)
#   --dry-run  prints what would run, without finished runs
#
# All other arguments go to every run. Finished runs are skipped and interrupted ones resume; a run that fails is
# reported, the others continue, and the exit status is 1. `python -m ltjax.table` makes the papers' tables this way.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
source "$here/common.sh"

groups=() seeds=0 root=runs/sweep rest=()
for word in "$@"; do
  case $word in
    --help | -h) show_help ;;
    --dry-run) DRY_RUN=true ;;
    --configs=*) groups+=("${word#*=}") ;;
    --seeds=*) seeds=${word#*=} ;;
    --root=*) root=${word#*=} ;;
    --config=* | --workdir=* | --config.seed=*) die "$word: a sweep takes --configs, --root and --seeds" ;;
    --*) rest+=("$word") ;;
    *) die "unexpected argument '$word'; write settings as --config.KEY=VALUE" ;;
  esac
done
((${#groups[@]})) || groups=(configs/inat_reslt.py)
[[ $seeds =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--seeds=$seeds: give numbers separated by commas, such as 0,1,2"
configs=()
if ((${#groups[@]} == 1)); then IFS=, read -r -a configs <<<"${groups[0]}"; else configs=("${groups[@]}"); fi
IFS=, read -r -a numbers <<<"$seeds"

failed=0
for config in "${configs[@]}"; do
  file=${config%%:*}
  stem=${file##*/}
  stem=${stem%.py}
  if [[ $config == *:* ]]; then
    words=${config#*:}
    stem+=_${words//[^a-zA-Z0-9_.]/_}
  fi
  for seed in "${numbers[@]}"; do
    workdir=$root/$stem/seed$seed
    if [[ -f $workdir/results.json ]]; then
      $DRY_RUN || echo "$workdir: finished" >&2
      continue
    fi
    status=0
    perform "$PYTHON" -m ltjax.main "--config=$config" "--workdir=$workdir" "--config.seed=$seed" \
      ${rest[@]+"${rest[@]}"} || status=$?
    if ((status == 130 || status == 143)); then exit "$status"; fi # stopped by a signal; the state is saved
    if ((status)); then
      echo "error: $workdir ended with status $status" >&2
      failed=1
    fi
  done
done
exit "$failed"
