# shellcheck shell=bash
# Functions shared by the launch scripts. Sourced, not run.

PYTHON=${PYTHON:-python}
DRY_RUN=false
PROGRAM=ltjax.main # or ltjax.predict, where the first argument is the word predict
TRAIN=()            # its arguments

die() { # one line, exit status 2
  echo "error: $*" >&2
  exit 2
}

show_help() { # the comment at the head of the script that is run
  sed -n -e '/^#SBATCH/d' -e '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
}

train_arguments() { # ARGUMENTS...: into PROGRAM and TRAIN, with the flagship config and a workdir of its name unless they are given
  local word config="" workdir=""
  if [[ ${1:-} == predict ]]; then
    # shellcheck disable=SC2034  # read by the scripts
    PROGRAM=ltjax.predict TRAIN=("${@:2}")
    return
  fi
  for word in "$@"; do
    case $word in
      --config=*) config=${word#--config=} ;;
      --workdir=*) workdir=${word#--workdir=} ;;
      --*) ;;
      *) die "unexpected argument '$word'; write settings as --config.KEY=VALUE" ;;
    esac
  done
  TRAIN=()
  if [[ -z $config ]]; then
    config=configs/inat_reslt.py
    TRAIN+=("--config=$config")
  fi
  TRAIN+=("$@")
  if [[ -z $workdir ]]; then
    workdir=${config%%:*}
    workdir=${workdir##*/}
    TRAIN+=("--workdir=runs/${workdir%.py}")
  fi
}

quoted() { # WORDS...: one line that a shell reads back as these words
  local line
  printf -v line '%q ' "$@"
  echo "${line% }"
}

perform() { # COMMAND...: runs it; with --dry-run it is only printed
  if $DRY_RUN; then quoted "$@"; else "$@"; fi
}

is_number() { # VALUE: an integer of at least 1
  [[ $1 =~ ^[1-9][0-9]*$ ]]
}
