"""config.init_from: a finished run in place of the first stage; config.model.pretrained: a backbone from a file."""

import json

import jax
import numpy as np
import pytest
from flax import traverse_util

from ltjax import models
from ltjax.data import build
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.models import ResNetCifar
from ltjax.training import loop, open_stage, prepare
from ltjax.training.workdir.pretrained import with_pretrained
from tests import recipes
from tests.training import toy


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of three stages, and one of its first stage alone."""
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        root = tmp_path_factory.mktemp("runs")
        both = loop.train(toy.config("three"), str(root / "three"))
        loop.train(toy.config("first"), str(root / "first"))
        yield root, both


def install(patch):
    patch.setattr(prepare, "build", toy.build)
    patch.setitem(METHODS, "three", toy.three_stages)
    patch.setitem(METHODS, "first", lambda config, own, data: [toy.stage(config, views={"twice": twice(config)})])
    patch.setitem(models.BACKBONES, "toy", toy.Backbone)


def twice(config):
    network = toy.network(dtype=config.dtype)
    return lambda variables, images: -network.apply(variables, images).logits


@pytest.mark.parametrize("source", ["first", "three"])  # its last stage is "first", or it has a stage of that name
def test_the_stages_after_it_are_the_same_as_in_one_run(runs, tmp_path, source):
    root, both = runs
    taken = loop.train(toy.config("three", init_from=str(root / source)), str(tmp_path / "taken"))
    assert taken["per_class"] == both["per_class"]
    lines = [json.loads(line) for line in (tmp_path / "taken" / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"second"}, "the first stage was trained again"
    assert taken["train_loss_last_epoch"] == both["train_loss_last_epoch"]


def test_views_are_reported_beside_the_result(runs):
    results = json.loads((runs[0] / "first" / "results.json").read_text())
    assert set(results["views"]) == {"twice"}
    assert results["views"]["twice"]["accuracy"]["all"] != results["accuracy"]["all"]


def test_what_is_wrong_with_the_source_is_one_line(runs, tmp_path, monkeypatch):
    root, _ = runs
    first = str(root / "first")

    def error(**changes):
        with pytest.raises(InputError) as raised:
            loop.train(toy.config("three", **({"init_from": first} | changes)), str(tmp_path / "x"))
        assert "\n" not in str(raised.value)
        assert not any((tmp_path / "x").iterdir()), "the mistake left a run behind"
        return str(raised.value)

    missing = error(init_from=str(tmp_path / "none"), recipe="cifar100", num_seeds=3)
    assert "python -m ltjax.main --config=configs/cifar100_ce.py" in missing and "num_seeds=3" in missing
    assert "seeds [0], this run [3]" in error(seed=3)
    wide = toy.network(4)
    monkeypatch.setitem(METHODS, "three", lambda config, own, data: [toy.stage(config, network=wide)])
    assert "another network: params/head/classifier/bias is [3] there and [4] here" in error()


def shapes():
    network = models.Network(ResNetCifar(8), models.LinearHead(3), mean=(0.5,), std=(0.25,))
    made = jax.eval_shape(lambda: network.init(jax.random.key(0), np.zeros((1, 8, 8, 1), np.uint8)))
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), made)


def torch_names():
    """A state_dict of the same CIFAR ResNet-8 in PyTorch's names and layout, with other numbers."""
    rng, out = np.random.default_rng(1), {}
    for path, value in traverse_util.flatten_dict(shapes(), sep="/").items():
        _, _, *rest = path.split("/")
        if path.split("/")[1] != "backbone":
            continue
        *block, layer, leaf = rest
        prefix = "".join(f"layer{b[5]}.{b[-1]}." for b in block)
        kind, number = (("conv" if layer.startswith("conv") else "bn"), layer.removeprefix("conv").removeprefix("norm"))
        name = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}[
            leaf
        ]
        array = rng.standard_normal(value.shape).astype(np.float32)
        out[f"{prefix}{kind}{number or 1}.{name}"] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    return out


def test_a_pretrained_backbone_replaces_the_backbone_and_nothing_else(tmp_path):
    names = torch_names()
    np.savez(tmp_path / "w.npz", **names, **{"fc.weight": np.ones((1000, 64), np.float32)})
    before = shapes()
    after = with_pretrained(before, str(tmp_path / "w.npz"))
    flat = traverse_util.flatten_dict(after, sep="/")
    np.testing.assert_array_equal(
        flat["params/backbone/stage1_block0/conv2/kernel"], names["layer1.0.conv2.weight"].transpose(2, 3, 1, 0)
    )
    np.testing.assert_array_equal(flat["batch_stats/backbone/norm/var"], names["bn1.running_var"])
    assert all(np.any(value) for path, value in flat.items() if "/backbone/" in path)
    np.testing.assert_array_equal(flat["params/head/classifier/kernel"], 0)

    del names["layer1.0.conv2.weight"]
    np.savez(tmp_path / "w.npz", **names)
    with pytest.raises(InputError, match=r"config.model.pretrained=.*stage1_block0/conv2/kernel is missing"):
        with_pretrained(before, str(tmp_path / "w.npz"))
    (tmp_path / "w.npz").write_text("no zip")
    with pytest.raises(InputError, match=r"not a readable \.npz, \.safetensors or \.pth file"):
        with_pretrained(before, str(tmp_path / "w.npz"))


@pytest.mark.parametrize("representation", ["all", "last_block"])
def test_a_first_stage_taken_from_a_run_has_checkpoints_of_the_trained_stage_s_layout(representation):
    config = recipes.resolved("mnist5k", "decoupling").replaced({"decoupling.representation": representation})
    data = build(config.data)
    shapes = [
        open_stage.shape_of_state(data, prepare.make_stages(one, data)[0], {})
        for one in (config, config.replaced({"init_from": "runs/first"}))
    ]
    assert shapes[0] == shapes[1]
