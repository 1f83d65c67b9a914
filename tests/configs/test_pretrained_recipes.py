"""Recipes for pretrained weights: their published rates, the refusal without a file, and the word from_scratch."""

import jax
import jax.numpy as jnp
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.settings.identity import to_json
from ltjax.settings.schema import flat
from ltjax.training import loop
from ltjax.training.step.state import rate_factors
from tests import recipes
from tests.configs.test_every_config import synthetic

# family, words -> published settings
PUBLISHED = {
    # Cui et al. (2022), section 4.1: "cosine ... from 0.05 to 0", batch size 128, 30 epochs
    ("reslt", ""): {
        "optimizer.learning_rate": 0.05, "optimizer.backbone_rate": 1.0, "batch_size": 128, "epochs": 30,
        "optimizer.schedule.name": "cosine",
    },
    # ours
    ("reslt", "backbone_rate=0.01"): {"optimizer.learning_rate": 0.05, "optimizer.backbone_rate": 0.01},
    # Zhang et al. (2019), section 4.4 "by referring to" OLTR, whose configuration has 0.1 and 0.001
    ("auxiliary", ""): {
        "optimizer.learning_rate": 0.1, "optimizer.backbone_rate": 0.01, "batch_size": 128, "epochs": 30,
        "model.features": 512, "model.backbone": "resnet152",
    },
    # Zhang et al. (2019), tables 2 to 5: ResNet-50 from scratch
    ("auxiliary", "backbone=resnet50,from_scratch"): {
        "optimizer.learning_rate": 0.1, "optimizer.backbone_rate": 1.0, "model.features": 512,
        "model.backbone": "resnet50", "second_stage_optimizer.backbone_rate": 1.0,
    },
    # the decoupling authors' answer in their public issues: stage 1 trains the last block alone
    ("decoupling", ""): {"decoupling.representation": "last_block", "optimizer.backbone_rate": 0.01},
    # asynchronous modelling, appendix A: 5e-4 for the backbone, 0.05 for the classifier
    ("asynchronous", ""): {"optimizer.learning_rate": 0.05, "optimizer.backbone_rate": 0.01},
}  # fmt: skip


@pytest.mark.parametrize("family, words", PUBLISHED)
def test_published_settings_of_places(family, words):
    found = flat(recipes.resolved("places", family, words).to_dict())
    expected = PUBLISHED[family, words]
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("family", recipes.FAMILIES)
def test_places_refuses_to_start_without_its_weights_and_starts_from_scratch(family, tmp_path):
    config = recipes.resolved("places", family)
    assert config.model.needs_pretrained and config.model.pretrained == ""
    with pytest.raises(InputError) as refused:
        loop.train(config, str(tmp_path / "run"))
    message = str(refused.value)
    assert "\n" not in message and not (tmp_path / "run" / "config.json").exists()
    for part in ("--config.model.pretrained=FILE", "docs/guides/runs.md", "resnet152", ":from_scratch"):
        assert part in message
    missing = config.replaced({"model.pretrained": str(tmp_path / "none.npz")})
    with pytest.raises(InputError, match=r"none\.npz: no such file"):
        loop.train(missing, str(tmp_path / "run"))

    begun = tmp_path / "begun"
    (begun / "checkpoints" / "train" / "10").mkdir(parents=True)
    (begun / "config.json").write_text(to_json(missing))
    with pytest.raises(InputError, match=r"config\.data"):  # a run that resumes needs no file
        loop.train(missing.replaced({"data.dir": str(tmp_path / "nothing")}), str(begun))

    scratch = recipes.resolved("places", family, "from_scratch")
    assert not scratch.model.needs_pretrained and scratch.optimizer.backbone_rate == 1
    second = scratch.second_stage_optimizer
    assert second is None or second.backbone_rate == 1
    assert scratch.optimizer.learning_rate == config.optimizer.learning_rate
    with pytest.raises(InputError, match=r"config\.data"):  # the next thing that is missing
        loop.train(scratch.replaced({"data.dir": str(tmp_path / "nothing")}), str(tmp_path / "run"))


def test_from_scratch_freezes_nothing():
    assert recipes.resolved("places", "decoupling", "from_scratch").method_settings.representation == "all"
    for words in ("from_scratch,short", "short,from_scratch"):
        made = recipes.resolved("places", "decoupling", words)
        assert (made.epochs, made.optimizer.backbone_rate) == (10, 1)
    own = recipes.resolved("places", "decoupling", "retrain=all,backbone_rate=0.1,from_scratch")
    assert own.second_stage_optimizer.backbone_rate == 0.1 and own.optimizer.backbone_rate == 1


@pytest.mark.parametrize("words", ["bbn", "ride", "causal_norm"])
def test_what_has_no_pretrained_network_on_places_starts_at_the_full_rate(words):
    made = recipes.resolved("places", "baselines", words)
    assert not made.model.needs_pretrained and made.optimizer.backbone_rate == 1


def test_a_recipe_for_random_weights_stays_as_it_is():
    for dataset, family in (("imagenet", "auxiliary"), ("cifar100", "decoupling"), ("mnist5k", "reslt")):
        assert recipes.build(dataset, family, "from_scratch").to_dict() == recipes.build(dataset, family).to_dict()


@pytest.mark.parametrize("method", ["ce", "focal", "lifted", "triplet", "ldam", "cost_sensitive", "ride"])
def test_any_method_has_the_512_d_layer(method, monkeypatch):
    """Zhang et al. (2019), section 4.2: the compared methods have its 512-d layer after the pooling, too."""
    family = "ce" if method == "ce" else "baselines"
    words = None if method == "ce" else method
    config = recipes.resolved("cifar10", family, "features=512" if words is None else f"{words},features=512")
    config = config.replaced({"optimizer.backbone_rate": 0.01})
    stage = METHODS[config.method](config, synthetic("cifar10"))[0]
    images = jnp.zeros((2, 32, 32, 3), jnp.uint8)
    outputs, variables = jax.eval_shape(lambda: stage.network.init_with_output(jax.random.key(0), images))
    channels = 64 if method != "ride" else 48
    assert outputs.features.shape[-1] == 512
    assert variables["params"]["head"]["fc"]["kernel"].shape == (channels, 512)
    factors = rate_factors(["backbone/conv/kernel", "head/fc/kernel", "head/classifier/kernel"], stage.updates.rates)
    assert list(factors.values()) == [0.01, 0.01, 1.0]  # the layer belongs to the feature extractor


def test_a_network_without_that_layer_says_so():
    config = recipes.resolved("cifar10", "baselines", "bbn").replaced({"model.features": 512})
    with pytest.raises(InputError, match=r"^config\.model\.features: 512, but the network .*=bbn has no"):
        METHODS["bbn"](config, synthetic("cifar10"))


@pytest.mark.parametrize("words", ["crt", "lws", "mlp", "cosine", "ncm", "crt,cached"])
def test_the_layer_is_part_of_decouplings_representation(words):
    """A second stage keeps the layer, and takes its features: only what is behind it is new or trained."""
    config = recipes.resolved("cifar10", "decoupling", words).replaced({"model.features": 6})
    first, second = METHODS["decoupling"](config, synthetic("cifar10"))
    assert first.updates.trains("head/fc/kernel")
    assert not second.updates.trainable or not second.updates.trains("head/fc/kernel")
    if words in ("ncm", "crt,cached"):
        images = jnp.zeros((2, 32, 32, 3), jnp.uint8)
        make = jax.eval_shape(lambda: second.representation.init_with_output(jax.random.key(0), images))
        assert make[0].features.shape == (2, 6) and set(make[1]["params"]["head"]) == {"fc"}
        variables = jax.eval_shape(lambda: second.network.init(jax.random.key(0), images))
        logits = jax.eval_shape(second.network.apply, variables, jnp.zeros((2, 6))).logits
        assert logits.shape == (2, 10)
    if words != "ncm":
        assert isinstance(second.network.head, models.HeadOnFeatureLayer)


def test_the_strong_rows_of_inaturalist_start_from_weights(tmp_path):
    """Cui et al. (2022), table 2: "trained with mixup and initialized with ImageNet pre-trained model"."""
    with pytest.raises(InputError, match=r"--config\.model\.pretrained=FILE"):
        loop.train(recipes.resolved("inat", "reslt", "strong"), str(tmp_path / "run"))
    assert not recipes.resolved("inat", "reslt", "strong,from_scratch").model.needs_pretrained
    assert not recipes.resolved("inat", "reslt").model.needs_pretrained
