"""LIFT on a tiny CLIP: where its classifier starts, what it trains, its ensemble, its export; zero-shot CLIP."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

import ltjax
from ltjax import models
from ltjax.errors import InputError
from ltjax.inference.serving import Corrections, in_float32, program
from ltjax.methods import METHODS
from ltjax.methods.lift import LIFTSettings, loss_of, objective_of
from ltjax.methods.tuning import select_paths
from ltjax.models import VisionTransformer
from ltjax.models.text.tokenizer import from_merges
from ltjax.models.text.tower import TextTower
from ltjax.models.tuning import Tuning
from ltjax.models.tuning.lora import merged
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_model
from tests.losses import oracle
from tests.training import toy

WIDTH, PROJECTION = 16, 8
TINY = functools.partial(
    VisionTransformer, 4, WIDTH, 2, 2, grid=2, pre_norm=True, activation="quick_gelu", projection=PROJECTION
)
MERGES = ["r o", "s e</w>", "ro se</w>", "d o", "do g</w>"]
ZERO = {"tuning__name": "all", "lift__start": "text", "lift__zero_shot": True}
NAMES = ("rose", "dog", "tin_can")


def build(settings):
    return dataclasses.replace(toy.build(settings), class_names=NAMES)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(prepare, "build", build)
    monkeypatch.setitem(models.BACKBONES, "tiny", TINY)


def recipe(**changes):
    return toy.config("lift", **({"model__backbone": "tiny", "tuning__name": "adaptformer"} | changes))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A text tower with random weights under Hugging Face's names, and its vocabulary beside it."""
    folder = tmp_path_factory.mktemp("clip")
    vocabulary = from_merges(MERGES).vocabulary
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    tower = TextTower(64, 1, 1, len(vocabulary), 16, PROJECTION, end=len(vocabulary) - 1)
    params = tower.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    names = {
        "norm1": "layer_norm1", "norm2": "layer_norm2", "attention/query": "self_attn.q_proj", "mlp/fc1": "mlp.fc1",
        "attention/key": "self_attn.k_proj", "attention/value": "self_attn.v_proj", "mlp/fc2": "mlp.fc2",
        "attention/output": "self_attn.out_proj",
    }  # fmt: skip
    arrays = {
        "text_model.embeddings.token_embedding.weight": 9 * params["token_embedding"],
        "text_model.embeddings.position_embedding.weight": params["position_embedding"],
        "text_projection.weight": params["projection"]["kernel"].T,
    }
    inner = {("text_model.final_layer_norm",): params["norm"]} | {
        (f"text_model.encoder.layers.0.{theirs}",): functools.reduce(
            lambda d, k: d[k], ours.split("/"), params["block0"]
        )
        for ours, theirs in names.items()
    }
    for (name,), layer in inner.items():
        arrays |= {f"{name}.{'bias' if leaf == 'bias' else 'weight'}": array.T for leaf, array in layer.items()}
    np.savez(folder / "clip.npz", **{name: np.asarray(array) for name, array in arrays.items()})
    return folder / "clip.npz", tower, {"params": {**params, "token_embedding": 9 * params["token_embedding"]}}


def expected_texts(clip, template="a photo of a {}."):
    _, tower, variables = clip
    tokens = from_merges(MERGES)([template.format(name.replace("_", " ")) for name in NAMES], 16)
    vectors = np.asarray(tower.apply(variables, tokens))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def started(folder):
    """The parameters that a run started from."""
    import orbax.checkpoint as ocp

    place = folder / "checkpoints" / "train" / "0"
    state = ocp.StandardCheckpointer().restore(place / "state")
    size = sum(array.size for array in jax.tree.leaves(state["params"]))
    assert sum(np.size(array) for array in jax.tree.leaves(state["opt_state"])) == size  # the momentum
    return state["params"], ocp.StandardCheckpointer().restore(place / "start")["weights"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", build)
        patch.setitem(models.BACKBONES, "tiny", TINY)
        folder = tmp_path_factory.mktemp("lift")
        results = loop.train(recipe(lift__ensemble="report", lift__expand=4), str(folder))
        return folder, results


def test_the_classifier_starts_from_the_class_means_of_frozen_features(whole):
    folder, _ = whole
    moving, frozen = started(folder)
    backbone = traverse_util.unflatten_dict(
        traverse_util.flatten_dict(frozen["backbone"]) | traverse_util.flatten_dict(moving["backbone"])
    )
    data = toy.build(None)
    images = (np.stack([data.train.read(i) for i in range(len(data.train))]) / 255 - 0.5) / 0.25
    net = TINY(projected=False)  # AdaptFormer adds nothing at first
    features = np.asarray(net.apply({"params": backbone}, images.astype(np.float32), train=False))[:, 0, 0]
    means = np.stack([features[data.train.labels == c].mean(0) for c in range(3)], 1)
    kernel = np.asarray(moving["head"]["classifier"]["kernel"])
    np.testing.assert_allclose(kernel, means / np.linalg.norm(means, axis=0), atol=1e-5)


def test_only_the_adapters_and_the_classifier_are_in_checkpoint_and_optimizer(whole):
    folder, _ = whole
    moving, frozen = started(folder)
    paths = {"/".join(path[:3]) for path in traverse_util.flatten_dict(moving)}
    adapters = {f"backbone/block{n}/adaptformer" for n in (0, 1)}
    assert paths == {"head/classifier/kernel"} | adapters
    variables = open_model(str(folder), {}).variables
    for path, array in traverse_util.flatten_dict(frozen, sep="/").items():
        now = functools.reduce(lambda tree, key: tree[key], path.split("/"), variables["params"])
        np.testing.assert_array_equal(array, now, err_msg=path)


def test_the_ensemble_is_reported_beside_the_result_and_the_run_is_a_model(whole):
    folder, results = whole
    assert 0 <= results["views"]["ensemble"]["accuracy"]["all"] <= 1
    model = ltjax.load(folder)
    assert model(np.zeros([2, 8, 8, 1], np.uint8)).logits.shape == (2, 3)


@pytest.mark.slow
def test_batches_from_the_host_and_on_the_device_give_the_same_run(whole, tmp_path):
    folder, _ = whole
    loop.train(recipe(lift__ensemble="report", lift__expand=4, data__on_device="no"), str(tmp_path))
    one, other = (open_model(str(place), {}).variables for place in (folder, tmp_path))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, other)


def test_text_gives_the_classifier_of_lift_and_of_zero_shot_clip(clip, tmp_path):
    texts = {"model__text": str(clip[0])}
    loop.train(recipe(epochs=1, lift__start="text", **texts), str(tmp_path / "lift"))
    moving, frozen = started(tmp_path / "lift")
    weights = np.asarray(frozen["backbone"]["projection"]["kernel"]) @ expected_texts(clip).T
    kernel = np.asarray(moving["head"]["classifier"]["kernel"])
    np.testing.assert_allclose(kernel, weights / np.linalg.norm(weights, axis=0), atol=1e-5)
    results = loop.train(recipe(**ZERO, **texts), str(tmp_path / "zero"))
    assert results["step"] == 0
    kernel = open_model(str(tmp_path / "zero"), {}).variables["params"]["head"]["classifier"]["kernel"]
    np.testing.assert_allclose(kernel, expected_texts(clip).T, atol=1e-5)


def test_what_text_needs_is_said(clip, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"config.model.text: a classifier from class names needs CLIP's text tower"):
        loop.train(recipe(**ZERO), str(tmp_path / "a"))
    corrected = recipe(**ZERO, model__text=str(clip[0]))
    assert loop.train(corrected, str(tmp_path / "a"))["step"] == 0  # what failed before it began is no obstacle
    alone = tmp_path / "alone.npz"
    alone.write_bytes(clip[0].read_bytes())
    with pytest.raises(InputError, match=f"config.model.vocabulary: beside {alone}: no vocabulary in"):
        loop.train(recipe(**ZERO, model__text=str(alone)), str(tmp_path / "b"))
    monkeypatch.setattr(prepare, "build", toy.build)
    with pytest.raises(InputError, match="has no class names to make a classifier of"):
        loop.train(recipe(**ZERO, model__text=str(clip[0])), str(tmp_path / "c"))
    for codes in (("n01440764", "n01443537", "n01484850"), ("2761", "0", "31")):  # ImageNet's and iNaturalist's folders
        monkeypatch.setattr(
            prepare, "build", lambda s, codes=codes: dataclasses.replace(toy.build(s), class_names=codes)
        )
        with pytest.raises(InputError, match=rf"has codes \(such as {codes[0]}\) in place of class names"):
            loop.train(recipe(**ZERO, model__text=str(clip[0])), str(tmp_path / "d"))


@pytest.mark.slow
def test_the_export_of_a_lora_run_is_merged_and_equals_the_run(tmp_path):
    loop.train(recipe(epochs=1, tuning__name="lora", lift__start="random", optimizer__learning_rate=1.0), str(tmp_path))
    finished = open_model(str(tmp_path), {})
    export = in_float32(finished)
    assert "query_lora" in finished.variables["params"]["backbone"]["block0"]["attention"]
    assert set(export.variables["params"]["backbone"]["block0"]["attention"]) == {"query", "key", "value", "output"}
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    logits, _ = program(export, Corrections())(images)
    before = finished.stage.predict(finished.variables, images)
    np.testing.assert_allclose(logits, before, atol=1e-4)
    plain = program(export._replace(variables=finished.variables), Corrections())(images)[0]
    assert np.abs(logits - plain).max() > 1e-3  # the updates count


KINDS = {
    "linear": 0,
    "bias": 2 * (2 * WIDTH + 4 * WIDTH + 4 * WIDTH + WIDTH),  # two norms, four of attention, two of the MLP
    "norm": 2 * 4 * WIDTH,
    "last_blocks": 12 * WIDTH**2 + 13 * WIDTH,
    "prompts": 3 * WIDTH,
    "deep_prompts": 2 * 3 * WIDTH,
    "adaptformer": 2 * (2 * WIDTH + 2 * 3 * WIDTH + 3 + WIDTH + 1),
    "lora": 2 * 2 * 2 * 3 * WIDTH,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_trains_its_part_and_adds_nothing_at_first(kind):
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    net, plain = TINY(tuning=Tuning(kind, 3)), TINY()
    params = net.init(jax.random.key(0), images, train=False)["params"]
    flat = traverse_util.flatten_dict({"backbone": params}, sep="/")
    assert sum(flat[path].size for path in select_paths(flat, kind)) == KINDS[kind]
    made, before = (one.apply({"params": params}, images, train=False) for one in (net, plain))
    assert made.shape == before.shape
    assert bool(jnp.array_equal(made, before)) == ("prompts" not in kind)


def test_merged_low_rank_updates_give_the_same_network():
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    net = TINY(tuning=Tuning("lora", 3))
    params = net.init(jax.random.key(0), images, train=False)["params"]
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), params)
    made = TINY().apply({"params": merged({"backbone": params})["backbone"]}, images, train=False)
    np.testing.assert_allclose(made, net.apply({"params": params}, images, train=False), atol=1e-5)


GIVEN = np.random.default_rng(0).normal(scale=3, size=(5, 3)), [0, 0, 2, 0, 2]  # class 1 has no image


def loss_of_the_batch(**settings):
    """Of the objective on the logits and labels of GIVEN: [each term's mean times its scale]."""
    logits, labels = (jnp.asarray(one) for one in GIVEN)

    def apply(params, model_state, images):
        return models.Outputs(logits, images), model_state

    objective, prior = objective_of(recipe(), LIFTSettings(**settings), toy.build(None))
    outcome = objective(apply, {}, {}, {"image": {"image": logits, "label": labels}}, None)
    return [float(term.scale * term.mean()) for term in outcome.terms.values()], prior


@pytest.mark.parametrize("rho", [0.0, 1.0, 0.5])
def test_reweighting_is_by_the_shares_of_the_classes(rho):
    """The mean is over the weights, as cross-entropy with class weights has it in the authors' code."""
    counts = np.array(toy.COUNTS, np.float64)
    weights = (counts.sum() / counts) ** rho
    each = [oracle.cross_entropy_one(row, oracle.soft(label, 3)) for row, label in zip(*GIVEN, strict=True)]
    by_image = weights[GIVEN[1]]
    (found,), prior = loss_of_the_batch(loss="reweighted", rho=rho)
    np.testing.assert_allclose(found, np.sum(by_image * each) / np.sum(by_image), rtol=1e-5)
    np.testing.assert_allclose(prior / prior.sum(), counts * weights / np.sum(counts * weights))


@pytest.mark.parametrize("weighted_by", ["class", "label"])
def test_lade_is_the_adjusted_loss_and_its_regularizer(weighted_by):
    counts = np.array(toy.COUNTS, np.float64)
    adjusted = GIVEN[0] + np.log(counts / counts.sum())
    each = [oracle.cross_entropy_one(row, oracle.soft(label, 3)) for row, label in zip(adjusted, GIVEN[1], strict=True)]
    densities = oracle.lade_regularizer(*GIVEN, toy.COUNTS, 0.2, weighted_by == "label")
    (loss, regularizer), prior = loss_of_the_batch(loss="lade", alpha=0.3, penalty=0.2, weighted_by=weighted_by)
    np.testing.assert_allclose(loss, np.mean(each), rtol=1e-5)
    np.testing.assert_allclose(regularizer, 0.3 * densities, rtol=1e-5)
    np.testing.assert_allclose(prior, prior[0])


def test_lade_takes_a_batch_as_a_whole_and_no_mixed_images():
    (stage,) = METHODS["lift"](recipe(lift__loss="lade"), build(None))
    assert stage.whole_batch
    with pytest.raises(
        InputError, match=r"config\.mix\.name: impossible value 'mixup'; allowed: 'none' with config\.l"
    ):
        METHODS["lift"](recipe(lift__loss="lade", mix__name="mixup"), build(None))
    (stage,) = METHODS["lift"](recipe(), build(None))
    assert not stage.whole_batch


@pytest.mark.parametrize("name", ["logit_adjusted", "cross_entropy", "focal", "ldam", "class_balanced", "reweighted"])
def test_every_loss_has_its_value(name):
    config, data = recipe(), toy.build(None)
    logits, labels = jnp.array([[5.0, -2.0, 1.0]]), jnp.array([2])
    loss, weights, _ = loss_of(config, LIFTSettings(loss=name), data)
    counts = np.array(toy.COUNTS, np.float64)
    x = np.asarray(logits[0], np.float64)

    def likelihood(x):
        return float(np.log(np.exp(x - x[2]).sum()))

    margins = 0.5 * (counts.min() / counts[2]) ** 0.25 * 25 * np.array([0, 0, 1])
    plain = likelihood(x)
    expected = {
        "logit_adjusted": likelihood(x + np.log(counts)), "cross_entropy": plain, "class_balanced": plain,
        "reweighted": plain, "focal": (1 - np.exp(-plain)) ** 2 * plain, "ldam": likelihood(x - margins),
    }  # fmt: skip
    np.testing.assert_allclose(loss(logits, labels)[0], expected[name], rtol=1e-5)
    assert (weights is None) == (name not in ("class_balanced", "reweighted"))


@pytest.mark.slow
def test_zero_shot_from_one_file_agrees_with_transformers_and_the_adapters_start_beside_its_weights(tmp_path):
    transformers = pytest.importorskip("transformers", reason="compares with transformers, which is not installed")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tokenizer = from_merges(MERGES)
    size = len(tokenizer.vocabulary)
    text = {
        "vocab_size": size, "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 1, "max_position_embeddings": 77,
        "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 8, "patch_size": 4, "num_channels": 1,
    }  # fmt: skip
    config = transformers.CLIPConfig(
        text_config=text, vision_config=vision, projection_dim=PROJECTION, initializer_factor=5.0
    )
    clip = transformers.CLIPModel(config).eval()
    np.savez(tmp_path / "clip.npz", **{name: value.numpy() for name, value in clip.state_dict().items()})
    (tmp_path / "merges.txt").write_text("\n".join(MERGES))
    (tmp_path / "vocab.json").write_text(json.dumps(tokenizer.vocabulary))
    given = {"model__pretrained": str(tmp_path / "clip.npz"), "tuning__name": "all"}
    loop.train(recipe(**{**ZERO, **given}), str(tmp_path / "zero"))
    finished = open_model(str(tmp_path / "zero"), {})
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    pixels = torch.tensor(((images / 255 - 0.5) / 0.25).astype(np.float32)).permute(0, 3, 1, 2)
    tokens = torch.tensor(tokenizer([f"a photo of a {name.replace('_', ' ')}." for name in NAMES])).long()
    with torch.no_grad():
        made = clip(input_ids=tokens, pixel_values=pixels)
        cosines = (made.image_embeds @ made.text_embeds.T).numpy()
    np.testing.assert_allclose(finished.stage.predict(finished.variables, images), 25 * cosines, atol=2e-3)
    given |= {"tuning__name": "adaptformer", "lift__start": "text", "epochs": 1}
    loop.train(recipe(**given), str(tmp_path / "lift"))
    _, frozen = started(tmp_path / "lift")
    np.testing.assert_array_equal(
        frozen["backbone"]["projection"]["kernel"], clip.state_dict()["visual_projection.weight"].numpy().T
    )
