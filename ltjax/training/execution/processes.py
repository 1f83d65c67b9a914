"""The processes of a run: what the environment's variables say of them, and how this one joins the others."""

import dataclasses
import os
import re
import sys
import threading
from collections.abc import Mapping

from ltjax.errors import InputError

COUNT, NUMBER, COORDINATOR = "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_ADDRESS"
LOCAL_DEVICES = "JAX_LOCAL_DEVICE_IDS"
ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
INTERACTIVE_STEP = ("4294967290", "interactive")  # the shell that salloc opens on the first node

REPORT_AFTER = 5.0  # seconds until a process that waits for others says so
START_TIMEOUT = 300.0  # seconds until it gives up


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of this run.

    Attributes:
      count: how many; 1 = this one alone.
      number: this one's, from 0.
      coordinator: HOST:PORT of process 0; "" = JAX finds it.
      method: the cluster detection of jax.distributed.initialize; None = JAX tries all that it has.
      devices: the numbers of this machine's GPUs that this process uses; None = all that it sees.
      source: the variables that this was read from, for errors.
      note: what the user should know of the decision.
    """

    count: int = 1
    number: int = 0
    coordinator: str = ""
    method: str | None = "deactivate"
    devices: tuple[int, ...] | None = None
    source: str = ""
    note: str = ""


def processes_of(environment: Mapping[str, str], has_tpu: bool = False) -> Processes:
    """Which processes make this run, by the variables of JAX, Slurm, MPI, torchrun, TPU pods and Kubernetes.

    JAX's own variables come before a launcher's; what they leave open is the launcher's.

    Args:
      environment: the variables; an empty one counts as not set.
      has_tpu: whether this machine has a TPU that JAX can use.

    Raises:
      InputError: one line that names the variable that is missing, has an impossible value or contradicts another.

    Example:
      >>> processes_of({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1"}).count
      1
    """
    given = {name: value for name, value in environment.items() if value.strip()}
    if _integer(given, COUNT, low=1) == 1:
        return Processes()
    _check_local_devices(given)
    launched = next((found for read in _LAUNCHERS if (found := read(given, has_tpu)) is not None), Processes())
    own = [name for name in (COUNT, NUMBER, COORDINATOR) if name in given]
    if own:
        return _with_own_variables(given, launched, own)
    if launched.count > 1 and launched.method == "deactivate":
        raise InputError(
            f"{launched.source}: it does not say where process 0 is; set {COORDINATOR}=HOST:PORT in every process (a "
            f"free port of the machine of process 0), or {COUNT}=1 for runs of one process"
        )
    return launched


def _with_own_variables(given: Mapping[str, str], launched: Processes, own: list[str]) -> Processes:
    """The launcher's processes, with what the variables ``own`` of JAX set."""
    known = launched.count > 1
    missing = [] if known else [name for name in (COUNT, NUMBER) if name not in given]
    index = "JOB_COMPLETION_INDEX"  # of an indexed job of Kubernetes
    if missing == [NUMBER] and index in given:
        missing = []
    if COORDINATOR not in given and launched.method == "deactivate":
        missing.append(COORDINATOR)
    if missing:
        raise InputError(
            f"{' and '.join(own)} {'is' if len(own) == 1 else 'are'} set, but not {' and '.join(missing)}: set "
            f"{COORDINATOR}, {COUNT} and {NUMBER} in every process, or none of them for one process"
        )
    count = _integer(given, COUNT, launched.count, low=1)
    number = _integer(given, NUMBER, launched.number if known else _integer(given, index))
    if number >= count:
        name = NUMBER if NUMBER in given else launched.source or index
        raise InputError(f"{name}: process {number} of {count} does not exist; number the processes from 0")
    address = given.get(COORDINATOR, "").strip()
    if address:
        _check_address(address)
    method = "deactivate" if address else launched.method
    source = f"{COORDINATOR}={address}" if address else launched.source
    return Processes(count, number, address, method, launched.devices, source)


def _slurm(given: Mapping[str, str], has_tpu: bool) -> Processes | None:
    """A task of srun; or an allocation whose process srun has not started: one process, if that is one machine."""
    job = "SLURM_JOB_ID"
    tasks, number = _integer(given, "SLURM_NTASKS", 1, low=1), _integer(given, "SLURM_PROCID")
    if job not in given and max(tasks, number + 1) == 1:
        return None
    interactive = given.get("SLURM_STEP_ID") in INTERACTIVE_STEP
    in_step = "SLURM_STEP_NODELIST" in given and not interactive
    if not in_step and not number and job in given:
        return _allocation(given, tasks)
    tasks = _integer(given, "SLURM_STEP_NUM_TASKS", tasks, low=1)
    if tasks == 1 and not number:
        return Processes()
    needed = (job, "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
    missing = [name for name in needed if name not in given]
    if missing:
        raise InputError(
            f"SLURM_NTASKS={tasks}, SLURM_PROCID={number}, but {' and '.join(missing)} {_is(missing)} not set: pass "
            f"all of Slurm's variables on to this process, or set {COUNT}=1 for a run of one process"
        )
    for name in (job, "JAX_COORDINATOR_PORT"):
        _integer(given, name)
    devices = _local(given, "SLURM_LOCALID", has_tpu)
    return _checked(Processes(tasks, number, "", "slurm", devices, f"SLURM_PROCID={number} of SLURM_NTASKS={tasks}"))


def _allocation(given: Mapping[str, str], tasks: int) -> Processes:
    """Inside salloc or sbatch, but not started by srun: no other process of this run is coming."""
    name = next((name for name in ("SLURM_JOB_NUM_NODES", "SLURM_NNODES") if name in given), "SLURM_NNODES")
    nodes = _integer(given, name, 1, low=1)
    if nodes > 1:
        raise InputError(
            f"{name}={nodes}, but srun has not started this process, so it would use one of {nodes} nodes: start it "
            f"with srun (launch/slurm.sh does), or set {COUNT}=1 to use this node alone"
        )
    note = f"SLURM_NTASKS={tasks}, but srun has not started this process: one process runs, with all devices it sees"
    return Processes(note=note if tasks > 1 else "")


def _open_mpi(given: Mapping[str, str], has_tpu: bool) -> Processes | None:
    """A process of Open MPI's mpirun. JAX finds process 0 by a variable that Open MPI 5 no longer sets."""
    found = _ranked(given, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", has_tpu)
    if found is None or "OMPI_MCA_orte_hnp_uri" not in given:
        return found
    if "OMPI_COMM_WORLD_LOCAL_RANK" not in given:
        raise InputError(f"{found.source}, but OMPI_COMM_WORLD_LOCAL_RANK is not set: start it with mpirun")
    return dataclasses.replace(found, method="ompi")


def _mpich(given: Mapping[str, str], has_tpu: bool) -> Processes | None:
    """A process of mpiexec of MPICH or Intel MPI."""
    return _ranked(given, "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", has_tpu)


def _torchrun(given: Mapping[str, str], has_tpu: bool) -> Processes | None:
    """A process of torchrun, or of a job that is set up as one."""
    if "TORCHELASTIC_RUN_ID" not in given and "MASTER_ADDR" not in given:
        return None
    return _ranked(given, "WORLD_SIZE", "RANK", "LOCAL_RANK", has_tpu)


def _ranked(given: Mapping[str, str], count: str, number: str, local: str, has_tpu: bool) -> Processes | None:
    """What three variables of a launcher say: how many processes, which one, and which one of its machine."""
    processes = _integer(given, count, 1, low=1)
    if processes == 1:
        return None
    if number not in given:
        raise InputError(
            f"{count}={processes}, but {number} is not set: start every process with the launcher, or set {COUNT}=1 "
            "for a run of one process"
        )
    this = _integer(given, number)
    source = f"{number}={this} of {count}={processes}"
    return _checked(Processes(processes, this, devices=_local(given, local, has_tpu), source=source))


def _tpu_pod(given: Mapping[str, str], has_tpu: bool) -> Processes | None:
    """A worker of a TPU pod, by the variables of its machine."""
    name = next((n for n in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES") if n in given), "TPU_WORKER_HOSTNAMES")
    workers, slices = len(given.get(name, "").split(",")), _integer(given, "MEGASCALE_NUM_SLICES", 1, low=1)
    if workers * slices == 1 or given.get("JAX_PLATFORMS", "tpu") not in ("tpu", "tpu,cpu"):
        return None
    source = f"{name} with {workers} workers" if workers > 1 else f"MEGASCALE_NUM_SLICES={slices}"
    if not has_tpu:
        raise InputError(
            f"{source}, but this machine has no TPU that JAX can use: pip install 'ltjax[tpu]' on a TPU machine, or "
            f"set JAX_PLATFORMS=cpu, or {COUNT}=1"
        )
    needed = (["TPU_WORKER_ID"] if workers > 1 else []) + (["MEGASCALE_SLICE_ID"] if slices > 1 else [])
    missing = [one for one in needed if one not in given]
    if missing:
        raise InputError(f"{source}, but {' and '.join(missing)} {_is(missing)} not set: set it in every process")
    number = _integer(given, "TPU_WORKER_ID") + _integer(given, "MEGASCALE_SLICE_ID") * workers
    return _checked(Processes(workers * slices, number, "", None, None, source))


def _kubernetes(given: Mapping[str, str], has_tpu: bool) -> Processes | None:
    """A pod of an indexed job: its variables do not say how many there are, or whether they make one run."""
    del has_tpu
    index = given.get("JOB_COMPLETION_INDEX")
    if index is None or "KUBERNETES_SERVICE_HOST" not in given:
        return None
    return Processes(
        note=f"JOB_COMPLETION_INDEX={index}: this pod makes a run of its own; for one run of all pods set {COUNT} and "
        f"{COORDINATOR}"
    )


# The first one that has started this process.
_LAUNCHERS = (_open_mpi, _slurm, _mpich, _torchrun, _tpu_pod, _kubernetes)


def _local(given: Mapping[str, str], name: str, has_tpu: bool) -> tuple[int, ...] | None:
    """One GPU for each process of a machine: the one of its number, or the only one that it sees."""
    if name not in given or LOCAL_DEVICES in given or has_tpu:
        return None
    number = _integer(given, name)
    visible = given.get("CUDA_VISIBLE_DEVICES", "")
    return (0,) if visible and "," not in visible else (number,)


def _checked(found: Processes) -> Processes:
    if found.number >= found.count:
        raise InputError(f"{found.source}: process {found.number} of {found.count} does not exist; they count from 0")
    return found


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _integer(given: Mapping[str, str], name: str, default: int = 0, low: int = 0) -> int:
    """The variable as an integer; ``default`` if it is not set."""
    text = given.get(name, str(default)).strip()
    if not re.fullmatch("[0-9]{1,18}", text) or (int(text) < low and name in given):
        raise InputError(f"{name}={given[name][:100]}: impossible value; allowed: an integer >= {low}")
    return int(text)


def _check_address(address: str) -> None:
    found = ADDRESS.fullmatch(address)
    if found is None or not 1 <= int(found[2]) <= 65535:
        raise InputError(f"{COORDINATOR}={address[:200]}: impossible value; allowed: HOST:PORT, such as 10.0.0.1:8476")


def _check_local_devices(given: Mapping[str, str]) -> None:
    value = given.get(LOCAL_DEVICES, "0")
    if not re.fullmatch("[0-9]{1,6}(,[0-9]{1,6})*", value):
        raise InputError(f"{LOCAL_DEVICES}={value[:100]}: impossible value; allowed: numbers with commas, such as 0,1")


def this_run() -> Processes:
    """What the environment of this process says.

    Raises:
      InputError: as ``processes_of``.
    """
    from ltjax.training.execution.cpu_flags import has_usable_tpu

    return processes_of(os.environ, has_usable_tpu())


def join_processes(processes: Processes, timeout: float = START_TIMEOUT, report_after: float = REPORT_AFTER) -> None:
    """Calls jax.distributed.initialize when there are several processes; once, before any device is touched.

    JAX's own wait is silent, cannot be interrupted, and ends with an abort of the process: it runs in a thread, while
    this one reports after ``report_after`` seconds and ends the process after ``timeout`` seconds, with one line.

    Raises:
      InputError: if process 0 cannot open the port.
    """
    if processes.count == 1:
        return
    import jax

    failed: list[BaseException] = []

    def initialize() -> None:
        try:
            jax.distributed.initialize(
                processes.coordinator or None,
                num_processes=processes.count,
                process_id=processes.number,
                local_device_ids=processes.devices,
                cluster_detection_method=processes.method,
                initialization_timeout=round(timeout) + 60,
            )
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=initialize, name="ltjax-join", daemon=True)
    thread.start()
    try:
        thread.join(report_after)
        if thread.is_alive():
            print(f"{_waiting(processes, 'waits')}; gives up after {timeout:g} s", file=sys.stderr, flush=True)
            thread.join(max(0.0, timeout - report_after))
    except KeyboardInterrupt:
        _end("stopped by SIGINT; there was no work to save", 130)
    if thread.is_alive():
        _end(
            f"error: {_waiting(processes, 'waited')} and gave up after {timeout:g} s; check that all processes "
            "run, with the same address, and that the network lets them reach it",
            1,
        )
    if failed:
        _explain(failed[0], processes)


def _waiting(processes: Processes, verb: str) -> str:
    """What this process waits for."""
    this, last = f"process {processes.number} of {processes.count} ({processes.source})", processes.count - 1
    place = f" at {processes.coordinator}" if processes.coordinator else ""
    if processes.number:
        return f"{this} {verb} for process 0{place}"
    return f"{this} {verb}{place} for {'process 1' if last == 1 else f'processes 1 to {last}'}"


def _explain(error: BaseException, processes: Processes) -> None:
    text = " ".join(str(error).split())
    if "RPC server" in text:
        raise InputError(
            f"{processes.source}: process 0 cannot open this port ({text}); choose a free port of its machine, the "
            "same for all processes"
        ) from error
    if isinstance(error, ValueError | RuntimeError):
        raise InputError(
            f"{processes.source}: the {processes.count} processes cannot join: {text}; set {COORDINATOR}, {COUNT} and "
            f"{NUMBER} in every process"
        ) from error
    raise error


def _end(line: str, status: int) -> None:
    """Ends the process at once: the thread that waits inside JAX cannot be stopped, and would delay an orderly exit."""
    print(line, file=sys.stderr, flush=True)
    os._exit(status)
