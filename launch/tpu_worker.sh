#!/usr/bin/env bash
# One worker of a TPU slice: tpu_pod.sh runs it on all of them, with the arguments of `python -m ltjax.main`.
#
# Worker 0 prints its log; another worker prints only the end of its log if it fails. All logs are in ~/ltjax.log.
set -euo pipefail
log=$HOME/ltjax.log mark=$HOME/ltjax.pid result=$HOME/ltjax.status
PYTHON=${PYTHON:-python3}

metadata() { # NAME: an attribute of the slice
  curl -sf -H 'Metadata-Flavor: Google' \
    "http://${GCE_METADATA_IP:-metadata.google.internal}/computeMetadata/v1/instance/attributes/$1"
}

number=$(metadata agent-worker-number)
IFS=, read -r -a workers < <(metadata worker-network-endpoints && echo)
if ((${#workers[@]} > 1)); then # a name or name:id:address each, in the workers' order
  export JAX_NUM_PROCESSES=${#workers[@]} JAX_PROCESS_ID=$number JAX_COORDINATOR_ADDRESS=${workers[0]##*:}:8476
fi

if [[ -f $mark ]]; then # a run whose connection was lost: it saves and ends before this one takes the chips
  before=$(<"$mark")
  kill -TERM "$before" 2>/dev/null || true
  while kill -0 "$before" 2>/dev/null; do sleep 1; done
fi

rm -f "$result"
if [[ $number == 0 ]]; then
  "$PYTHON" -u -m ltjax.main "$@" > >(tee -a "$log") 2>&1 &
else
  "$PYTHON" -u -m ltjax.main "$@" >>"$log" 2>&1 &
fi
echo $! >"$mark"
status=0
wait $! || status=$?
rm -f "$mark"
echo "$status" >"$result"
if ((status)) && [[ $number != 0 ]]; then
  tail -n 20 "$log" | sed "s/^/[worker $number] /"
fi
exit "$status"
