"""CBS+RRS+SS does what algorithm 1 says, and ends as a plain network."""

import functools
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.tree_util import keystr
from jax.tree_util import tree_leaves_with_path as leaves_with_path

from ltjax import models
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from ltjax.losses import rotate
from ltjax.methods import METHODS, common, configure
from ltjax.methods.stage import Context, missing, trained
from ltjax.models import HeadOnFeatureLayer, LinearHead, Network
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from ltjax.training.step.class_rows import images_of_frequent_classes
from ltjax.training.step.state import parameter_count
from ltjax.training.step.step import make_apply
from tests import recipes
from tests.shared import ROOT
from tests.training import toy
from tests.training.test_loop import final, lines, same, stop_at

method = importlib.import_module("ltjax.methods.auxiliary")
DATA = toy.build(None)
S, STEPS = 4, 11  # 42 images
initialised = functools.cache(functools.partial(common.initialise, data=DATA))  # to compile it is most of a toy run


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    monkeypatch.setattr(common, "initialise", lambda network, data: initialised(network))


def config(**changes):
    """Batches of two classes with two images each."""
    usual = {"auxiliary__images_per_class": 2, "model__features": 5}
    usual |= {"epochs": 1, "batch_size": S, "second_stage_epochs": 1}
    return toy.config("auxiliary", second_stage=True, **(usual | changes))


def stages(**changes):
    return METHODS["auxiliary"](config(**changes), DATA)


def stream(records):
    records = np.array(records)
    images = np.stack([DATA.train.read(i) for i in records])
    return {"image": images, "label": DATA.train.labels[records], "index": records}


BATCH = {"balanced": stream([0, 1, 30, 31]), "random": stream([5, 25, 38, 9])}
IMAGES, LABELS = (
    method.together(*(jnp.asarray(BATCH[s][key]) for s in ("balanced", "random"))) for key in ("image", "label")
)
CONTEXT = Context(jnp.int32(0), jnp.int32(0), 1, jnp.float32(0), jax.random.key(0), {}, {})


class Recorder:
    """An `apply` that keeps what it is called with, and answers with the logits it was given for each part."""

    def __init__(self, **logits):
        self.logits, self.calls = logits, []

    def __call__(self, params, model_state, images, train=True, classifiers=()):
        self.calls.append((images, classifiers))
        rows = len(images)
        logits = {
            part: self.logits.get(part, jnp.zeros((rows, 4 if part == "rotation" else 3))) for part in classifiers
        }
        return models.Outputs(logits, jnp.zeros((rows, 1))), model_state


def recorded(**changes):
    """The calls of one objective on BATCH, and its outcome."""
    apply = Recorder()
    outcome = stages(**changes)[0].objective(apply, {}, {}, BATCH, CONTEXT)
    return apply.calls, outcome


def total(outcome):
    return sum(term.scale * term.mean() for term in outcome.terms.values())


# one step


@pytest.mark.parametrize("case", ["imagenet_weights", "no_ss", "equal"])
def test_the_loss_and_its_gradients_are_those_of_equation_2(case, monkeypatch, reference):
    v = reference("cbs_rrs_ss")[case]
    task = v["lambdas"][2] > 0
    monkeypatch.setattr(method, "turn", lambda rotation, key, images: (images, v["labels_ss"]))
    of = {"balanced": v["labels_cbs"], "random": v["labels_rrs"]}
    batch = {name: {"image": jnp.zeros((len(labels), 2, 2, 1)), "label": labels} for name, labels in of.items()}
    rotation = "random" if task else "none"
    (train, _) = stages(auxiliary__weights=tuple(v["lambdas"].tolist()), auxiliary__rotation=rotation)

    def loss(cbs, rrs, ss):
        other = jnp.full_like(cbs, 7.0)  # what a classifier says of the other stream counts nowhere
        apply = Recorder(primary=method.together(cbs, other), auxiliary=method.together(other, rrs), rotation=ss)
        outcome = train.objective(apply, {}, {}, batch, CONTEXT)
        return total(outcome), {name: term.mean() for name, term in outcome.terms.items()}

    logits = [jnp.asarray(v[f"logits_{name}"]) for name in ("cbs", "rrs", "ss")]
    (value, terms), gradients = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(*logits)
    np.testing.assert_allclose(value, v["loss"], rtol=2e-5, atol=1e-6)
    names = {"balanced": "cbs", "random": "rrs", "rotation": "ss"}
    for term, mean in terms.items():  # logged without their weights
        np.testing.assert_allclose(mean, v[f"loss_{names[term]}"], rtol=2e-5, err_msg=term)
    assert ("rotation" in terms) == task
    for gradient, name in zip(gradients, names.values(), strict=True):
        np.testing.assert_allclose(gradient, v[f"grad_{name}"], rtol=1e-4, atol=2e-6, err_msg=name)


def test_one_joint_forward_and_one_of_the_turned_images():
    (first, second), _ = recorded()
    images, parts = first
    np.testing.assert_array_equal(images, IMAGES)
    assert parts == ("primary", "auxiliary")
    images, parts = second
    assert images.shape == IMAGES.shape and images.dtype == np.uint8 and parts == ("rotation",)
    angles = jax.random.randint(CONTEXT.key, (2 * S,), 0, 4).reshape(2, S).T.reshape(-1)
    assert len(set(angles.tolist())) > 1  # an angle for each image
    np.testing.assert_array_equal(images, rotate(IMAGES, angles))


def test_all_four_angles_are_predicted_where_asked_for():
    (_, second), outcome = recorded(auxiliary__rotation="all_four")
    expected = np.stack([np.rot90(image, turns) for image in IMAGES for turns in range(4)])
    np.testing.assert_array_equal(second[0], expected)
    assert outcome.terms["rotation"].values.shape == (8 * S,)


@pytest.mark.parametrize("rotation, copies", [("augmentation", 2), ("augmentation_all_four", 4), ("none", 1)])
def test_rotation_as_augmentation_classifies_all_copies_in_the_joint_forward(rotation, copies):
    (only,), outcome = recorded(auxiliary__rotation=rotation)
    images, parts = only
    assert parts == ("primary", "auxiliary") and set(outcome.terms) == {"balanced", "random"}
    np.testing.assert_array_equal(images[::copies], IMAGES)  # the upright one comes first, once
    for copy, image in zip(np.asarray(images), np.repeat(IMAGES, copies, axis=0), strict=True):
        assert any(np.array_equal(copy, np.rot90(image, turns)) for turns in range(4))
    if rotation == "augmentation_all_four":
        assert len({image.tobytes() for image in np.asarray(images)}) == copies * 2 * S
    assert [outcome.terms[s].values.shape for s in ("balanced", "random")] == [(copies * S,)] * 2


@pytest.mark.parametrize(
    "rotation, copies",
    [("random", [1, 1]), ("all_four", [1, 4]), ("augmentation", [2]), ("augmentation_all_four", [4]), ("none", [1])],
)
def test_the_gradient_diagnostic_knows_the_classes_of_all_copies(rotation, copies):
    (train, *_) = stages(auxiliary__rotation=rotation)
    frequent = np.array([True, False, False])

    def run(apply, batch):
        return train.objective(apply, {}, {}, batch, CONTEXT)

    found, decided = images_of_frequent_classes(run, Recorder(), BATCH, frequent)
    assert decided
    for rows, number in zip(found, copies, strict=True):
        np.testing.assert_array_equal(rows, np.repeat(frequent[np.asarray(LABELS)], number))


def test_the_copies_of_each_stream_go_to_its_own_classifier():
    values = jnp.arange(16).reshape(16, 1)  # two copies of each of balanced, random, balanced, random, ...
    balanced, random = method.by_stream(values, S)
    assert balanced[:, 0].tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    assert random[:, 0].tolist() == [2, 3, 6, 7, 10, 11, 14, 15]


def test_each_task_trains_its_classifier_and_all_of_them_the_features():
    (train, _) = stages()
    variables = toy.start_of(train).variables
    state = {name: tree for name, tree in variables.items() if name != "params"}
    apply = make_apply(train)

    def means(params):
        return {name: term.mean() for name, term in train.objective(apply, params, state, BATCH, CONTEXT).terms.items()}

    own = {"balanced": "classifier", "random": "auxiliary", "rotation": "rotation"}
    for name, gradient in jax.jit(jax.jacrev(means))(variables["params"]).items():
        parts = {"backbone": gradient["backbone"]} | gradient["head"]
        moved = {part for part, tree in parts.items() if any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(tree))}
        assert moved == {"backbone", "fc", own[name]}


# streams and epochs


def test_the_balanced_stream_has_distinct_classes_and_the_random_one_every_image():
    (train, _) = stages()
    labels = DATA.train.labels
    assert list(train.streams) == ["balanced", "random"]
    drawn = {
        name: sampler.draw(sampler.tables(labels, 3), 0, name_id(name), 0, np.arange(STEPS * S))
        for name, sampler in train.streams.items()
    }
    for batch in drawn["balanced"].reshape(STEPS, S):
        classes, numbers = np.unique(labels[batch], return_counts=True)
        assert len(classes) == 2 and numbers.tolist() == [2, 2] and len(set(batch.tolist())) == S
    assert sorted(drawn["random"][:42].tolist()) == list(range(42))


def test_an_epoch_has_the_steps_that_show_every_image():
    for variant in method.VARIANTS:
        for stage in trained(stages(auxiliary__variant=variant)):
            assert prepare.steps_per_epoch(stage, config(), DATA) == STEPS  # ceil(42 / 4)


def test_images_of_a_class_follow_from_batch_and_classes():
    """The paper's 4; more where the batch has more than 4 images for every class there is."""
    assert method.images_per_class(128, 365) == 4
    assert method.images_per_class(126, 1000) == 6
    assert method.images_per_class(128, 10) == 16
    assert method.images_per_class(7, 3) == 7
    assert method.images_per_class(2, 3) == 2
    assert stages(auxiliary__images_per_class=None)[0].streams["balanced"].name == "distinct_classes"
    with pytest.raises(InputError, match=r"config.batch_size: 4 is not a multiple of 3"):
        stages(auxiliary__images_per_class=3)


def test_the_variants_draw_what_they_are_called_after():
    names = {
        variant: [[sampler.name for sampler in stage.streams.values()] for stage in stages(auxiliary__variant=variant)]
        for variant in ("rrs_only", "cbs_only", "finetuned")
    }
    assert names == {
        "rrs_only": [["instance_balanced"]],
        "cbs_only": [["distinct_classes"]],
        "finetuned": [["instance_balanced"], ["distinct_classes"]],
    }


def test_the_most_and_the_least_frequent_class_are_watched_unless_others_are():
    _, outcome = recorded()
    assert {name for name in outcome.metrics if name.startswith("class_loss")} == {
        "class_loss/0", "class_loss/2", "class_loss/0/random", "class_loss/2/random",
    }  # fmt: skip
    np.testing.assert_allclose(outcome.metrics["class_loss/0"].value(), np.log(3), rtol=1e-6)
    # no image of it in the balanced batch: not in this step
    assert outcome.metrics["class_loss/2"].value() == missing(np.float32)
    _, outcome = recorded(watch_classes=(1,))
    assert "class_loss/1" in outcome.metrics and "class_loss/0" not in outcome.metrics


# whole runs


@pytest.mark.slow
def test_a_run_ends_without_auxiliary_classifiers_and_resumes_within(tmp_path, monkeypatch):
    whole = loop.train(config(), str(tmp_path / "whole"))
    logged = lines(tmp_path / "whole")
    assert {"loss/balanced", "loss/random", "loss/rotation", "accuracy/rotation"} <= set(logged[0])
    for line in logged:
        parts = [line[f"loss/{name}"] for name in ("balanced", "random", "rotation")]
        np.testing.assert_allclose(line["loss"], np.dot([0.5, 1, 1], parts), rtol=1e-5)
    trained = final(tmp_path / "whole", config(), "train", STEPS)
    used = final(tmp_path / "whole", config(), "primary", 0)
    heads = {name.split("'")[3] for name in trained if name.startswith(".params['head']")}
    assert heads == {"fc", "classifier", "auxiliary", "rotation"}
    kept = {name for name in trained if "['auxiliary']" not in name and "['rotation']" not in name}
    for name in kept:
        if name.startswith((".params", ".model_state")):
            np.testing.assert_array_equal(used[name], trained[name], err_msg=name)
    assert not any("auxiliary" in name or "rotation" in name for name in used)
    plain = Network(toy.Backbone(), HeadOnFeatureLayer(LinearHead(3), 5), mean=(0.5,), std=(0.25,))
    fresh = jax.eval_shape(lambda: plain.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1), jnp.uint8)))
    assert whole["parameter_count"] == parameter_count(fresh["params"])

    stop_at(monkeypatch, 7)
    with pytest.raises(Interrupted):
        loop.train(config(), str(tmp_path / "parts"))
    parts = loop.train(config(), str(tmp_path / "parts"))
    assert [r["step"] for r in parts["resumes"]] == [7]
    same(used, final(tmp_path / "parts", config(), "primary", 0))
    assert lines(tmp_path / "parts") == logged and parts["per_class"] == whole["per_class"]


def test_the_training_stage_predicts_without_auxiliary_parameters():
    train, used = stages()
    variables = toy.start_of(train).variables
    images = IMAGES
    expected = train.network.apply(variables, images).logits["primary"]
    params = {**variables["params"]}
    params["head"] = {name: params["head"][name] for name in ("fc", "classifier")}
    alone = {**variables, "params": params}
    np.testing.assert_array_equal(train.predict(alone, images), expected)
    np.testing.assert_array_equal(used.predict(alone, images), expected)


@pytest.mark.slow
def test_finetuning_takes_the_features_over_and_resumes_between_its_stages(tmp_path, monkeypatch):
    settings = config(auxiliary__variant="finetuned", second_stage_optimizer__learning_rate=0.01)
    whole = loop.train(settings, str(tmp_path / "whole"))
    assert whole["step"] == 2 * STEPS
    first = final(tmp_path / "whole", settings, "train", STEPS)
    stop_at(monkeypatch, STEPS, STEPS + 3)
    for _ in range(2):
        with pytest.raises(Interrupted):
            loop.train(settings, str(tmp_path / "parts"))
    state = ocp.StandardCheckpointer().restore(tmp_path / "parts" / "checkpoints" / "finetune" / "0" / "state")
    start = {f".params{keystr(path)}": v for path, v in leaves_with_path(state["params"])}
    for part in ("fc", "classifier"):
        path = f".params['head']['{part}']['kernel']"
        assert np.array_equal(start[path], first[path]) == (part == "fc")
    conv = ".params['backbone']['conv']['kernel']"
    np.testing.assert_array_equal(start[conv], first[conv])
    parts = loop.train(settings, str(tmp_path / "parts"))
    assert [(r["stage"], r["step"]) for r in parts["resumes"]] == [("train", STEPS), ("finetune", 3)]
    last = final(tmp_path / "whole", settings, "finetune", STEPS)
    same(last, final(tmp_path / "parts", settings, "finetune", STEPS))
    assert not np.array_equal(last[conv], first[conv])  # all of the network is trained


def test_the_finetuned_classifier_can_be_kept():
    first, second = stages(auxiliary__variant="finetuned", auxiliary__finetune_classifier="kept")
    variables = toy.start_of(first).variables
    previous = type("Previous", (), {"variables": variables})
    kept = second.init(jax.random.key(1), previous, None).variables
    jax.tree.map(np.testing.assert_array_equal, kept, variables)


# settings


@pytest.mark.parametrize(
    "key, value",
    [
        ("variant", "cbs"),
        ("weights", (0.0, 1.0, 1.0)),
        ("weights", (0.5, 1.0)),
        ("weights", (0.5, -1.0, 1.0)),
        ("rotation", "half"),
        ("images_per_class", 0),
        ("finetune_classifier", "old"),
    ],
)
def test_what_no_run_could_have_is_one_line(key, value):
    with pytest.raises(InputError, match=rf"^config.auxiliary.{key}: impossible value .*; allowed: [^\n]+$"):
        stages(**{f"auxiliary__{key}": value})


CONFIGS = ROOT / "configs"


@pytest.mark.parametrize("dataset", sorted(set(recipes.DATASETS) - {"folder", "list"}))
def test_the_config_files(dataset):
    path = CONFIGS / f"{dataset}_auxiliary.py"
    namespace = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    assert f"--config=configs/{path.name}" in namespace["__doc__"]
    plain, short = namespace["get_config"](), namespace["get_config"]("short,ft,weights=1:2")
    assert (plain.method, plain.auxiliary.variant, plain.auxiliary.weights) == ("auxiliary", "joint", (0.5, 1.0, 1.0))
    assert plain.optimizer.schedule.name == "cosine"
    assert plain.evaluation.shots == {"imagenet": "inclusive", "places": "inclusive"}.get(
        dataset, "index" if dataset.startswith("cifar") else "strict"
    )
    assert (short.auxiliary.variant, short.auxiliary.weights) == ("finetuned", (1.0, 2.0, 1.0))
    assert short.epochs == short.second_stage_epochs == 10 and short.second_stage_optimizer.schedule.warmup_epochs == 0
    assert namespace["get_config"]("no_ss").auxiliary.rotation == "none"
    for wrong in ("weights=a", "rrs_only=1", "images_per_class=x"):
        with pytest.raises(InputError, match=r"impossible value .* for"):
            namespace["get_config"](wrong)


def test_a_setting_that_is_missing_is_named():
    missing = toy.recipe("auxiliary")
    del missing.auxiliary
    with pytest.raises(InputError, match=r"config.auxiliary is missing"):
        configure.resolve(missing)
    assert json.dumps(config().method_settings.to_dict())  # the workdir keeps it as JSON
