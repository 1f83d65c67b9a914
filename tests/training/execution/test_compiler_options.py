"""Options of the compiler on a GPU: only where XLA knows them, nothing over the user's own."""

import jax
import jax.numpy as jnp
import pytest

from ltjax.data.augment.registry import TRANSFORMS
from ltjax.training.execution import compiler_options as module
from ltjax.training.execution.compiler_options import COMMANDS, IN_ORDER, LAUNCH, SIDE_BY_SIDE, compiler_options
from ltjax.training.execution.programs import execution_of
from ltjax.training.workdir import results
from tests.training import toy
from tests.training.fake_devices import mesh_of


@pytest.fixture(autouse=True)
def no_flags(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)


def commands(devices, setting):
    return compiler_options(mesh_of("gpu", devices), setting)[COMMANDS].split(",")


def test_one_gpu_has_the_loop_over_steps_in_the_graph_several_have_not():
    assert {"WHILE", "CONVOLUTION"} <= set(commands(1, "auto"))
    assert "WHILE" not in commands(8, "auto") and "CONVOLUTION" in commands(8, "auto")
    assert commands(8, "yes") == commands(1, "yes") == commands(1, "auto")


def test_no_graphs():
    assert compiler_options(mesh_of("gpu"), "no") == {COMMANDS: ""} == compiler_options(mesh_of("gpu"), "no", True)


@pytest.mark.parametrize(("remat", "order"), [(False, SIDE_BY_SIDE), (True, IN_ORDER)])
def test_remat_has_its_kernels_in_order(monkeypatch, remat, order):
    """Side by side, what it computes again stays in memory."""
    seen = []
    monkeypatch.setattr(results, "Evaluator", lambda *arguments: seen.append(arguments[-1]))
    config = toy.config(model__backbone="resnet8", model__remat=remat)
    data = toy.build(config.data)
    mesh = mesh_of("gpu")
    results.make_evaluator(config, data, toy.stage(config), mesh)
    seen.append(execution_of(config, 0, 1, mesh, TRANSFORMS["none"]).compiler_options)
    for options in seen:
        assert options.items() >= order.items()


@pytest.mark.parametrize("mesh", [mesh_of("cpu"), mesh_of("tpu", 4), mesh_of("gpu", platform_version="rocm 60300")])
def test_other_devices_have_none(mesh):
    assert compiler_options(mesh, "yes") == {} == compiler_options(mesh, "no")


@pytest.mark.parametrize("version", [(0, 9, 2), (0, 13, 0)])
def test_an_unknown_version_has_none(monkeypatch, version):
    monkeypatch.setattr(module.jaxlib.version, "__version_info__", version)
    assert compiler_options(mesh_of("gpu")) == {}


def test_the_users_flags_win(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_a=1 --{COMMANDS}=+CONVOLUTION")
    assert compiler_options(mesh_of("gpu")) == LAUNCH | SIDE_BY_SIDE
    assert compiler_options(mesh_of("gpu"), "no") == {}


@pytest.mark.parametrize("setting", ["auto", "yes", "no"])
@pytest.mark.parametrize("spare_memory", [False, True])
def test_this_version_of_xla_knows_them(setting, spare_memory):
    """A CPU's compiler reads a GPU's options, too, and refuses those that it does not know."""
    options = compiler_options(mesh_of("gpu"), setting, spare_memory)
    assert jax.jit(lambda x: x + 1, compiler_options=options)(jnp.int32(1)) == 2
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option"):
        jax.jit(lambda x: x + 1, compiler_options=options | {"xla_gpu_none_such": 1})(jnp.int32(1))
