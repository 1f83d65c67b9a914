#!/usr/bin/env bash
# Runs several processes of one run on this machine, over loopback, to try out what a cluster does.
#
#   launch/local.sh [--processes=2] [--gpus=0,1] [--port=N] [--dry-run] [--config=FILE] [--workdir=DIR] [--config.KEY=VALUE ...]
#
#   --processes=N  number of processes, on the CPU (default 2)
#   --gpus=LIST    one process per GPU of this list instead
#   --port=N       port of the coordinator (default: a free one)
#   --dry-run      prints what would run
#
# All other arguments go to `python -m ltjax.main` (default: --config=configs/inat_reslt.py), or those behind the word
# predict to `python -m ltjax.predict` (launch/local.sh predict --run=DIR IMAGES --out=FILE). All logs are
# printed with the number of the process. Ctrl-C and SIGTERM go to all processes, which save and stop. When one fails,
# the others are stopped, and the exit status is that of the failed one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=launch/common.sh
source "$here/common.sh"

GRACE=${LTJAX_GRACE:-10} # seconds that the others have to end when one has failed

count=2 port="" gpus=() rest=()
for word in "$@"; do
  case $word in
    --help | -h) show_help ;;
    --dry-run) DRY_RUN=true ;;
    --processes=*) count=${word#*=} ;;
    --port=*) port=${word#*=} ;;
    --gpus=*) IFS=, read -r -a gpus <<<"${word#*=}" ;;
    *) rest+=("$word") ;;
  esac
done
[[ ${#gpus[@]} == 0 ]] || count=${#gpus[@]}
is_number "$count" || die "--processes=$count: an integer >= 1"
[[ -z $port ]] || is_number "$port" || die "--port=$port: an integer >= 1"
train_arguments ${rest[@]+"${rest[@]}"}
if [[ -z $port ]]; then
  port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
fi

command_of() { # NUMBER: into COMMAND
  COMMAND=(env "JAX_NUM_PROCESSES=$count" "JAX_PROCESS_ID=$1" "JAX_COORDINATOR_ADDRESS=127.0.0.1:$port" PYTHONUNBUFFERED=1)
  if [[ ${#gpus[@]} == 0 ]]; then COMMAND+=(JAX_PLATFORMS=cpu); else COMMAND+=("CUDA_VISIBLE_DEVICES=${gpus[$1]}"); fi
  COMMAND+=("$PYTHON" -m "$PROGRAM" "${TRAIN[@]}")
}

if $DRY_RUN; then
  for ((i = 0; i < count; i++)); do
    command_of "$i"
    quoted "${COMMAND[@]}"
  done
  exit 0
fi

prefixed() { # NUMBER: every line of the input with it
  local line
  while IFS= read -r line || [[ -n $line ]]; do printf '[%s] %s\n' "$1" "$line"; done
}

pids=() printers=() told=0 heard=0
scratch=$(mktemp -d)
trap '[[ ${BASHPID:-$$} != "$$" ]] || rm -rf "$scratch"' EXIT # not from a child that a signal ends as it is forked

tell() { # SIGNAL [FIRST]: to all that still run, or to those from this one on
  local pid
  for pid in "${pids[@]:${2:-0}}"; do kill "-$1" "$pid" 2>/dev/null || true; done
}
trap 'told=130 heard=${#pids[@]}; tell INT' INT
trap 'told=143 heard=${#pids[@]}; tell TERM' TERM

exec 3>&2 2>/dev/null # the shell would say of every process that a signal ended it
set -m # every process in a group of its own: a Ctrl-C comes here, and from here to each of them once
for ((i = 0; i < count && !told; i++)); do
  command_of "$i"
  mkfifo "$scratch/$i" 2>&3
  prefixed "$i" <"$scratch/$i" &
  printers+=($!)
  exec 4>"$scratch/$i" # here and not in the process: one that ends before it has opened it leaves its printer waiting
  "${COMMAND[@]}" >&4 2>&1 4>&- &
  pids+=($!)
  exec 4>&-
done
set +m
again="" deadline=""
if ((told)); then # a signal came while they were started: those that it did not find hear of it now
  count=${#pids[@]}
  if ((told == 130)); then tell INT "$heard"; else tell TERM "$heard"; fi
  ((count)) || exit "$told"
  again=$((SECONDS + 1)) # one that was just being forked loses it; none has anything to save yet
fi

status_of() { # PID: waits for it; into STATUS
  STATUS=0
  wait "$1" 2>/dev/null || STATUS=$?
}

any_alive() {
  local pid
  for pid in "${pids[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then return 0; fi
  done
  return 1
}

failed=0 over=()
while any_alive; do
  for ((i = 0; i < count; i++)); do
    if [[ -z ${over[$i]:-} ]] && ! kill -0 "${pids[$i]}" 2>/dev/null; then
      status_of "${pids[$i]}"
      over[i]=$STATUS
      if ((STATUS && !failed)); then
        failed=$STATUS
        if ((!told)) && any_alive; then
          echo "error: process $i ended with status $STATUS; stopping the others" >&3
          tell TERM
          deadline=$((SECONDS + GRACE))
        fi
      fi
    fi
  done
  if [[ -n $again ]] && ((SECONDS >= again)); then
    tell TERM
    again="" deadline=$((SECONDS + GRACE))
  fi
  if [[ -n $deadline ]] && ((SECONDS >= deadline)); then
    tell KILL
    deadline=""
  fi
  sleep 0.2 || true
done
for ((i = 0; i < count; i++)); do # those that ended together
  if [[ -z ${over[$i]:-} ]]; then
    status_of "${pids[$i]}"
    ((failed)) || failed=$STATUS
  fi
done
wait "${printers[@]}" 2>/dev/null || true
exit "$failed"
