#!/usr/bin/env bash
# Several configs and seeds in turn, each in a workdir of its own under one root.
#
#   launch/sweep.sh --configs=configs/cifar100_ce.py:short,configs/cifar100_reslt.py:short --seeds=0,1,2 [--root=runs/sweep] [--dry-run] [--config.KEY=VALUE ...]
#
#   --configs  with commas between them (a config with a comma of its own: give --configs once for each)
#   --seeds    0 without it
#   --dry-run  prints what would run; what is finished is not in it
#
# Everything else goes to every run. What is finished is skipped, what was interrupted goes on; a run that fails is
# named and the others go on, and the exit status is then 1. `python -m ltjax.table` makes the papers' tables this way.
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
    *) die "unexpected argument '$word'; settings are written --config.KEY=VALUE" ;;
  esac
done
((${#groups[@]})) || groups=(configs/inat_reslt.py)
[[ $seeds =~ ^[0-9]+(,[0-9]+)*$ ]] || die "--seeds=$seeds: numbers with commas between them, such as 0,1,2"
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
