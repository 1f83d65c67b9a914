"""BBN against the authors' numbers; which stream and statistics belong to which branch; the weight over epochs."""

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from ltjax.training.step.gradient_conflict import make_split_gradients
from tests.methods.expert_toys import BACKBONES, Step
from tests.training import toy
from tests.training.test_loop import lines, stop_at


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)


def config_of(backbone="bbn_toy", **changes):
    return toy.config("bbn", model__backbone=backbone, **changes)


class Given(nn.Module):
    """A backbone whose maps are the images: [B, 1, 1, 2d], a branch's half when it is asked for."""

    dtype: jnp.dtype = jnp.float32
    param_dtype: jnp.dtype = jnp.float32

    def __call__(self, x, train=False, frozen_norm=False, branch=None):
        d = x.shape[-1] // 2
        return {None: x, "conventional": x[..., :d], "rebalancing": x[..., d:]}[branch]


@pytest.mark.parametrize("case", ["epochs200_e1", "epochs200_e121", "epochs200_e200", "epochs180_e180", "epochs90_e90"])
def test_loss_gradients_and_test_scores_are_the_authors(case, monkeypatch, reference):
    v = reference("bbn")[case]
    monkeypatch.setitem(models.BACKBONES, "bbn_given", Given)
    config = config_of("bbn_given", epochs=int(v["max_epoch"]))
    data = types.SimpleNamespace(num_classes=10, mean=(0.0,), std=(1.0,), image_shape=(1, 1, 32))
    (stage,) = METHODS["bbn"](config, data)
    params = {"head": {"classifier": {"kernel": jnp.asarray(v["weight"].T), "bias": jnp.asarray(v["bias"])}}}

    def apply(params, model_state, images, **options):
        return stage.network.apply({"params": params}, images, train=True, **options), model_state

    def loss(conventional, rebalancing):
        nothing = jnp.full_like(conventional, 7.0)  # the other half of an image, which must not be looked at
        images = [jnp.concatenate([conventional, nothing], -1), jnp.concatenate([nothing, rebalancing], -1)]
        batch = {
            "image": {"image": images[0][:, None, None], "label": v["labels_conv"]},
            "reversed": {"image": images[1][:, None, None], "label": v["labels_rebal"]},
        }
        context = types.SimpleNamespace(epoch=jnp.int32(v["epoch"] - 1))
        return sum(t.scale * t.mean() for t in stage.objective(apply, params, {}, batch, context).terms.values())

    both = jnp.asarray(v["features_conv"]), jnp.asarray(v["features_rebal"])
    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(*both)
    np.testing.assert_allclose(value, v["loss"], rtol=2e-5, atol=1e-6)
    for gradient, name in zip(gradients, ("grad_conv", "grad_rebal"), strict=True):
        np.testing.assert_allclose(gradient, v[name], rtol=1e-4, atol=2e-6)
    images = jnp.concatenate(both, -1)[:, None, None]
    np.testing.assert_allclose(stage.predict({"params": params}, images), v["test_logits"], rtol=1e-5, atol=1e-5)
    shares = [view({"params": params}, images) for view in stage.views.values()]
    np.testing.assert_allclose(sum(shares), v["test_logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("epochs, epoch, weight", [(10, 0, 1), (10, 5, 0.75), (180, 100, 0.75), (1, 0, 1)])
def test_the_weight_goes_from_the_first_branch_to_the_second(epochs, epoch, weight):
    (stage,) = METHODS["bbn"](config_of(epochs=epochs), toy.build(None))
    batch = {name: {"image": None, "label": np.zeros(6, int)} for name in stage.streams}
    context = types.SimpleNamespace(epoch=jnp.int32(epoch))

    def apply(params, model_state, images, **options):
        return models.Outputs(jnp.zeros((6, 3)), None), model_state

    outcome = stage.objective(apply, {}, {}, batch, context)
    assert float(outcome.metrics["conventional_weight"]) == pytest.approx(weight)  # T is 200 for 180 epochs
    assert {name: float(term.scale) for name, term in outcome.terms.items()} == {
        "conventional": pytest.approx(weight),
        "rebalancing": pytest.approx(1 - weight),
    }


def test_the_second_stream_is_the_reversed_distribution():
    (stage,) = METHODS["bbn"](config_of(), toy.build(None))
    assert {name: sampler.name for name, sampler in stage.streams.items()} == {
        "image": "instance_balanced",
        "reversed": "reversed",
    }
    labels = toy.build(None).train.labels
    sampler = stage.streams["reversed"]
    drawn = sampler.draw(sampler.tables(labels, 3), 0, 1, 0, np.arange(20000))
    share = np.bincount(labels[drawn], minlength=3) / 20000
    np.testing.assert_allclose(share, np.array([1 / 24, 1 / 12, 1 / 6]) / (7 / 24), atol=0.015)


def test_each_branchs_statistics_are_those_of_its_own_images():
    """Moving the images of one stream moves the statistics of its own branch and not of the other."""
    step = Step(config_of())

    @jax.jit
    def statistics(batch):
        return step.stage.objective(
            step.apply, step.state.params, step.state.model_state, batch, step.context
        ).model_state

    before = statistics(step.batch)["batch_stats"]["backbone"]
    turned = {**step.batch, "reversed": {**step.batch["reversed"], "image": 255 - step.batch["reversed"]["image"]}}
    after = statistics(turned)["batch_stats"]["backbone"]
    start = step.state.model_state["batch_stats"]["backbone"]

    def differs(one, two, name):
        return not np.allclose(one[name]["norm"]["mean"], two[name]["norm"]["mean"])

    assert not differs(before, after, "conventional")
    assert differs(before, after, "rebalancing") and differs(before, start, "conventional")


@pytest.mark.slow
def test_the_gradients_of_frequent_and_rare_classes_sum_to_the_whole():
    step = Step(config_of(), epoch=1)
    own, rare = jax.jit(make_split_gradients(step.stage, 5, np.array([True, False, False])))(
        step.state.replace(step=step.state.step + 5), {}, step.batch
    )
    whole = jax.jit(jax.grad(step.loss))(step.state.params)
    flat = {"/".join(key.key for key in path): value for path, value in jax.tree_util.tree_leaves_with_path(whole)}
    assert own.keys() == flat.keys()
    for path, value in flat.items():
        np.testing.assert_allclose(own[path] + rare[path], value, rtol=1e-4, atol=1e-5, err_msg=path)


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit_and_reports_both_branches(tmp_path, monkeypatch):
    config = config_of()
    whole = loop.train(config, str(tmp_path / "whole"))
    assert set(whole["views"]) == {"conventional", "rebalancing"}
    assert {"loss/conventional", "loss/rebalancing", "conventional_weight"} <= set(lines(tmp_path / "whole")[0])
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path / "parts"))
    parts = loop.train(config, str(tmp_path / "parts"))
    assert whole["per_class"] == parts["per_class"] and lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_another_backbone_is_one_line():
    with pytest.raises(InputError, match=r"config.model.backbone: 'toy' does not fit here.*bbn_resnet32"):
        METHODS["bbn"](config_of("toy"), toy.build(None))
    with pytest.raises(InputError, match=r"config.baseline.horizon: impossible value -1"):
        config_of(baseline__horizon=-1)
