"""Every config file: its words, its model by shape evaluation, and one train step lowered. No big model is trained."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.data import Data, Source
from ltjax.data.dataset import fingerprint
from ltjax.data.datasets.longtail import long_tailed_counts
from ltjax.methods import METHODS
from ltjax.training.step.schedules import make_schedule
from ltjax.training.step.state import create_state, parameter_count
from ltjax.training.step.step import make_train_step
from tests import recipes
from tests.shared import ROOT

FILES = [f"{dataset}_{family}" for dataset in recipes.DATASETS for family in recipes.FAMILIES]
SEVERAL_LABELS = ["list_multilabel"]
BEST = [f"{dataset}_best" for dataset in recipes.BENCHMARKS]  # recipes of ingredients, on the networks of the others
LIFT = [f"{dataset}_lift" for dataset in recipes.DATASETS if dataset != "mnist5k"]  # digits are no photos
FEATURES = ["folder_features", "list_features"]  # heads on the features of published networks
NETWORKS = [stem for stem in FILES if not stem.startswith("list_")]  # those of list_ are those of folder_
# recipe -> classes, images of the largest and the smallest class, pixels, channels
SETS = {
    "mnist5k": (10, 400, 10, 28, 1),
    "cifar10": (10, 5000, 50, 32, 3),
    "cifar100": (100, 500, 5, 32, 3),
    "imagenet": (1000, 1280, 5, 224, 3),
    "places": (365, 4980, 5, 224, 3),
    "inat": (8142, 1000, 2, 224, 3),
    "folder": (34, 790, 8, 224, 3),
    "list": (34, 790, 8, 224, 3),
}
# Words after the colon that change the network or the step, beside the default.
WORDS = {
    "reslt": ["experts=3", "strong", "groups=4"],
    "decoupling": ["sampler=progressive"],
    "asynchronous": ["plain"],
    "auxiliary": ["rrs_only"],
    "baselines": ["bbn", "ride", "causal_norm", "proxy", "oltr"],
}
LARGE = ("imagenet", "places", "inat")
PICTURES = (*LARGE, "folder", "list")  # at 224 pixels
SMALLER = {"ride_resnext50_32x4d": "ride_resnet50", "ride_resnet50": "ride_resnet50", "bbn_resnet50": "bbn_resnet50"}


def synthetic(recipe):
    """Long-tailed labels of the data set's size, and no images."""
    classes, largest, smallest, side, channels = SETS[recipe]
    counts = np.maximum(long_tailed_counts(largest, classes, largest / smallest), smallest)
    labels = np.repeat(np.arange(classes, dtype=np.int32), counts)
    source = Source(labels, np.arange(len(labels)), read=lambda i: None)
    shape, grey = (side, side, channels), (0.5,) * channels
    return Data(
        recipe, source, source, "test", classes, counts, shape, grey, grey, None, fingerprint(source)
    )  # fmt: skip


def load(stem, words=""):
    return recipes.parse(f"--config=configs/{stem}.py:{words}" if words else f"--config=configs/{stem}.py")


def first_stage(config):
    return METHODS[config.method](config, synthetic(recipes.file_of(config.recipe)))[0]


def shapes_of(stage):
    """The state before the first step and what stands still, as shapes."""

    def make(key):
        start = stage.init(key, None, None)
        return create_state(stage, start, 0), dict(start.frozen)

    return jax.eval_shape(make, jax.random.key(0))


def check_step(config, lowers):
    """One train step traced, or also lowered: the state comes out as it went in, and a loss with it."""
    stage, data = first_stage(config), synthetic(recipes.file_of(config.recipe))
    state, frozen = shapes_of(stage)
    image = jax.ShapeDtypeStruct(
        (8 if recipes.file_of(config.recipe) in PICTURES else config.batch_size, *data.image_shape), jnp.uint8
    )
    row = jax.ShapeDtypeStruct(image.shape[:1], jnp.int32)
    batch = {name: {"image": image, "label": row, "index": row} for name in stage.streams}
    step = make_train_step(stage, 7)
    made = jax.jit(step).lower(state, frozen, batch).out_info if lowers else jax.eval_shape(step, state, frozen, batch)
    after, metrics = made
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics["loss"].shape == ()


def test_every_data_set_has_every_family_and_nothing_else():
    assert sorted(f.stem for f in (ROOT / "configs").glob("*.py")) == sorted(
        FILES + BEST + SEVERAL_LABELS + LIFT + FEATURES
    )


@pytest.mark.parametrize("stem", FILES + BEST + SEVERAL_LABELS + LIFT + FEATURES)
def test_it_says_what_it_is_and_its_schedule_stands(stem):
    text = (ROOT / "configs" / f"{stem}.py").read_text()
    assert f"--config=configs/{stem}.py" in text.partition('"""\n\n')[0]
    config = load(stem)
    assert (recipes.file_of(config.recipe), config.family) == tuple(stem.split("_"))
    make_schedule(config.optimizer, config.epochs, 10)
    for word in re.findall(r'":([a-z0-9_=.,]+)"', text):
        load(stem, word.replace("=FILE", "=weights.npz").replace("=FACTOR", "=50"))
    if recipes.file_of(config.recipe) not in LARGE:
        assert load(stem, "epochs=1").epochs == 1 and load(stem, "short").epochs <= 10


@pytest.mark.parametrize("stem", NETWORKS)
def test_its_model_has_parameters_by_shape_evaluation(stem):
    config = load(stem)
    state, _ = shapes_of(first_stage(config))
    count = parameter_count(state.params)
    low, high = (2e4, 3e6) if recipes.file_of(config.recipe) not in PICTURES else (4e6, 2e8)
    assert low < count < high, count


SMALL = [(f, "") for f in FILES if f.partition("_")[0] == "mnist5k"]
SMALL += [(f"cifar100_{family}", word) for family, words in WORDS.items() for word in words]


@pytest.mark.parametrize("stem, words", SMALL)
def test_a_train_step_lowers(stem, words):
    check_step(load(stem, words), lowers=True)


@pytest.mark.parametrize("stem", [f for f in NETWORKS if f.partition("_")[0] in PICTURES])
def test_a_train_step_of_a_large_config_traces_on_the_smallest_backbone_of_its_kind(stem):
    config = load(stem)
    backbone = SMALLER.get(config.model.backbone, "resnet10")
    check_step(config.replaced({"model.backbone": backbone}), lowers=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stem, words",
    [(f, "") for f in NETWORKS]
    + [(f"{d}_{family}", word) for family, words in WORDS.items() for word in words for d in ("cifar10", *LARGE)],
)
def test_a_train_step_lowers_with_its_own_backbone(stem, words):
    check_step(load(stem, words), lowers=True)


def test_every_backbone_is_in_use_or_named():
    assert set(models.BACKBONES) >= {load(f).model.backbone for f in FILES}
