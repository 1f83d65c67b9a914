"""The variables of a distributed run, whole and half set: one process, several, or one line that names the variable."""

import os
import random
import socket
import subprocess
import sys

import pytest

from ltjax.errors import InputError
from ltjax.training.execution.processes import Processes, processes_of
from tests.shared import ROOT

OWN = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:8476", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
ALLOCATION = {
    "SLURM_JOB_ID": "71", "SLURM_JOBID": "71", "SLURM_JOB_NUM_NODES": "1", "SLURM_NNODES": "1", "SLURM_NTASKS": "8",
    "SLURM_NPROCS": "8", "SLURM_TASKS_PER_NODE": "8", "SLURM_JOB_NODELIST": "node1", "SLURM_NODELIST": "node1",
}  # fmt: skip
BATCH = ALLOCATION | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_GTIDS": "0"}
TWO_NODES = {"SLURM_JOB_NUM_NODES": "2", "SLURM_NNODES": "2", "SLURM_TASKS_PER_NODE": "4(x2)"}
STEP = BATCH | TWO_NODES | {
    "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "node[1-2]", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
}  # fmt: skip
INTERACTIVE = BATCH | {
    "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NODELIST": "node1", "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_NUM_NODES": "1",
}  # fmt: skip
MPI5 = {
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "2",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "PMIX_RANK": "2", "PMIX_NAMESPACE": "prterun-host-7@1",
}  # fmt: skip
MPI4 = MPI5 | {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911"}
TORCHRUN = {
    "WORLD_SIZE": "4", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
POD = {"TPU_WORKER_HOSTNAMES": "a,b,c,d", "TPU_WORKER_ID": "2"}
INDEXED = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
ADDRESS = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:8476"}


def without(variables, *names):
    return {name: value for name, value in variables.items() if name not in names}


# variables -> (count, number, coordinator, method, devices)
JOINED = {
    "JAX's own": (OWN, (4, 3, "10.0.0.1:8476", "deactivate", None)),
    "a coordinator by IPv6": (
        OWN | {"JAX_COORDINATOR_ADDRESS": "[::1]:80"},
        (4, 3, "[::1]:80", "deactivate", None),
    ),
    "a task of srun": (STEP, (8, 5, "", "slurm", (1,))),
    "a step of two tasks in an allocation of eight": (
        STEP | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"},
        (2, 1, "", "slurm", (1,)),
    ),
    "srun of an old Slurm": (without(STEP, "SLURM_STEP_NUM_TASKS"), (8, 5, "", "slurm", (1,))),
    "a task that sees one GPU": (STEP | {"CUDA_VISIBLE_DEVICES": "3"}, (8, 5, "", "slurm", (0,))),
    "a task whose devices are given": (STEP | {"JAX_LOCAL_DEVICE_IDS": "2,3"}, (8, 5, "", "slurm", None)),
    "srun with a coordinator": (STEP | ADDRESS, (8, 5, "10.0.0.1:8476", "deactivate", (1,))),
    "Slurm's come before torchrun's": (STEP | TORCHRUN, (8, 5, "", "slurm", (1,))),
    "Open MPI 4": (MPI4, (4, 2, "", "ompi", (2,))),
    "mpirun in an allocation of one node": (BATCH | MPI4, (4, 2, "", "ompi", (2,))),
    "mpirun in an allocation of two nodes": (BATCH | TWO_NODES | MPI4, (4, 2, "", "ompi", (2,))),
    "mpirun whose daemons srun has started": (STEP | {"SLURM_STEP_NUM_TASKS": "1"} | MPI4, (4, 2, "", "ompi", (2,))),
    "Open MPI 5 with a coordinator": (MPI5 | ADDRESS, (4, 2, "10.0.0.1:8476", "deactivate", (2,))),
    "torchrun with a coordinator": (TORCHRUN | ADDRESS, (4, 1, "10.0.0.1:8476", "deactivate", (1,))),
    "JAX's own inside torchrun": (TORCHRUN | OWN, (4, 3, "10.0.0.1:8476", "deactivate", (1,))),
    "mpiexec of MPICH": (
        {"PMI_SIZE": "2", "PMI_RANK": "1"} | ADDRESS,
        (2, 1, "10.0.0.1:8476", "deactivate", None),
    ),
    "a TPU pod": (POD, (4, 2, "", None, None)),
    "two TPU slices": (POD | {"MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1"}, (8, 6, "", None, None)),
    "an indexed job, its index": (
        INDEXED | without(OWN, "JAX_PROCESS_ID"),
        (4, 1, "10.0.0.1:8476", "deactivate", None),
    ),
}
# variables -> words of the note
ALONE = {
    "nothing": ({}, ""),
    "empty variables": (dict.fromkeys([*OWN, *STEP], ""), ""),
    "one process by JAX's": ({"JAX_NUM_PROCESSES": "1"}, ""),
    "one process inside a broken step": ({"JAX_NUM_PROCESSES": "1"} | without(STEP, "SLURM_JOB_ID"), ""),
    "salloc on one node": (ALLOCATION, "SLURM_NTASKS=8"),
    "salloc without tasks": (without(ALLOCATION, "SLURM_NTASKS"), ""),
    "the shell that salloc opens": (INTERACTIVE, "SLURM_NTASKS=8"),
    "a batch script without srun": (BATCH, "SLURM_NTASKS=8, but srun has not started this process"),
    "srun -n 1": (STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, ""),
    "mpirun -n 1": ({"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, ""),
    "torchrun of one": (TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}, ""),
    "a WORLD_SIZE of something else": ({"WORLD_SIZE": "4"}, ""),
    "one TPU machine": ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, ""),
    "a pod of TPUs, computing on CPUs": (POD | {"JAX_PLATFORMS": "cpu"}, ""),
    "an indexed job": (INDEXED, "JOB_COMPLETION_INDEX=1"),
    "a pod of Kubernetes": ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ""),
}
# variables -> words that the line must have
REFUSED = {
    "no coordinator": (without(OWN, "JAX_COORDINATOR_ADDRESS"), ["not JAX_COORDINATOR_ADDRESS"]),
    "no process id": (without(OWN, "JAX_PROCESS_ID"), ["not JAX_PROCESS_ID"]),
    "no count": (without(OWN, "JAX_NUM_PROCESSES"), ["not JAX_NUM_PROCESSES"]),
    "only a coordinator": (ADDRESS, ["not JAX_NUM_PROCESSES and JAX_PROCESS_ID"]),
    "only a process id": ({"JAX_PROCESS_ID": "0"}, ["not JAX_NUM_PROCESSES and JAX_COORDINATOR_ADDRESS"]),
    "a count in words": (OWN | {"JAX_NUM_PROCESSES": "four"}, ["JAX_NUM_PROCESSES=four", ">= 1"]),
    "a count of none": (OWN | {"JAX_NUM_PROCESSES": "0"}, ["JAX_NUM_PROCESSES=0", ">= 1"]),
    "an Arabic digit": (OWN | {"JAX_PROCESS_ID": "\u0663"}, ["JAX_PROCESS_ID"]),
    "a process beyond the last": (OWN | {"JAX_PROCESS_ID": "4"}, ["JAX_PROCESS_ID: process 4 of 4"]),
    "a coordinator without a port": (OWN | {"JAX_COORDINATOR_ADDRESS": "host"}, ["=host", "HOST:PORT"]),
    "a coordinator as a URL": (OWN | {"JAX_COORDINATOR_ADDRESS": "http://host:80"}, ["HOST:PORT"]),
    "a port that is none": (OWN | {"JAX_COORDINATOR_ADDRESS": "host:65536"}, ["HOST:PORT"]),
    "devices in words": (OWN | {"JAX_LOCAL_DEVICE_IDS": "all"}, ["JAX_LOCAL_DEVICE_IDS=all", "0,1"]),
    "salloc on two nodes": (ALLOCATION | TWO_NODES, ["SLURM_JOB_NUM_NODES=2", "srun", "JAX_NUM_PROCESSES=1"]),
    "a batch script without srun on two nodes": (BATCH | TWO_NODES, ["SLURM_JOB_NUM_NODES=2", "srun"]),
    "the shell of salloc on two nodes": (INTERACTIVE | TWO_NODES, ["SLURM_JOB_NUM_NODES=2"]),
    "tasks of each node for tasks": (STEP | {"SLURM_STEP_NUM_TASKS": "4(x2)"}, ["SLURM_STEP_NUM_TASKS=4(x2)"]),
    "tasks of each node for all": (ALLOCATION | {"SLURM_NTASKS": "4(x2)"}, ["SLURM_NTASKS=4(x2)"]),
    "a container with half of Slurm's": (
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "3"},
        ["SLURM_JOB_ID and SLURM_STEP_NODELIST and SLURM_LOCALID are not set"],
    ),
    "a step without its nodes": (without(STEP, "SLURM_STEP_NODELIST"), ["SLURM_STEP_NODELIST is not set"]),
    "a step without its task": (without(STEP, "SLURM_LOCALID"), ["SLURM_LOCALID is not set"]),
    "a task beyond the last": (STEP | {"SLURM_PROCID": "8"}, ["SLURM_PROCID=8 of SLURM_NTASKS=8"]),
    "Open MPI 5": (MPI5, ["OMPI_COMM_WORLD_SIZE=4", "JAX_COORDINATOR_ADDRESS"]),
    "Open MPI without a rank": (without(MPI4, "OMPI_COMM_WORLD_RANK"), ["OMPI_COMM_WORLD_RANK is not set"]),
    "Open MPI 4 without a local rank": (without(MPI4, "OMPI_COMM_WORLD_LOCAL_RANK"), ["OMPI_COMM_WORLD_LOCAL_RANK"]),
    "mpiexec": ({"PMI_SIZE": "2", "PMI_RANK": "1"}, ["PMI_SIZE=2", "JAX_COORDINATOR_ADDRESS"]),
    "torchrun": (TORCHRUN, ["WORLD_SIZE=4", "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES=1"]),
    "torchrun without a rank": (without(TORCHRUN, "RANK"), ["RANK is not set"]),
    "a TPU pod without a number": (without(POD, "TPU_WORKER_ID"), ["TPU_WORKER_ID is not set"]),
    "slices without a number": (POD | {"MEGASCALE_NUM_SLICES": "2"}, ["MEGASCALE_SLICE_ID is not set"]),
    "a worker beyond the last": (POD | {"TPU_WORKER_ID": "4"}, ["process 4 of 4"]),
}


@pytest.mark.parametrize("variables, expected", JOINED.values(), ids=JOINED)
def test_whole_sets_of_variables_make_several_processes(variables, expected):
    found = processes_of(variables, has_tpu="TPU_WORKER_ID" in variables)
    assert (found.count, found.number, found.coordinator, found.method, found.devices) == expected


@pytest.mark.parametrize("variables, note", ALONE.values(), ids=ALONE)
def test_variables_that_no_other_process_belongs_to_make_one(variables, note):
    found = processes_of(variables)
    assert found == Processes(note=found.note) and note in found.note and bool(note) == bool(found.note)


@pytest.mark.parametrize("variables, words", REFUSED.values(), ids=REFUSED)
def test_half_set_variables_are_one_line_that_names_them(variables, words):
    with pytest.raises(InputError) as error:
        processes_of(variables, has_tpu=True)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_pod_without_its_tpu_is_refused():
    with pytest.raises(InputError, match="no TPU that JAX can use"):
        processes_of(POD, has_tpu=False)


def test_every_part_of_the_variables_has_an_answer():
    rng = random.Random(0)
    for variables in (OWN | STEP, INTERACTIVE | TWO_NODES, MPI4 | TORCHRUN, POD | INDEXED):
        for _ in range(1000):
            some = {name: value for name, value in variables.items() if rng.random() < 0.7}
            try:
                assert processes_of(some, has_tpu=True).number < 9
            except InputError as error:
                assert any(name in str(error) for name in variables), (some, error)


START = """
import sys
from ltjax.training.execution.processes import join_processes, this_run
join_processes(this_run(), timeout=float(sys.argv[1]), report_after=0.5)
import jax
print(jax.process_index(), jax.process_count(), len(jax.devices()))
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(timeout, number, address, count=2):
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "JAX_"))}
    variables |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(count), "JAX_PROCESS_ID": str(number)}
    return subprocess.Popen(
        [sys.executable, "-c", START, str(timeout)], cwd=ROOT, env=variables | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_processes_join():
    address = f"127.0.0.1:{free_port()}"
    both = [start(120, number, address) for number in (0, 1)]
    out = [process.communicate(timeout=180)[0] for process in both]
    assert [text.split()[:2] for text in out] == [["0", "2"], ["1", "2"]]


def test_processes_that_nobody_answers_say_so_and_end():
    processes = [start(2, number, f"127.0.0.1:{free_port()}", count) for number, count in ((0, 2), (1, 2))]
    for number, process in enumerate(processes):
        waits, gives_up = process.communicate(timeout=180)[1].strip().splitlines()
        assert process.returncode == 1
        assert f"process {number} of 2" in waits and waits.endswith("gives up after 2 s")
        assert gives_up.startswith("error: ") and "gave up after 2 s" in gives_up and "127.0.0.1" in gives_up
