#!/usr/bin/env bash
# A run on a TPU slice, from creating the slice to the result. The command can be repeated at any time.
#
#   launch/tpu_pod.sh --zone=ZONE --workdir=gs://BUCKET/DIR [--name=ltjax] [--type=v5litepod-256] [--version=RUNTIME]
#       [--project=ID] [--spot] [--delete] [--tries=100] [--dry-run] [--config=FILE] [--config.KEY=VALUE ...]
#
#   --name     the name of the slice, which is created unless it exists
#   --type     the accelerator type; --version its runtime (default v2-alpha-tpuv5-lite)
#   --spot     a slice that may be preempted
#   --delete   delete the slice when the run is finished
#   --tries    number of attempts to get a slice, a minute apart
#   --dry-run  prints what would run
#
# The committed files of this checkout are installed on every worker, and all of them start `python -m ltjax.main` with
# the other arguments (default: --config=configs/inat_reslt.py). The log is worker 0's; if another worker fails, its
# last lines are printed. When the slice is preempted, a new one is created and the run resumes from its
# last checkpoint in the bucket, so checkpoints (config.checkpoint.every_steps) should be minutes apart. Any other
# failure ends this command with the run's status. Ctrl-C leaves the run and the slice; the next start stops the run, which saves, and resumes it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
source "$here/common.sh"

PAUSE=${LTJAX_PAUSE:-60} # seconds between attempts
name=ltjax zone="" type=v5litepod-256 version=v2-alpha-tpuv5-lite project=() spot=() delete=false tries=100 workdir="" rest=()
for word in "$@"; do
  case $word in
    --help | -h) show_help ;;
    --dry-run) DRY_RUN=true ;;
    --name=*) name=${word#*=} ;;
    --zone=*) zone=${word#*=} ;;
    --type=*) type=${word#*=} ;;
    --version=*) version=${word#*=} ;;
    --project=*) project=("$word") ;;
    --spot) spot=(--spot) ;;
    --delete) delete=true ;;
    --tries=*) tries=${word#*=} ;;
    *)
      rest+=("$word")
      [[ $word != --workdir=* ]] || workdir=${word#*=}
      ;;
  esac
done
[[ ${rest[0]:-} != predict ]] || die "predict: a slice is for training; predict on one machine, or by local.sh, gpus.sh or slurm.sh"
[[ -n $zone ]] || die "--zone is missing: where the slice is, such as --zone=us-west4-a"
[[ $workdir == gs://* ]] || die "--workdir=$workdir: must be in a bucket (gs://...), which outlives the slice"
is_number "$tries" || die "--tries=$tries: an integer >= 1"
train_arguments "${rest[@]}"
$DRY_RUN || command -v gcloud >/dev/null || die "gcloud is not installed: https://cloud.google.com/sdk/docs/install"

where=("$name" "--zone=$zone" ${project[@]+"${project[@]}"})
slice() { # VERB ARGUMENTS...
  local verb=$1
  shift
  perform gcloud compute tpus tpu-vm "$verb" "${where[@]}" "$@"
}
on_all() { # COMMAND: in the shell of every worker
  slice ssh --worker=all "--command=$1"
}
state() { # READY, PREEMPTED, ...; NONE without a slice
  gcloud compute tpus tpu-vm describe "${where[@]}" '--format=value(state)' 2>/dev/null || echo NONE
}
create() {
  slice create "--accelerator-type=$type" "--version=$version" ${spot[@]+"${spot[@]}"}
}
install() { # the committed files, in an environment of its own: the image's Python may be older than 3.11
  local archive
  archive=/tmp/ltjax.tar.gz
  $DRY_RUN || archive=$(mktemp -d)/ltjax.tar.gz
  perform git -C "$here/.." archive --format=tar.gz "--output=$archive" HEAD &&
    perform gcloud compute tpus tpu-vm scp "$archive" "$name:ltjax.tar.gz" "${where[@]:1}" --worker=all &&
    on_all "rm -rf ltjax && mkdir ltjax && tar -xzf ltjax.tar.gz -C ltjax && python3 -m pip install -q uv && \
python3 -m uv venv -q --clear --python 3.12 ltjax-env && \
python3 -m uv pip install -q --python ltjax-env/bin/python './ltjax[train,tpu,gcs,images]'"
}
train() {
  on_all "cd ltjax && PYTHON=../ltjax-env/bin/python bash launch/tpu_worker.sh $(quoted "${TRAIN[@]}")"
}
if $DRY_RUN; then
  create
  install
  train
  if $delete; then slice delete --quiet; fi
  exit 0
fi

tried=0
again() { # REASON: after a pause, unless there were too many
  tried=$((tried + 1))
  ((tried < tries)) || die "slice '$name': $1; stopped after $tries attempts; run the command again or raise --tries"
  echo "slice '$name': $1; retrying in $PAUSE s" >&2
  sleep "$PAUSE"
}

installed=false
while true; do
  now=$(state)
  case $now in
    READY) ;;
    NONE)
      installed=false
      create || again "no slice is available"
      continue
      ;;
    PREEMPTED | TERMINATED)
      echo "slice '$name' is $now: deleting and recreating it" >&2
      slice delete --quiet || again "not deleted yet"
      continue
      ;;
    STOPPED | STOPPING | HIDING | HIDDEN) die "slice '$name' is $now; start it or delete it, or take another --name" ;;
    *)
      again "is $now"
      continue
      ;;
  esac
  $installed || install || { again "not installed" && continue; }
  installed=true
  if train; then break; fi
  now=$(state)
  if [[ $now != READY ]]; then
    echo "slice '$name' is $now: the run resumes on a new slice from its last checkpoint" >&2
    installed=false
    continue
  fi
  status=$(slice ssh --worker=0 '--command=cat ltjax.status' 2>/dev/null || echo 143)
  [[ $status == 143 ]] || { echo "error: the run ended with status $status" >&2 && exit "$status"; }
  again "the run was stopped by a signal or the connection was lost"
done
if $delete; then slice delete --quiet; fi
