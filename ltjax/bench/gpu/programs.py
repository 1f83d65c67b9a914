"""The programs of ``python -m ltjax.bench gpu``, for the device at hand or for one that is compiled for without it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ltjax.bench import problems
from ltjax.bench.gpu import random_images, unfused
from ltjax.data import build
from ltjax.dryrun import text
from ltjax.dryrun.devices import Slice
from ltjax.dryrun.kernels import Kernels
from ltjax.methods.configure import resolve
from ltjax.settings import Settings
from ltjax.settings.command_line import load
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.compiler_options import COMMANDS, IN_GRAPHS, LOOPS, MODE, Options, compiler_options

Record = dict[str, Any]
TINY_STEPS = 3  # of a call at toy size


class Setting(NamedTuple):
    """What all variants share.

    Attributes:
      data_dir: of the images; None: they are random.
      tiny: whether sizes are a toy's.
      target: the device to compile for; None: the first one of this machine, which then runs the programs.
    """

    data_dir: str | None
    tiny: bool
    target: Slice | None = None

    @property
    def mesh(self) -> Mesh:
        return problems.one_device() if self.target is None else self.target.mesh

    @property
    def platform(self) -> str:
        return meshes.platform(self.mesh)


class Training(NamedTuple):
    """A program of training: ``length`` steps of ``seeds`` seeds in a call.

    Attributes:
      fields: of ``Execution``.
      unroll: the scan's.
    """

    problem: problems.Problem
    length: int
    seeds: int
    unroll: int
    fields: Record


def recipe(setting: Setting, dtype: str, norm: str = "fused") -> Settings:
    """configs/cifar100_ce.py in this dtype and on these images; norm: "fused" or "unfused"."""
    config = load("configs/cifar100_ce.py")
    config.dtype = dtype
    if setting.tiny:
        config.epochs, config.batch_size, config.model.backbone = 1, 8, "resnet8"
        config.optimizer.schedule.update(warmup_epochs=0, milestones=())
        config.evaluation.update(index_boundaries=(1, 2))
    if norm == "unfused":
        config.model.backbone = f"{unfused.FILE}:{config.model.backbone}"
    if setting.data_dir is None:
        config.data.name = f"{random_images.FILE}:{'tiny' if setting.tiny else 'cifar100'}"
    else:
        config.data.dir = setting.data_dir
    return resolve(config)


def make_problem(setting: Setting, dtype: str, norm: str = "fused") -> problems.Problem:
    """The stage of the recipe."""
    config = recipe(setting, dtype, norm)
    return problems.problem_of(config, build(config.data))


def training(
    setting: Setting,
    *,
    dtype: str = "bfloat16",
    graphs: str = "yes",
    norm: str = "fused",
    packed: bool | None = None,
    options: Mapping[str, str] | None = None,
    unroll: int = 1,
    length: int | None = None,
    seeds: int = 1,
) -> Training:
    """An epoch of training in a call, or ``length`` steps of it; graphs as in ``options_of``."""
    problem = make_problem(setting, dtype, norm)
    fields: Record = {"compiler_options": options_of(graphs, setting.mesh)}
    if options and fields["compiler_options"]:
        fields["compiler_options"][MODE] = options["mode"]
    if packed is not None:
        fields["packed"] = packed
    per_epoch = problems.steps_per_epoch(problem)
    return Training(problem, min(length or per_epoch, TINY_STEPS if setting.tiny else per_epoch), seeds, unroll, fields)


def same_losses(setting: Setting) -> dict[str, Training]:
    """float32 with XLA's own options, and as a run has it."""
    return {
        "default": training(setting, dtype="float32", graphs="default", packed=False),
        "graphs": training(setting, dtype="float32", packed=True),
    }


def options_of(graphs: str, mesh: Mesh) -> Options:
    """The compiler's options: "yes", "no", XLA's "default", or all but one kind of command."""
    given = compiler_options(mesh, "no" if graphs == "no" else "auto")
    if graphs == "default":
        return {}
    left_out = {"no loop": LOOPS, "no convolutions": "CONVOLUTION"}.get(graphs)
    if given and left_out:
        given[COMMANDS] = ",".join(command for command in (*IN_GRAPHS, LOOPS) if command != left_out)
    return given


class SmallScan(NamedTuple):
    """A loop of ``steps`` products of matrices with sides of ``size``, which any device computes in milliseconds."""

    steps: int
    size: int

    def program(self, options: Options) -> Any:
        """The jitted function of x [size, size]."""
        weights = jnp.eye(self.size) + 0.01

        def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            def body(x: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
                y = jnp.tanh(x @ weights)
                return y - y.mean(0), jnp.square(y).mean()

            return jax.lax.scan(body, x, length=self.steps)

        return jax.jit(run, compiler_options=options)

    def argument(self) -> jax.Array:
        return jnp.linspace(-1, 1, self.size**2).reshape(self.size, self.size)


def small_scan(setting: Setting) -> SmallScan:
    return SmallScan(*((4, 8) if setting.tiny else (200, 256)))


def torch_loop_words(setting: Setting) -> list[str]:
    """Of ``python -m ltjax.bench scan``."""
    words = "--network resnet8 --batch 8 --size 8 --repeats 1 --steps 2" if setting.tiny else "--dtype bfloat16"
    return words.split()


def resnet50_words(setting: Setting) -> list[str]:
    """Of ``python -m ltjax.bench step``."""
    full = "--network resnet50 --classes 1000 --batch 256 --dtype bfloat16 --cost"
    return ("--network resnet8 --batch 8 --size 8 --repeats 1 --classes 10" if setting.tiny else full).split()


def launches_of(kernels: Kernels) -> Record:
    """What the compiler's output says that a step launches.

    ``captured`` is "one graph a call", or the graphs and what the host launches beside them.
    """
    kinds = ", ".join(f"{text.short_count(number)} {kind}" for kind, number in kernels.outside.items())
    outside = f"in no graph, a step: {kinds or 'nothing'}"
    return {
        "captured": "one graph a call" if kernels.one_graph else f"{text.graphs_of(kernels)}; {outside}",
        "host_loops": text.host_loops_of(kernels),
        "kernels_per_step": kernels.total,
        "modelled_ms_per_step": f"{text.milliseconds(kernels.serial)} / {text.milliseconds(kernels.longest)}",
        "modelled_host_ms_per_step": text.milliseconds(kernels.host),
    }
