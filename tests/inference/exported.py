"""Finished runs with networks of a real kind and random weights, without training; and how a stranger loads exports."""

import os
import subprocess
import sys

import jax
import numpy as np
from flax import traverse_util

from ltjax.data.dataset import Data, Source
from ltjax.training.finished_run import Finished
from ltjax.training.prepare import make_stages
from ltjax.training.workdir.model_record import record_of
from tests.training import toy

SIZE, CLASSES = 16, 3
IMAGES = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
# name -> method, backbone, settings
NETWORKS = {
    "cifar": ("ce", "resnet8", {}),
    "torchvision": ("ce", "resnet10", {}),
    "reslt": ("reslt", "resnet8", {}),
    "cosine": ("ldam", "resnet8", {}),
    "ride": ("ride", "ride_resnet8", {}),
}


def data():
    """The toy with images in colour."""
    base = toy.build(None)
    labels = np.repeat(np.arange(CLASSES), toy.COUNTS).astype(np.int32)
    train = Source(labels, np.arange(len(labels), dtype=np.int64), lambda i: IMAGES[i % len(IMAGES)])
    return Data(
        "toy", train, train, "test", CLASSES, base.class_counts, IMAGES.shape[1:], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3),
        ("rose", "tulip", "lily"), "toy" * 20,
    )  # fmt: skip


def finished(name, **changes):
    """A run of this network, whose variables are random, also its batch statistics."""
    method, backbone, settings = NETWORKS[name]
    config = toy.config(method, **({"model__backbone": backbone} | settings | changes))
    alone = record_of(config, data(), "f")
    stage = make_stages(config, alone.data())[-1]
    trees = [random_variables(stage.network, seed) for seed in range(config.num_seeds)]
    variables = trees[0] if len(trees) == 1 else jax.tree.map(lambda *x: np.stack(x), *trees)
    return Finished(config, alone.data(), stage, variables, None, {}, alone)


def random_variables(network, seed):
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGES[:1], train=False))
    draw = np.random.default_rng(seed)

    def array(path, shape):
        fan = max(1, int(np.prod(shape.shape[:-1])))
        if path[-1] in ("var", "scale"):
            return draw.uniform(0.5, 1.5, shape.shape).astype(np.float32)
        return draw.normal(0, (2 / fan) ** 0.5 if path[-1] == "kernel" else 0.1, shape.shape).astype(np.float32)

    flat = traverse_util.flatten_dict(dict(shapes))
    return traverse_util.unflatten_dict({path: array(path, shape) for path, shape in flat.items()})


def alone(code, folder):
    """What a fresh process prints that runs this code in ``folder``, and in which ltjax is not imported."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nassert 'ltjax' not in sys.modules"],
        cwd=folder,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
