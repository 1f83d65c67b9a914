"""OLTR: the memory starts as class means, its loss is the formula's, and each variant trains what it says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ltjax import models
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from ltjax.methods import METHODS, common
from ltjax.methods.oltr import centroid_loss
from ltjax.methods.stage import Previous
from ltjax.models import MemoryHead
from ltjax.settings.schema import flat
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from ltjax.training.step.state import rate_factors
from tests import recipes
from tests.configs.test_every_config import synthetic
from tests.training import toy
from tests.training.test_loop import final, lines, same, stop_at

DATA = toy.build(None)
STEPS = 5  # an epoch of 42 images in batches of 8
initialised = functools.cache(functools.partial(common.initialise, data=DATA))  # to compile it is most of a toy run


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    monkeypatch.setattr(common, "initialise", lambda network, data: initialised(network))


def config(**changes):
    return toy.config("oltr", second_stage=True, **({"epochs": 1, "second_stage_epochs": 1} | changes))


def test_the_centroid_loss_is_the_formula():
    rng = np.random.RandomState(0)
    x, centroids, labels = rng.randn(5, 4), rng.randn(3, 4), np.array([0, 2, 2, 1, 0])
    squares = ((x[:, None] - centroids) ** 2).sum(-1)
    attract = squares[np.arange(5), labels].mean() / 2
    others = squares[labels[:, None] != np.arange(3)].sum() / 15
    assert others < 10
    loss = functools.partial(centroid_loss, jnp.asarray(x), jnp.asarray(labels))
    np.testing.assert_allclose(loss(jnp.asarray(centroids)), attract + 0.01 * (10 - others), rtol=1e-5)
    np.testing.assert_allclose(loss(jnp.asarray(centroids), margin=others / 2), attract, rtol=1e-5)


def test_the_logits_read_the_memory_and_do_not_train_it():
    x = jnp.asarray(np.random.RandomState(0).rand(4, 1, 1, 5), jnp.float32)
    learnt, given = MemoryHead(3, learn_centroids=True), MemoryHead(3)
    variables = jax.jit(lambda: learnt.init(jax.random.key(0), x, train=False))()
    centroids = jnp.asarray(np.random.RandomState(1).rand(3, 5), jnp.float32)
    params = {**variables["params"], "centroids": centroids}
    expected = jax.jit(lambda: given.apply({"params": params}, x, train=False, centroids=centroids).logits)()

    @functools.partial(jax.grad, has_aux=True)
    def gradient(params):
        logits = learnt.apply({"params": params}, x, train=False).logits
        return jnp.sum(logits**2), logits

    gradients, logits = jax.jit(gradient)(params)
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6)  # logits of some ten, float32
    assert not np.any(gradients["centroids"]) and np.any(gradients["selector"]["kernel"])


def test_the_memory_starts_as_the_class_means_of_the_stage_before():
    first, second = METHODS["oltr"](config(), DATA)
    variables = first.init(jax.random.key(0), None, None).variables
    images = np.stack([DATA.train.read(i) for i in range(42)])

    def features(given, records, network=first.network):
        return np.asarray(network.apply(given, images[records]).features)

    start = second.init(jax.random.key(1), Previous("representation", variables, {}), features).variables
    head = start["params"]["head"]
    labels = DATA.train.labels
    means = [features(variables, np.flatnonzero(labels == c)).mean(0) for c in range(3)]
    np.testing.assert_allclose(head["centroids"], means, rtol=1e-5)
    for part, was in ((head["hallucinator"], variables["params"]["head"]["classifier"]),
                      (start["params"]["backbone"], variables["params"]["backbone"])):  # fmt: skip
        jax.tree.map(np.testing.assert_array_equal, part, was)
    assert not np.array_equal(head["classifier"]["kernel"], variables["params"]["head"]["classifier"]["kernel"])


def test_the_second_stage_sees_as_many_images_of_every_class():
    first, second = METHODS["oltr"](config(), DATA)
    assert first.streams["image"].name == "instance_balanced"
    sampler = second.streams["image"]
    records = sampler.draw(sampler.tables(DATA.train.labels, 3), 0, name_id("image"), 0, np.arange(36))
    assert np.bincount(DATA.train.labels[records]).tolist() == [12, 12, 12]


@pytest.mark.slow
def test_all_of_the_network_is_trained_and_the_centroids_by_their_own_loss(tmp_path, monkeypatch):
    whole = loop.train(config(), str(tmp_path / "whole"))
    assert whole["step"] == 2 * STEPS
    second = [line for line in lines(tmp_path / "whole") if line["stage"] == "memory"]
    for line in second:
        np.testing.assert_allclose(line["loss"], line["loss/classification"] + 0.01 * line["loss/centroid"], rtol=1e-5)
    before = final(tmp_path / "whole", config(), "representation", STEPS)
    after = final(tmp_path / "whole", config(), "memory", STEPS)
    conv = ".params['backbone']['conv']['kernel']"
    assert not np.array_equal(before[conv], after[conv])
    start = ocp.StandardCheckpointer().restore(tmp_path / "whole" / "checkpoints" / "memory" / "0" / "state")
    assert not np.array_equal(start["params"]["head"]["centroids"], after[".params['head']['centroids']"])

    stop_at(monkeypatch, 2, STEPS, STEPS + 3)
    for _ in range(3):
        with pytest.raises(Interrupted):
            loop.train(config(), str(tmp_path / "parts"))
    parts = loop.train(config(), str(tmp_path / "parts"))
    resumed = [(r["stage"], r["step"]) for r in parts["resumes"]]
    assert resumed == [("representation", 2), ("representation", STEPS), ("memory", 3)]
    same(after, final(tmp_path / "parts", config(), "memory", STEPS))


@pytest.mark.slow
def test_on_a_frozen_representation_the_memory_alone_is_trained(tmp_path):
    frozen = config(oltr__train_backbone=False, oltr__centroid_weight=0.0)
    loop.train(frozen, str(tmp_path))
    assert not any("loss/centroid" in line for line in lines(tmp_path))
    before = final(tmp_path, frozen, "representation", STEPS)
    after = final(tmp_path, frozen, "memory", STEPS)
    standing = [name for name in before if name.startswith((".params['backbone']", ".model_state"))]
    assert standing
    for name in standing:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    assert {name for name in after if name.startswith(".opt_state") and "backbone" in name} == set()
    images = np.stack([DATA.train.read(i) for i in range(24)])
    network = prepare.prepare(frozen)[1][0].network
    variables = {
        "params": nested(before, ".params"),
        "batch_stats": nested(before, ".model_state")["batch_stats"],
    }
    mean = network.apply(variables, images).features.mean(0)
    np.testing.assert_allclose(after[".params['head']['centroids']"][0], mean, rtol=1e-4)  # where they started


def nested(arrays, prefix):
    tree = {}
    for name, array in arrays.items():
        if name.startswith(prefix + "["):
            *path, leaf = name[len(prefix) + 2 : -2].split("']['")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[leaf] = array
    return tree


@pytest.mark.parametrize(
    "key, value",
    [("norm", "own"), ("images_per_class", 0), ("centroid_weight", -1.0), ("margin", float("inf"))],
)
def test_what_no_run_could_have_is_one_line(key, value):
    with pytest.raises(InputError, match=rf"^config\.oltr\.{key}: impossible value .*; allowed: [^\n]+$"):
        METHODS["oltr"](config(**{f"oltr__{key}": value}), DATA)


# The authors' public configuration: stages 1 and 2 on ImageNet-LT with ResNet-10 and on Places-LT with ResNet-152
PUBLISHED = {
    "imagenet": {
        "model.features": 512, "oltr.first_stage_features": False, "oltr.attention": True, "oltr.train_backbone": True,
        "oltr.images_per_class": 4, "oltr.centroid_weight": 0.01, "oltr.repel_weight": 0.01, "oltr.margin": 10.0,
        "batch_size": 128, "epochs": 30, "second_stage_epochs": 60,
        "optimizer.learning_rate": 0.1, "optimizer.backbone_rate": 1.0, "optimizer.weight_decay": 5e-4,
        "optimizer.momentum": 0.9, "optimizer.schedule.name": "step", "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1, "optimizer.schedule.warmup_epochs": 0,
        "second_stage_optimizer.learning_rate": 0.1, "second_stage_optimizer.backbone_rate": 0.1,
        "second_stage_optimizer.schedule.milestones": (20, 40), "second_stage_optimizer.schedule.decay": 0.1,
        "second_stage_optimizer.weight_decay": 5e-4, "second_stage_optimizer.momentum": 0.9,
    },
    "places": {
        "model.features": 512, "oltr.first_stage_features": True, "oltr.attention": True, "oltr.train_backbone": False,
        "oltr.norm": "batch", "oltr.images_per_class": 4, "model.backbone": "resnet152",
        "batch_size": 128, "epochs": 30, "second_stage_epochs": 30,
        "optimizer.learning_rate": 0.1, "optimizer.backbone_rate": 0.01, "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1, "optimizer.weight_decay": 5e-4,
        "second_stage_optimizer.learning_rate": 0.01, "second_stage_optimizer.backbone_rate": 0.01,
        "second_stage_optimizer.schedule.milestones": (10, 20), "second_stage_optimizer.schedule.decay": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_published_settings(dataset):
    found = flat(recipes.resolved(dataset, "baselines", "oltr").to_dict())
    assert {key: found[key] for key in PUBLISHED[dataset]} == PUBLISHED[dataset]


# data set -> the rates of the second stage by part; 0 = frozen. Places-LT freezes all but attention and 512-d layer
SECOND_RATES = {
    "imagenet": {"backbone": 0.01, "attention": 0.01, "head/fc": 0.01, "head/selector": 0.1, "head/classifier": 0.1},
    "places": {"backbone": 0.0, "attention": 1e-4, "head/fc": 1e-4, "head/selector": 0.01, "head/classifier": 0.01},
}


@pytest.mark.parametrize("dataset, first_features", [("imagenet", 2048), ("places", 512)])
def test_the_layer_the_attention_and_the_rates_of_each_part(dataset, first_features):
    settings = recipes.resolved(dataset, "baselines", "oltr").replaced({"model.backbone": "resnext50_32x4d"})
    first, second = METHODS["oltr"](settings, synthetic(dataset))
    images = np.zeros((1, 224, 224, 3), np.uint8)
    before, after = (
        jax.eval_shape(stage.network.init, jax.random.key(0), images)["params"] for stage in (first, second)
    )
    assert before["head"]["classifier"]["kernel"].shape[0] == first_features and "attention" not in before
    assert ("fc" in before["head"]) == (dataset == "places")
    assert after["head"]["fc"]["kernel"].shape == (2048, 512) and after["head"]["classifier"]["kernel"].shape[0] == 512
    assert after["attention"]["mask"]["kernel"].shape == (7 * 7 * 2048, 49)
    trained = {path: second.updates.trains(path) for path in SECOND_RATES[dataset]}
    factors = rate_factors(SECOND_RATES[dataset], second.updates.rates)
    rates = {path: trained[path] * factors[path] * second.optimizer.learning_rate for path in trained}
    assert rates == pytest.approx(SECOND_RATES[dataset])
    assert second.updates.norm == "batch"  # also where the backbone is frozen, in the authors' code
    # the loss has the weight 0.01, the authors' rate of the centroids is 0.01
    centroids = rate_factors(["head/centroids"], second.updates.rates)["head/centroids"]
    assert centroids * second.optimizer.learning_rate * 0.01 == pytest.approx(0.01)


def test_places_from_scratch_has_the_second_stage_of_imagenet():
    scratch = recipes.resolved("places", "baselines", "oltr,from_scratch")
    imagenet = recipes.resolved("imagenet", "baselines", "oltr")
    assert scratch.optimizer.backbone_rate == 1 and not scratch.model.needs_pretrained
    for name in ("learning_rate", "backbone_rate"):
        assert getattr(scratch.second_stage_optimizer, name) == getattr(imagenet.second_stage_optimizer, name)
    both = [
        {
            name: getattr(config.method_settings, name)
            for name in ("train_backbone", "norm", "centroid_rate", "attention")
        }
        for config in (scratch, imagenet)
    ]
    assert both[0] == both[1]


def test_what_the_second_stage_adds_is_new_and_gives_the_class_means():
    """A layer of the second stage alone: the class means are those of the new features, the hallucinator is new."""
    made = config(model__features=5, oltr__first_stage_features=False, oltr__attention=True)
    first, second = METHODS["oltr"](made, DATA)
    variables = first.init(jax.random.key(0), None, None).variables
    images = np.stack([DATA.train.read(i) for i in range(42)])
    of_all = jax.jit(lambda given: second.network.apply(given, images).features)

    def features(given, records, network=None):
        assert network is second.network
        return np.asarray(of_all(given))[records]

    def begin(seed):
        return second.init(jax.random.key(seed), Previous("representation", variables, {}), features).variables

    start, again, other = begin(1), begin(1), begin(2)
    head = start["params"]["head"]
    assert head["centroids"].shape == head["classifier"]["kernel"].T.shape == (3, 5)
    means = [features(start, np.flatnonzero(DATA.train.labels == c), second.network).mean(0) for c in range(3)]
    np.testing.assert_allclose(head["centroids"], means, rtol=1e-5)
    assert head["hallucinator"]["kernel"].shape == (5, 3)
    jax.tree.map(np.testing.assert_array_equal, start["params"]["backbone"], variables["params"]["backbone"])
    jax.tree.map(np.testing.assert_array_equal, start, again)
    for part in ("attention", "head"):
        leaf = "mask" if part == "attention" else "fc"
        kernels = [one["params"][part][leaf]["kernel"] for one in (start, other)]
        assert not np.array_equal(*kernels)


def test_the_authors_schedule_and_the_memory_on_other_ground():
    own = recipes.build("imagenet", "baselines", "oltr")
    assert (own.method, own.epochs, own.batch_size, own.model.features) == ("oltr", 30, 128, 512)
    assert own.optimizer.schedule.milestones == (10, 20) and own.optimizer.schedule.name == "step"
    assert own.second_stage_epochs == 60 and own.second_stage_optimizer.schedule.milestones == (20, 40)
    usual = recipes.build("imagenet", "ce")
    there = recipes.build("imagenet", "baselines", "oltr,on=representation")
    crt = recipes.build("imagenet", "baselines", "oltr,on=crt")
    for config in (there, crt):  # the first stage is ours
        assert (config.epochs, config.batch_size) == (usual.epochs, usual.batch_size)
        assert config.optimizer.to_dict() == usual.optimizer.to_dict()
        assert not config.oltr.train_backbone and config.model.features == 0
    assert there.second_stage_epochs == 60 and there.oltr.centroid_weight == 0.01
    assert crt.second_stage_epochs == 10 and crt.oltr.centroid_weight == 0
    assert crt.second_stage_optimizer.schedule.name == "cosine"
    back = recipes.build("imagenet", "baselines", "oltr,on=crt,on=own")
    assert back.to_dict() == own.to_dict()
    with pytest.raises(InputError, match="on=crt: an argument of oltr"):
        recipes.build("imagenet", "baselines", "focal,on=crt")
    with pytest.raises(InputError, match="on: "):
        recipes.build("imagenet", "baselines", "oltr,on=tau")


@pytest.mark.parametrize("dataset", recipes.BENCHMARKS)
@pytest.mark.parametrize("words", ["oltr", "oltr,short", "oltr,on=representation,short", "oltr,on=crt,short"])
def test_every_data_set_has_it(dataset, words):
    made = recipes.build(dataset, "baselines", words)
    short = words.endswith("short")
    assert made.second_stage_epochs <= (10 if short else 60) and recipes.file_of(made.recipe) == dataset
    milestones = made.second_stage_optimizer.schedule.milestones
    if made.second_stage_optimizer.schedule.name == "step":
        assert 1 <= milestones[0] < milestones[1] < made.second_stage_epochs
