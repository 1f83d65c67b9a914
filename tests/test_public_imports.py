"""The public modules in a fresh interpreter: without the training stack, in about the time jax itself takes."""

import importlib
import inspect
import os
import subprocess
import sys

import pytest

PUBLIC = ["ltjax.arrays", "ltjax.class_counts", "ltjax.classifiers", "ltjax.losses", "ltjax.metrics", "ltjax.samplers"]
WITHOUT_JAX = ["ltjax.class_counts", "ltjax.samplers"]
STACK = ["flax", "optax", "orbax", "grain", "tensorflow_datasets", "PIL", "ml_collections", "tensorflow", "matplotlib"]


def run(code: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_loads_nothing_of_the_training_stack():
    modules = ", ".join(PUBLIC)
    loaded = run(f"import sys, {modules}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))").split()
    assert not set(loaded) & set(STACK)


@pytest.mark.parametrize("module", [*PUBLIC, "ltjax"])
def test_every_public_module_lists_its_names_and_leaks_no_other_module(module):
    made = importlib.import_module(module)
    assert len(made.__all__) == len(set(made.__all__))
    for name in made.__all__:
        assert module == "ltjax" or not inspect.ismodule(getattr(made, name)), name
    public = {
        name
        for name, value in vars(made).items()
        if inspect.isfunction(value) and value.__module__ == module and not name.startswith("_")
    }
    assert public <= set(made.__all__), public - set(made.__all__)


def test_what_data_workers_import_does_not_even_load_jax():
    # They are processes of their own, which a copy of jax would make slow to start.
    assert run(f"import sys, {', '.join(WITHOUT_JAX)}; print('jax' in sys.modules)").strip() == "False"


def test_samplers_draw_without_loading_more_than_numpy():
    code = "from ltjax.samplers import *; Records(class_cycle(), [0, 0, 1]).batches(2)[0]"
    loaded = run(f"import sys; {code}; print(*sorted(sys.modules))").split()
    assert not {name.split(".")[0] for name in loaded} & {*STACK, "jax", "scipy"}


def test_importing_takes_little_longer_than_jax():
    code = "import time; import jax; s = time.perf_counter(); import {}; print(time.perf_counter() - s)"
    shares = [float(run(code.format(", ".join(PUBLIC)))) for _ in range(3)]
    whole = float(run("import time; s = time.perf_counter(); import jax; print(time.perf_counter() - s)"))
    # The machine may be busy: the best of three, against a generous bound.
    assert min(shares) < max(0.5 * whole, 0.2), f"{min(shares):.2f} s after jax, which takes {whole:.2f} s"


def test_importing_computes_nothing():
    # A device array made at import would start the backend, before the program can choose its platform.
    run(f"import {', '.join(PUBLIC)}", {"JAX_PLATFORMS": "no_such_platform"})
