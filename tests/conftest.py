"""What all tests share."""

import gc
import os
import shutil
import tempfile

import jax
import pytest

from tests.shared import PLACES

# A worker holds hundreds of compiled programs, and going through all of their objects again and again takes its time.
gc.set_threshold(200_000, 20, 100)

# As the commands set it (ltjax.training.execution.cpu_flags), for the processes that tests start as well; and programs
# in one part, for the cores have a worker each.
FLAGS = "--xla_backend_optimization_level=1 --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

# What one worker has compiled, the others and the processes that tests start read.
FIRST = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if FIRST:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="ltjax-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_unconfigure():
    """The process that made the folder removes it."""
    if FIRST:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


# Files that take longest, and go first. A file stays on one worker: its tests share runs and compiled programs.
LONGEST = (
    "test_programs.py",
    "test_kill.py",
    "test_gpu.py",
    "test_properties.py",
    "test_sharded.py",
    "test_loop.py",
    "test_notebooks.py",
    "test_sharding.py",
    "test_stages.py",
    "test_every_config.py",
    "test_report.py",
    "test_strict_jax.py",
    "test_shard_map.py",
    "test_store.py",
    "test_micro_batches.py",
    "test_host_batches.py",
    "test_bench.py",
)
# Folders, and files of others, whose networks are so small that compiling them is all that takes time.
TOYS = ("bench", "dryrun", "faults", "inference", "losses", "methods", "models", "training", "tests")
TOY_FILES = (
    "test_evaluate.py", "test_evaluate_images.py", "test_export.py", "test_predict.py", "test_run.py",
)  # fmt: skip
WELL = ("test_resnet_cifar.py",)  # of a real size, and compared in float32: compiled as users' programs are


# Networks of a real size, which the oracles compute in numpy: where the authors' values are at hand, those are enough.
REAL_NETWORKS = ("test_resnet.py", "test_resnet_cifar.py")


def repeated(item):
    """Whether a test compares a network of a real size with an oracle although the authors' values are at hand."""
    of = item.callspec.params.get("reference") if hasattr(item, "callspec") else None
    return of == "oracle" and item.path.name in REAL_NETWORKS and any((p / "reference").exists() for p in PLACES)


@pytest.hookimpl(tryfirst=True)  # before the marks are read
def pytest_collection_modifyitems(items):
    """The longest first, so that no worker waits for another one at the end."""
    for item in items:
        if repeated(item):
            item.add_marker(pytest.mark.slow)
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


def folder_of(path):
    """The folder of tests/ that a test lies in."""
    inside = path.parent.parts
    return inside[inside.index("tests") :][:2][-1] if "tests" in inside else ""


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Programs of toys are compiled quickly rather than well."""
    toys = folder_of(request.path) in TOYS or request.path.name in TOY_FILES
    jax.config.update("jax_disable_most_optimizations", toys and request.path.name not in WELL)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(params=["oracle", "vectors"])
def reference(request):
    """name -> reference cases, from the oracles in the tree and from the authors' code (see tests/reference)."""
    from tests.reference import SOURCES

    return SOURCES[request.param]
