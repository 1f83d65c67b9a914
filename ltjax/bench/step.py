"""One training step beside PyTorch's: forward, backward, SGD and batch statistics, on a batch that lies on the device.

    python -m ltjax.bench step --network resnet32 --method ce --batch 128 --classes 100

Ours is the step that ``ltjax.main`` runs, on one device, with the CIFAR recipe of ``ltjax.presets``; PyTorch's is the
same network, loss and optimiser, run eagerly in channels_last (on a GPU with ``--compile`` also through
``torch.compile``). Before anything is timed both make one float32 step from the same weights, and must agree.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import Mesh

from ltjax import presets
from ltjax.bench import measure, peer
from ltjax.data import Data, Source
from ltjax.data.longtail import long_tailed_counts
from ltjax.data.sources import fingerprint
from ltjax.errors import InputError, choose
from ltjax.methods import METHODS
from ltjax.methods.reslt import groups
from ltjax.methods.stage import Stage, Start
from ltjax.models import BACKBONES, ResNetCifar
from ltjax.training import mesh as meshes
from ltjax.training.schedules import make_schedule
from ltjax.training.state import create_state, parameter_count, variables_of
from ltjax.training.step import compile_train_step

PEER_METHODS = ("ce", "reslt")  # those whose loss stands in peer.py
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
IMBALANCE = 100.0
LOSS_TOLERANCE = 1e-4  # relative
# Of the norm of an array's change. ResNet-32, batch 128: the two sides agree to 6e-12 in float64, and differ in float32
# by 1.6e-2, for a sum of another order turns ReLUs. A forgotten weight decay, nesterov flag or normalisation is more;
# what is less (a learning rate off by 5 %) only the float64 test of the suite would see.
UPDATE_TOLERANCE = 5e-2


class Problem(NamedTuple):
    """What both sides compute: a method's stage on synthetic data, and one batch of it."""

    network: str
    stage: Stage
    config: Any
    data: Data
    images: np.ndarray  # uint8 [B, H, W, 3]
    labels: np.ndarray  # int32 [B]


def default_size(network: str) -> int:
    """The image size of the papers: 32 for the CIFAR family, 224 for the others."""
    backbone = choose(BACKBONES, network, "--network")
    return 32 if isinstance(backbone(), ResNetCifar) else 224


def make_problem(network: str, method: str, batch: int, classes: int, size: int, dtype: str) -> Problem:
    """The stage of ``method`` with the CIFAR recipe, and a random batch with labels as often as the classes are."""
    choose(BACKBONES, network, "--network")
    config = presets.cifar("cifar10" if classes == 10 else "cifar100", method)
    config.model.backbone, config.batch_size, config.dtype = network, batch, dtype
    if method == "reslt" and classes not in (10, 100):
        config.reslt.boundaries = ()  # the authors' positions are for their numbers of classes
    presets.resolve(config)
    data = synthetic(classes, size)
    if len(data.train) < batch:
        raise InputError(f"--batch: {batch} is more than the {len(data.train)} images of an epoch; take less")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, *data.image_shape)).astype(np.uint8)
    (stage,) = choose(METHODS, method, "--method")(config, data)
    return Problem(network, stage, config, data, images, rng.choice(data.train.labels, batch))


def synthetic(classes: int, size: int) -> Data:
    """Long-tailed labels as in CIFAR-LT, and no images."""
    counts = long_tailed_counts(50_000 / classes, classes, min(IMBALANCE, 50_000 / classes))
    labels = np.repeat(np.arange(classes, dtype=np.int32), counts)

    def no_image(record: int) -> np.ndarray:
        raise InputError(f"record {record}: the benchmarks' data set has labels and no images")

    source = Source(labels, np.arange(len(labels)), no_image)
    shape = (size, size, 3)
    return Data("synthetic", source, source, "test", classes, counts, shape, MEAN, STD, None, fingerprint(source))


def fresh_variables(problem: Problem) -> Any:
    """Random weights of our own, where there is no peer to take them from."""
    init = functools.partial(problem.stage.network.init, train=False)
    return jax.jit(init)(jax.random.key(0), jnp.zeros((1, *problem.data.image_shape), np.uint8))


class Ours:
    """One training step a call, from ``variables`` on; returns the loss when all is done."""

    def __init__(self, problem: Problem, variables: Any) -> None:
        mesh = Mesh(np.asarray(jax.devices()[:1]), (meshes.AXIS,))
        streams = {
            "image": {"image": problem.images, "label": problem.labels, "index": np.zeros_like(problem.labels)},
        }
        start = Start({"params": variables["params"], "batch_stats": variables["batch_stats"]})
        state = create_state(problem.stage, start, 0)
        self.state = meshes.put_replicated(jax.tree.map(np.array, state), mesh)
        self.batch = meshes.put_split(streams, mesh)
        self.step = compile_train_step(problem.stage, steps_per_epoch(problem), mesh)

    def __call__(self) -> float:
        self.state, metrics = self.step(self.state, {}, self.batch)
        jax.block_until_ready((self.state, metrics))
        return float(metrics["loss"])

    def variables(self) -> Any:
        return jax.tree.map(np.array, variables_of(self.state))  # a copy: the next step donates the state


def steps_per_epoch(problem: Problem) -> int:
    return len(problem.data.train) // len(problem.labels)


def first_rate(problem: Problem) -> float:
    """The learning rate of the first epoch; the peer keeps it, for the time of a step does not depend on it."""
    stage = problem.stage
    return float(make_schedule(stage.optimizer, stage.epochs, steps_per_epoch(problem))(jnp.zeros((), jnp.int32)))


def make_peer(problem: Problem, platform: str, compiled: bool = False) -> peer.Trainer:
    """PyTorch's side, with its own random weights (the same in every call)."""
    method, data = problem.config.method, problem.data
    choose(dict.fromkeys(PEER_METHODS), method, "--method")
    network = peer.build(problem.network, data.num_classes, reslt=method == "reslt")
    loss: Callable[[Any, Any], Any] = peer.cross_entropy
    if method == "reslt":
        settings = problem.config.reslt
        loss = peer.reslt_loss(settings.alpha, groups(settings, data.class_counts))
    images = peer.Images(problem.images, data.mean, data.std, platform, problem.config.dtype)
    return peer.Trainer(
        network, images, problem.labels, loss, problem.config.optimizer, first_rate(problem), compiled=compiled
    )


def check(sides: Mapping[str, Any], loss_tolerance: float, update_tolerance: float) -> dict[str, Any]:
    """One step of each side from where it stands, which must be the same place; the first is compared with the others.

    Returns:
      loss: the relative difference. update: the largest ``|ours - theirs| / |theirs - before|`` over the arrays
      (parameters and batch statistics) in the Euclidean norm, update_worst: in which; element: the same in the largest
      single element, which is reported but not limited. The worst of all peers.

    Raises:
      Disagreement: if either is above its tolerance.
    """
    ours, *peers = sides.values()
    a, after = ours(), ours.variables()
    worst: dict[str, Any] = {"loss": 0.0, "update": 0.0, "update_worst": "", "element": 0.0}
    for theirs in peers:
        before, b = theirs.variables(), theirs()
        record = {"loss": abs(a - b) / abs(b)} | update_difference(before, after, theirs.variables())
        if not record["loss"] <= loss_tolerance or not record["update"] <= update_tolerance:
            raise measure.Disagreement(
                f"check: the two sides do not make the same step: loss {a:.6g} and {b:.6g} (relative difference "
                f"{record['loss']:.1e}, allowed {loss_tolerance:.0e}); changes differ by {record['update']:.1e} of the "
                f"change in {record['update_worst']} (allowed {update_tolerance:.0e})"
            )
        worst |= {key: max(worst[key], record[key]) for key in ("loss", "element")}
        if record["update"] >= worst["update"]:
            worst |= {key: record[key] for key in ("update", "update_worst")}
    return worst


def update_difference(before: Any, ours: Any, theirs: Any) -> dict[str, Any]:
    """The largest difference of an array's change relative to that change, as ``check`` has it; inf for NaN."""
    flat = [traverse_util.flatten_dict(tree, sep="/") for tree in (before, ours, theirs)]
    if not flat[0].keys() == flat[1].keys() == flat[2].keys():
        raise measure.Disagreement(f"check: the sides have other arrays: {sorted(flat[1].keys() ^ flat[2].keys())}")

    def relative(path: str, norm: float) -> float:
        start, a, b = (np.asarray(tree[path], np.float64).ravel() for tree in flat)
        value = np.linalg.norm(a - b, norm) / max(np.linalg.norm(b - start, norm), np.finfo(np.float64).tiny)
        return float(value) if np.isfinite(value) else np.inf

    differences = {path: relative(path, 2) for path in flat[0]}
    worst = max(differences, key=lambda path: differences[path])
    element = max(relative(path, np.inf) for path in flat[0])
    return {"update": differences[worst], "update_worst": worst, "element": element}


def make_sides(problem: Problem, platform: str, compiled: bool) -> dict[str, Any]:
    """name -> a step: ours, and PyTorch where it can run beside us, all from the same weights."""
    if peer.unavailable(platform):
        return {"ltjax": Ours(problem, fresh_variables(problem))}
    theirs = make_peer(problem, platform)
    sides: dict[str, Any] = {"ltjax": Ours(problem, theirs.variables()), "torch": theirs}
    if compiled:
        sides["torch.compile"] = make_peer(problem, platform, compiled=True)
    return sides


def report(options: Any, times: measure.Times, parameters: int) -> dict[str, Any]:
    """Prints the table; returns the part of the JSON about times."""
    record = measure.summary(times, options.batch)
    rows = [["", "ms a step", "images/s", "ltjax is"]]
    for name, side in record["sides"].items():
        ratio = record["speed_relative_to"].get(name)
        speed = "" if ratio is None else f"{ratio:.2f}x as fast"
        rows.append([name, f"{side['median_ms']:.1f}", f"{side['images_per_second']:.0f}", speed])
    print(
        f"training step: {options.network} ({parameters:,} parameters), {options.method}, batch {options.batch}, "
        f"{options.size} px, {options.classes} classes, {options.dtype}; medians of {options.repeats}, in turns"
    )
    print(measure.table(rows), flush=True)
    return record


def parse(arguments: list[str]) -> Any:
    parser = measure.Parser("step", __doc__, repeats=20)
    parser.add_argument("--network", default="resnet32", help="a backbone, such as resnet32 or resnet50")
    parser.add_argument("--method", choices=PEER_METHODS, default="ce")
    parser.add_argument("--batch", type=measure.at_least(2), default=128)
    parser.add_argument("--classes", type=measure.at_least(3), default=100)
    parser.add_argument("--size", type=measure.at_least(8), help="pixels; default 32, or 224 for ImageNet networks")
    parser.add_argument("--compile", action="store_true", help="also torch.compile (GPU only)")
    options = parser.parse_args(arguments)
    options.size = options.size or default_size(options.network)
    return options


def main(arguments: list[str]) -> None:
    """Checks, measures, prints, and writes the JSON."""
    options = parse(arguments)
    environment = measure.environment()
    platform = environment["platform"]
    if options.compile and platform != "gpu":
        raise InputError(f"--compile: torch.compile is measured on GPUs only, and this is a {platform}; leave it out")
    print(measure.describe(environment), flush=True)

    def sides_in(dtype: str) -> dict[str, Any]:
        shape = (options.network, options.method, options.batch, options.classes, options.size)
        return make_sides(make_problem(*shape, dtype), platform, options.compile)

    sides = sides_in("float32")
    agreement = compare(sides, platform)
    if options.dtype != "float32":
        sides = sides_in(options.dtype)
    parameters = parameter_count(sides["ltjax"].state.params)
    times = measure.interleaved(sides, options.repeats, warmup=3)
    record = report(options, times, parameters)
    named = {key: value for key, value in vars(options).items() if key != "json"}
    about = {"benchmark": "step", "environment": environment, "options": named, "parameters": parameters}
    measure.write_json(options.json, about | {"check": agreement} | record)


def compare(sides: Mapping[str, Any], platform: str) -> dict[str, Any] | None:
    """The check of the float32 sides; says what it found. None without a peer."""
    if "torch" not in sides:
        print(peer.unavailable(platform), flush=True)
        return None
    with peer.exact(platform):
        record = check(sides, LOSS_TOLERANCE, UPDATE_TOLERANCE)
    print(
        f"check, one float32 step from the same weights: the loss differs by {record['loss']:.1e} relative, changes by "
        f"at most {record['update']:.1e} of their norm ({record['update_worst']}), single elements by "
        f"{record['element']:.1e} of the largest",
        flush=True,
    )
    return record
