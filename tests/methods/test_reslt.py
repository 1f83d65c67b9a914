"""ResLT: the loss of eqs. 1 to 3, its variants, its experts, what is read at test, and which branch learns what."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from ltjax import models
from ltjax.errors import InputError
from ltjax.losses import reslt_loss
from ltjax.methods import METHODS
from ltjax.methods.mixing import mix
from ltjax.methods.reslt.settings import ResLTSettings
from ltjax.methods.reslt.variants import VARIANTS
from ltjax.methods.stage import Context
from ltjax.training import loop, prepare
from tests.methods.expert_toys import BACKBONES, Step
from tests.training import toy
from tests.training.test_loop import lines

LABELS = np.array([0, 1, 2, 0, 0, 2])
CONTEXT = Context(jnp.int32(0), jnp.int32(0), 2, jnp.float32(0), jax.random.key(0), {}, {})
NESTED = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]], bool)
ALL, HEAD, MEDIUM, TAIL = [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]
MASKS = {
    "full": NESTED,
    "a": [ALL, MEDIUM, TAIL],
    "b": [HEAD, MEDIUM, TAIL],
    "c": [ALL, ALL, ALL],
    "d": NESTED,
    "e": NESTED,
    "baseline": [HEAD, MEDIUM, TAIL],
}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)


def config_of(**changes):
    own = {field.name for field in dataclasses.fields(ResLTSettings)}
    changes = {f"reslt__{key}" if key in own else key: value for key, value in changes.items()}
    experts = changes.get("reslt__experts", 0)
    usual = {"reslt__boundaries": (1, 2), "model__backbone": "ride_toy" if experts else "toy"}
    return toy.config("reslt", **(usual | changes))


def by_hand(logits, labels, masks, alpha, fused):
    """Eqs. 1 to 3 in numpy for logits [K, B, C], with one pooled divisor."""
    masks = np.asarray(masks, bool)
    each = np.stack([cross_entropy(one, labels) for one in logits])
    counted = masks[:, labels]
    return (1 - alpha) * cross_entropy(fused, labels).mean() + alpha * each[counted].sum() / counted.sum()


def cross_entropy(logits, labels):
    return -log_softmax(np.asarray(logits, np.float64), -1)[np.arange(len(labels)), labels]


def given(*shape):
    return np.random.RandomState(0).standard_normal((*shape, len(LABELS), 3)).astype(np.float32)


def stage_of(**changes):
    (stage,) = METHODS["reslt"](config_of(**changes), toy.build(None))
    return stage


def outcome(stage, logits, images=None, labels=LABELS):
    """What the objective makes of these logits, whatever the images."""

    def apply(params, model_state, images, **options):
        return models.Outputs(logits, None), model_state

    batch = {"image": {"image": np.zeros((len(labels), 1, 1, 1)) if images is None else images, "label": labels}}
    return stage.objective(apply, {}, {}, batch, CONTEXT)


def loss(stage, logits, **changes):
    return sum(term.scale * term.mean() for term in outcome(stage, logits, **changes).terms.values())


def read(stage, logits, monkeypatch):
    """name -> scores of these logits at test; "" is the result."""
    module = sys.modules["ltjax.methods.reslt.stages"]  # the package's attribute of that name is the method
    monkeypatch.setattr(module, "evaluate_network", lambda network, variables, images: models.Outputs(logits, None))
    return {"": stage.predict(None, None)} | {name: view(None, None) for name, view in stage.views.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_of_every_variant_is_the_formula(variant):
    logits = given(1 if variant == "e" else len(MASKS[variant]))
    branches = np.repeat(logits, 3, 0) if variant == "e" else logits
    fused = branches[0] if variant == "d" else branches.sum(0)
    alpha = 1.0 if variant == "baseline" else 0.7
    expected = by_hand(branches, LABELS, MASKS[variant], alpha, fused)
    assert float(loss(stage_of(variant=variant, alpha=0.7), logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("divisor, experts", [("pooled", 2), ("subset_means", 0)])
def test_the_loss_is_reslt_loss_summed_over_experts(divisor, experts):
    stage = stage_of(divisor=divisor, experts=experts, probability_epsilon=1e-3, fusion_epsilon=1e-2)
    logits = given(experts, 3) if experts else given(3)
    settings = {"alpha": 0.5, "divisor": divisor, "probability_epsilon": 1e-3, "fusion_epsilon": 1e-2}
    expected = sum(
        reslt_loss(own, LABELS, branch_masks=NESTED, **settings).total for own in (logits if experts else logits[None])
    )
    assert float(loss(stage, logits)) == pytest.approx(float(expected), rel=1e-5)
    names = {"branch"} if divisor == "pooled" else {"branch_0", "branch_1", "branch_2"}
    assert set(outcome(stage, logits).terms) == {"fusion"} | names


def test_a_branch_learns_from_the_images_of_its_classes_alone():
    labels = np.array([0, 0, 1, 1, 0, 1])  # no image of the tail
    gradients = jax.grad(lambda logits: loss(stage_of(alpha=1.0), logits, labels=labels))(jnp.asarray(given(3)))
    moves = np.abs(np.asarray(gradients)).sum(-1) > 0
    np.testing.assert_array_equal(moves, [[1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("variant", ["full", "d", "e", "baseline"])
def test_what_is_read_at_test(variant, monkeypatch):
    """Algorithm 1 for the baseline; without the shortcut the main branch; without specialisation thrice the same."""
    logits = given(1 if variant == "e" else 3)
    scores = read(stage_of(variant=variant), logits, monkeypatch)
    expected = {f"branch_{k}": own for k, own in enumerate(logits)}
    expected[""] = {"full": logits.sum(0), "d": logits[0], "e": 3 * logits[0], "baseline": logits.sum(0)}[variant]
    if variant == "d":
        expected["fusion_sum"] = logits.sum(0)
    if variant == "baseline":
        expected |= {"fusion_max": logits.max(0), "fusion_softmax": softmax(logits, -1).sum(0)}
    assert scores.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(scores[name], value, rtol=1e-5, atol=1e-6)


def test_experts_are_averaged_after_their_branches_are_summed(monkeypatch):
    logits = given(3, 3)
    scores = read(stage_of(experts=3), logits, monkeypatch)
    expected = {"": logits.sum(1).mean(0), "first_2_experts": logits[:2].sum(1).mean(0)}  # table 7: three and two
    expected |= {f"branch_{k}": logits[:, k].mean(0) for k in range(3)}
    expected |= {f"expert_{e}": logits[e].sum(0) for e in range(3)}
    assert scores.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(scores[name], value, rtol=1e-5, atol=1e-6)


def test_the_naive_baselines_fusion_is_not_trained():
    assert outcome(stage_of(variant="baseline"), given(3)).terms["fusion"].scale == 0


def test_mixup_trains_both_labels_in_the_share_of_their_images():
    images = np.random.RandomState(1).randint(0, 256, (6, 2, 2, 1)).astype(np.uint8)
    stage, logits, seen = stage_of(mixup=1.0), given(3), []

    def apply(params, model_state, images):
        seen.append(images)
        return models.Outputs(logits, None), model_state

    terms, _, metrics, _ = stage.objective(apply, {}, {}, {"image": {"image": images, "label": LABELS}}, CONTEXT)
    mixed = mix(CONTEXT.key, jnp.asarray(images), LABELS, 1.0)
    of_a, of_b = (reslt_loss(logits, own, branch_masks=NESTED, alpha=0.5) for own in (mixed.labels_a, mixed.labels_b))
    lam = float(mixed.lam)
    assert 0.05 < lam < 0.95 and not np.array_equal(mixed.labels_a, mixed.labels_b)
    np.testing.assert_array_equal(seen[0], mixed.images)
    of_larger = np.mean(np.argmax(logits.sum(0), -1) == np.asarray(mixed.larger))
    assert float(metrics["accuracy"]) == pytest.approx(of_larger)
    for name in ("fusion", "branch"):
        expected = lam * getattr(of_a, name) + (1 - lam) * getattr(of_b, name)
        assert float(terms[name].mean()) == pytest.approx(float(expected), rel=1e-5)
        assert terms[name].scale == 0.5


def test_watched_classes_have_the_loss_of_the_fusion():
    logits = given(3)
    expected = cross_entropy(logits.sum(0), LABELS)[LABELS == 2].mean()
    metrics = outcome(stage_of(watch_classes=(2,)), logits).metrics
    assert float(metrics["class_loss/2"].value()) == pytest.approx(expected, rel=1e-5)


def head_of(stage):
    shape = jax.eval_shape(lambda: stage.network.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1), jnp.uint8)))
    return set(shape["params"]["head"])


def test_the_heads_of_the_ablations():
    """Without specialisation a branch has no parameters of its own; figure 7's convolutions are one or three."""
    three = {"norm0", "norm1", "norm2", "classifier"}
    assert all(head_of(stage_of(variant=name)) == three for name in "abcd")  # figure 2: three branches
    assert head_of(stage_of(variant="e")) == {"norm0", "classifier"}
    assert head_of(stage_of(variant="grouped_conv")) == {"conv", "norm", "classifier"}
    separate = stage_of(variant="separate_conv")
    assert head_of(separate) == {f"{kind}{k}" for kind in ("conv", "norm") for k in range(3)} | {"classifier"}
    logits = given()
    assert float(loss(separate, logits)) == pytest.approx(cross_entropy(logits, LABELS).mean(), rel=1e-5)


def test_gamma_normalises_the_classifier_at_test_alone():
    """The branches' W^T z / |w|^gamma are summed, without the bias, in every expert."""
    step = Step(config_of(gamma=0.5, head="conv", experts=2, conv_before_pool=False))
    plain = stage_of(head="conv", experts=2, conv_before_pool=False)
    logits = np.asarray(jax.jit(lambda: plain.network.apply(step.variables, step.images).logits)())
    own = [step.state.params["head"][f"expert{e}"]["classifier"] for e in range(2)]
    expected = np.mean(
        [
            np.sum(x - weights["bias"], 0) / np.linalg.norm(weights["kernel"], axis=0) ** 0.5
            for x, weights in zip(logits, own, strict=True)
        ],
        axis=0,
    )
    read = jax.jit(step.stage.predict)(step.variables, step.images)
    np.testing.assert_allclose(read, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_experts_with_mixup_train_and_report_every_branch(tmp_path):
    results = loop.train(config_of(experts=2, mixup=1.0, groups=2, boundaries=(), epochs=1), str(tmp_path))
    assert set(results["views"]) == {"branch_0", "branch_1", "expert_0", "expert_1"}
    assert {"loss/fusion", "loss/branch"} <= set(lines(tmp_path)[0])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"variant": "f"}, ["config.reslt.variant", "'f'", "grouped_conv"]),
        ({"mixup": -1.0}, ["config.reslt.mixup", "-1.0"]),
        ({"gamma": -2.0}, ["config.reslt.gamma", "-1 for W x + b"]),
        ({"experts": 11}, ["config.reslt.experts", "11"]),
        ({"experts": 2, "variant": "grouped_conv"}, ["config.reslt.experts"]),
        ({"experts": 2, "model__backbone": "toy"}, ["config.model.backbone", "'toy'", "ride_resnet32"]),
    ],
)
def test_impossible_settings_are_one_line(changes, words):
    with pytest.raises(InputError) as error:
        METHODS["reslt"](config_of(**changes), toy.build(None))
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
