"""Features that are made once: found again, never another's, made on after a kill; stages that train on them."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.data.dataset import array_source
from ltjax.data.loading.prefetch import Watch
from ltjax.errors import InputError
from ltjax.methods.stage import Updates
from ltjax.models import CosineHead, LinearHead, LWSHead, MLPHead, TauHead, representation
from ltjax.training import loop, prepare
from ltjax.training.evaluation import IN_THREADS, Reading
from ltjax.training.execution import inputs
from ltjax.training.execution import mesh as meshes
from ltjax.training.features import store as module
from ltjax.training.features.store import FeatureStore, identity, make_store
from ltjax.training.interrupt import Interrupted
from ltjax.training.workdir.identity import absolute
from tests.shared import ROOT
from tests.training import toy
from tests.training.test_loop import lines, stop_at

NETWORK = representation(toy.network())
SHAPE = (8, 8, 1)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


@pytest.fixture(scope="module")
def variables():
    return toy.network().init(jax.random.key(0), jnp.zeros((1, *SHAPE), jnp.uint8), train=False)


def store(*places, said=None, **fields):
    usual = {
        "memory": 1e6,
        "batch_size": 8,
        "mesh": meshes.data_mesh(),
        "report": (lambda line: None) if said is None else said.append,
        "stop": lambda: None,
        "run": "run",
    }
    return FeatureStore(places, **(usual | fields))


def made(kept, variables, source=None, reading=IN_THREADS):
    return kept.features(NETWORK, variables, source or toy.build(None).train, SHAPE, reading)


def expected(variables, source=None):
    source = source or toy.build(None).train
    return np.asarray(toy.network().apply(variables, source.images(np.arange(len(source)))).features)


# ------------------------------------------------------------------------------------------------------------ the store


def test_features_are_made_once_and_found_by_the_next(tmp_path, variables, monkeypatch):
    said = []
    first = made(store(tmp_path, said=said), variables)
    np.testing.assert_allclose(first, expected(variables), rtol=1e-5, atol=1e-6)
    assert first.dtype == np.float32 and not isinstance(first, np.memmap)
    assert said[0].startswith("features: 42 x 4 (0.0 MB) computed in ") and str(tmp_path) in said[0]
    monkeypatch.setattr(module, "feature_blocks", lambda *_, **__: pytest.fail("made again"))
    again = made(store(tmp_path, said=said, memory=10), variables)
    assert isinstance(again, np.memmap) and said[1].startswith(f"features: found in {tmp_path}")
    np.testing.assert_array_equal(again, first)


def changed_image(source):
    images = source.images(np.arange(len(source)))
    images[0] += 1
    return array_source(images, source.labels, source.index)


def plus(variables, part):
    """With other numbers in a part of the parameters."""
    params = variables["params"]
    return {**variables, "params": params | {part: jax.tree.map(lambda a: a + 1e-6, params[part])}}


def test_the_key_is_of_all_that_decides_the_features_and_of_nothing_else(variables):
    train = toy.build(None).train
    own = identity(NETWORK, variables, train, SHAPE)
    assert identity(NETWORK, plus(variables, "head"), train, SHAPE) == own
    assert identity(representation(toy.network(7)), jax.device_get(variables), train, SHAPE) == own
    differ = [
        identity(NETWORK, plus(variables, "backbone"), train, SHAPE),
        identity(NETWORK, variables, toy.build(None).test, SHAPE),
        identity(NETWORK, variables, changed_image(train), SHAPE),
        identity(dataclasses.replace(NETWORK, mean=(0.4,)), variables, train, SHAPE),
    ]
    assert all(one != own for one in differ)
    heads = [identity(toy.network(), v, train, SHAPE) for v in (variables, plus(variables, "head"))]
    assert heads[0] != heads[1]  # a whole network has its head's arrays, too


def test_damaged_features_are_said_and_made_again(tmp_path, variables):
    first = made(store(tmp_path), variables)
    (path,) = tmp_path.rglob("features.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    said = []
    np.testing.assert_array_equal(made(store(tmp_path, said=said), variables), first)
    assert "wrong checksums" in said[0] and "computed again" in said[0] and "computed in" in said[1]


def test_damaged_features_that_cannot_be_removed_are_not_used(tmp_path, variables, monkeypatch):
    made(store(tmp_path), variables)
    (path,) = tmp_path.rglob("features.npy")
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(module.files, "remove", refuse)
    with pytest.raises(OSError, match=r"wrong checksums.*remove it and run again"):
        made(store(tmp_path), variables)


def test_where_nothing_can_be_written_the_next_place_is_taken_and_said(tmp_path, variables):
    (tmp_path / "file").write_text("")
    said = []
    made(store(tmp_path / "file" / "features", tmp_path / "own", said=said), variables)
    assert "file/features cannot be written" in said[0] and f"stored in {tmp_path / 'own'}" in said[0]
    said.clear()
    made(store(said=said), variables)
    assert said[0] == "features: no local folder to store them in; they are kept until this run ends"


def test_where_the_store_of_a_run_lies():
    def places(**changes):
        config = toy.config(**changes)
        kept = make_store(config, absolute("/own"), None, print, print)
        return [str(place) for place in kept.folders]

    assert places() == ["/own/features"]
    assert places(init_from="/first") == ["/first/features", "/own/features"]
    assert places(init_from="gs://bucket/first") == ["/own/features"]
    assert places(features__dir="/fast", init_from="/first") == ["/fast"]


def test_a_stop_in_the_middle_loses_nothing(tmp_path, variables, monkeypatch):
    def stop():
        raise Interrupted(15)

    monkeypatch.setattr(module, "STOP_EVERY", 2)
    with pytest.raises(Interrupted):
        made(store(tmp_path, stop=stop), variables)
    assert not list(tmp_path.rglob("manifest.json"))
    blocks, starts = module.feature_blocks, []

    def watched(*arguments, start):
        starts.append(start)
        return blocks(*arguments, start=start)

    monkeypatch.setattr(module, "feature_blocks", watched)
    np.testing.assert_allclose(made(store(tmp_path), variables), expected(variables), rtol=1e-5, atol=1e-6)
    assert starts == [2]


def test_features_with_replaced_images_are_the_runs_own(tmp_path, variables):
    train = toy.build(None).train

    def read(record):
        if record == 30:
            raise OSError("no such file")
        return train.read(record)

    broken, faults, said = dataclasses.replace(train, read=read), [], []
    skipping = Reading(0, Watch(on_faults=faults.extend))
    for run in ("one", "one", "two"):
        made(store(tmp_path, run=run, said=said), variables, broken, skipping)
    assert [fault.record for fault in faults] == [30, 30]
    assert "1 substitutes for unreadable images" in said[0] and "found in" in said[1] and "1 substitutes" in said[2]
    with pytest.raises(InputError, match="record 30"):
        made(store(tmp_path), variables, broken)


# ----------------------------------------------------------------------------------------------------- training on them


def config(second_stage="crt", **changes):
    usual = {"second_stage_epochs": 2, "epochs": 1, "log_every_steps": 1, "dtype": "float64"}
    usual |= {
        "decoupling__second_stage": second_stage,
        "second_stage_optimizer__schedule__name": "cosine",
        "second_stage_optimizer__schedule__unit": "step",
    }
    return toy.config("decoupling", second_stage=True, **(usual | changes))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A first stage of two seeds in float64, and the second trained through the network; no augmentation in either."""
    with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        root = tmp_path_factory.mktemp("runs")
        loop.train(config("joint", num_seeds=2), str(root / "joint"))
        whole = loop.train(second(root, gradients__every_steps=3), str(root / "images"))
        yield root, whole


def second(root, **changes):
    return config(num_seeds=2, init_from=str(root / "joint"), **changes)


WAYS = {
    "device": {"data__on_device": "yes", "steps_per_call": 2},
    "vmap": {"data__on_device": "yes", "seeds_by": "vmap"},
    "host, mapped": {"features__memory_mb": 1e-4},
}


@pytest.mark.slow  # tests/training/test_frozen_features.py compares runs on every push
@pytest.mark.parametrize("way", WAYS)
def test_in_float64_features_train_as_the_whole_network_does(way, runs, tmp_path, monkeypatch, capsys):
    """Stopped in the middle and gone on; then NCM finds the same features."""
    root, whole = runs
    with jax.enable_x64(True):
        settings = second(root, decoupling__cached=True, gradients__every_steps=3, **WAYS[way])
        with monkeypatch.context() as patch:
            stop_at(patch, 3)
            with pytest.raises(Interrupted):
                loop.train(settings, str(tmp_path / "run"))
        monkeypatch.setattr(module, "feature_blocks", lambda *_, **__: pytest.fail("made again"))
        cached = loop.train(settings, str(tmp_path / "run"))
        if "host" in way:
            loop.train(second(root, decoupling__second_stage="ncm"), str(tmp_path / "ncm"))
    pairs = list(zip(numbers(root / "images"), numbers(tmp_path / "run"), strict=True))
    assert len(pairs) == 10 and any("gradient/norm" in one and "gradient/norm" in two for one, two in pairs)
    for one, two in pairs:
        for name in one.keys() & two.keys():
            np.testing.assert_allclose(two[name], one[name], rtol=1e-9, err_msg=name)
    assert cached["per_class"] == whole["per_class"] and cached["parameter_count"] == whole["parameter_count"]
    assert ("from their file" if "host" in way else "features: on the device") in capsys.readouterr().err
    assert len(list((root / "joint" / "features").iterdir())) == 2  # one of each seed, and all ways share them


def numbers(folder):
    """[step] of {name: [seeds]}"""
    names = ("loss", "accuracy", "gradient/norm", "gradient/cosine_rare")
    logged = {line["step"]: line["per_seed"] for line in lines(folder)}
    own = [logged.get(step, {}) for step in range(1, 11)]
    return [{name: each[name] for name in names if name in each} for each in own]


HEADS = (LinearHead(3), LWSHead(3), MLPHead(3, (6,)), CosineHead(3), TauHead(3))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_a_head_on_features_is_the_network_on_their_images(head):
    """Bit for bit, and nothing of the state moves."""
    network, images = dataclasses.replace(toy.network(), head=head), toy.build(None).train.images(np.arange(9))

    @jax.jit
    def everything(key):
        own = network.init(key, images, train=False)
        features = representation(network).apply(own, images).features
        modes = {"train": True, "frozen_norm": True, "mutable": ["batch_stats"]}
        return own, features, network.apply(own, images, **modes), network.apply(own, features, **modes)

    own, features, (whole, stays), (alone, left) = jax.device_get(everything(jax.random.key(1)))
    assert features.shape == (9, 4) and np.ptp(features) > 0
    jax.tree.map(np.testing.assert_array_equal, alone, whole)
    jax.tree.map(np.testing.assert_array_equal, {**own, **left}, {**own, **stays})


def test_features_that_are_not_float_are_refused():
    with pytest.raises(InputError, match=r"features: dtype uint8 \[9, 4\] is not float"):
        toy.network().init(jax.random.key(0), np.zeros((9, 4), np.uint8))


def test_features_are_placed_as_images_are_but_a_mapped_file_stays_where_it_is_on_a_cpu(tmp_path, monkeypatch):
    train, mesh = toy.build(None).train, meshes.data_mesh()
    rows = np.random.RandomState(0).rand(42, 4).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")

    def lies(array, setting, memory=10_000):
        monkeypatch.setattr(inputs, "device_memory", lambda: memory)
        config = toy.config(data__on_device=setting)
        found, why = inputs.of_features(config, [array], train, mesh)
        assert f"on_device={setting}" in why and found.transform.name == "none" and found.workers == 0
        return found.resident is not None

    assert lies(rows, "auto") and lies(rows, "yes") and not lies(rows, "no")
    assert lies(mapped, "yes") and not lies(mapped, "auto")
    assert not lies(rows, "yes", memory=2_600) and not lies(rows, "auto", memory=2_600)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"retrain": "last_block"}, "retrain=last_block"),
        ({"norm": "batch"}, "norm=batch"),
        ({"second_stage": "joint"}, "joint"),
    ],
)
def test_where_features_would_not_be_true_they_are_refused_in_one_line(changes, says):
    with pytest.raises(InputError, match=rf"^config\.decoupling\.cached: impossible value True; allowed: .*{says}"):
        config(decoupling__cached=True, **{f"decoupling__{key}": value for key, value in changes.items()})


def test_a_stage_whose_features_would_move_is_refused():
    stage = toy.stage(toy.config(), representation=NETWORK, updates=Updates(norm="frozen"))
    for wrong in (stage, dataclasses.replace(stage, updates=Updates(("head",)))):
        with pytest.raises(ValueError, match="representation must be frozen"):
            inputs.check_frozen(wrong, SHAPE)
    inputs.check_frozen(dataclasses.replace(stage, updates=Updates(("head",), norm="frozen")), SHAPE)


def test_the_manifest_can_be_read(tmp_path, variables):
    made(store(tmp_path), variables)
    (manifest,) = tmp_path.rglob("manifest.json")
    record = json.loads(manifest.read_text())
    assert record["shape"] == [42, 4] and "conv" not in record["identity"]["network"]
    assert pathlib.Path(manifest.parent).name == module.files.key_of(record["identity"])


@pytest.mark.slow
def test_what_does_not_fit_in_memory_is_never_loaded(tmp_path):
    """410 MB of features; the process's own memory grows by what a step and a part of them take."""
    options = "--records 200000 --size 512 --classes 20 --steps 10 --memory-mb 50 --seconds crt ncm"
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.large_features", str(tmp_path), *options.split()],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "features")
    _, ncm = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr.count("features: 200,000 x 512 (409.6 MB) computed") == 1
    assert "batches are made by the host from their file" in done.stderr and "features: found in" in done.stderr
    assert ncm["peak_mb"] < ncm["before_mb"] + 250, ncm
