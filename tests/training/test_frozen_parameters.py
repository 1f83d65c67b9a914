"""config.tuning: what is frozen stays bit for bit, is in no optimizer and in no checkpoint but the first."""

import os
import signal

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import ltjax
from ltjax import models
from ltjax.errors import InputError
from ltjax.training import loop, open_stage, prepare
from ltjax.training.finished_run import open_model
from ltjax.training.interrupt import Interrupted
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def stored(workdir, step):
    """Path -> shape of each array of a checkpoint."""
    with ocp.StandardCheckpointer() as reader:
        tree = reader.metadata(workdir / "checkpoints" / "train" / str(step) / "state").item_metadata.tree
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def variables(workdir):
    leaves = jax.tree_util.tree_leaves_with_path(open_model(str(workdir), {}).variables)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def same(one, two):
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)


def stop_at(monkeypatch, step):
    add = loop.MetricsLog.add

    def adding(self, number, metrics):
        add(self, number, metrics)
        if number == step and not adding.done:
            adding.done = True
            os.kill(os.getpid(), signal.SIGTERM)

    adding.done = False
    monkeypatch.setattr(loop.MetricsLog, "add", adding)


def truncate(folder):
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that trains the head alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        folder = tmp_path_factory.mktemp("whole")
        loop.train(toy.config(tuning__name="linear"), str(folder))
        return folder


def test_a_checkpoint_holds_what_moves_and_the_finished_run_is_whole(whole):
    paths = stored(whole, 10)
    moving = {path for path in paths if path.startswith("params/")}
    assert moving == {"params/head/classifier/kernel", "params/head/classifier/bias"}
    assert not any("conv" in path for path in paths if path.startswith("opt_state"))
    model = ltjax.load(whole)
    assert model.variables["params"]["backbone"]["conv"]["kernel"].shape == (3, 3, 1, 4)
    assert model(np.zeros([2, 8, 8, 1], np.uint8)).logits.shape == (2, 3)


def test_what_is_frozen_stays_bit_for_bit(whole, tmp_path):
    loop.train(toy.config(tuning__name="linear", epochs=1), str(tmp_path))
    one, other = variables(whole), variables(tmp_path)
    for path in one:
        changed = not np.array_equal(one[path], other[path])
        assert changed == path.startswith("params/head"), path


def test_a_stopped_run_goes_on_bit_for_bit_also_without_its_step_0(whole, tmp_path, monkeypatch):
    config = toy.config(tuning__name="linear")
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path))
    truncate(tmp_path / "checkpoints" / "train" / "0")  # init makes the same again
    results = loop.train(config, str(tmp_path))
    assert [r["step"] for r in results["resumes"]] == [4]
    same(variables(whole), variables(tmp_path))  # which read step 0, made again


def test_other_frozen_weights_are_refused(tmp_path, monkeypatch):
    config = toy.config(tuning__name="linear")
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path))
    truncate(tmp_path / "checkpoints" / "train" / "0")
    key = open_stage._init_key
    monkeypatch.setattr(open_stage, "_init_key", lambda seed, stage: key(seed + 1, stage))
    with pytest.raises(InputError, match=r"train/4: was trained with other frozen weights, and .*/train/0"):
        loop.train(config, str(tmp_path))


def test_a_finished_run_without_its_step_0_says_so(whole, tmp_path):
    import shutil

    shutil.copytree(whole, tmp_path / "copy")
    truncate(tmp_path / "copy" / "checkpoints" / "train" / "0")
    with pytest.raises(InputError, match=r"train/0 cannot be read, which holds the frozen weights; copy the folder"):
        open_model(str(tmp_path / "copy"), {})


def test_several_seeds_have_frozen_weights_of_their_own(tmp_path):
    loop.train(toy.config(tuning__name="linear", num_seeds=2), str(tmp_path))
    found = variables(tmp_path)
    kernel = found["params/backbone/conv/kernel"]
    assert kernel.shape[0] == 2 and not np.array_equal(kernel[0], kernel[1])


def test_what_a_network_cannot_have_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config.tuning.name: lora is for vision transformers, and .*toy is none"):
        loop.train(toy.config(tuning__name="lora"), str(tmp_path / "a"))
    with pytest.raises(InputError, match=r"has nothing that last_blocks trains; use all or linear"):
        loop.train(toy.config(tuning__name="last_blocks"), str(tmp_path / "b"))
