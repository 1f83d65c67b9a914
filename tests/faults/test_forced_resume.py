"""A run of another config or on other data: refused with the difference; continued by --resume=force where it fits."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from ltjax import models
from ltjax.commands.train import take_resume
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished
from ltjax.training.interrupt import Interrupted
from tests.training import toy
from tests.training.test_loop import stop_at


@pytest.fixture(scope="module", autouse=True)
def toys():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", toy.build)
        patch.setitem(models.BACKBONES, "toy", toy.Backbone)
        patch.setitem(METHODS, "three", toy.three_stages)
        yield


def config(**changes):
    return toy.config(**({"evaluation__every_epochs": 0} | changes))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run stopped at step 4 of 10."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(Interrupted):
            loop.train(config(), str(folder))
    return folder


@pytest.fixture
def run(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    return tmp_path / "run"


CHANGES = {
    "config.seed is 0 there and 7 here": {"seed": 7},
    "config.batch_size is 8 there and 4 here": {"batch_size": 4},
    "config.data.sampler is ": {"data__sampler": "class_balanced"},
    "config.data.imbalance is ": {"data__imbalance": 3.0},
    "config.method is 'ce' there and 'focal' here": {"method": "focal"},
}


@pytest.mark.parametrize("words", CHANGES)
def test_another_config_is_refused_with_the_difference_and_how_to_go_on(run, words):
    before = (run / "config.json").read_text()
    with pytest.raises(InputError) as error:
        loop.train(config(**CHANGES[words]), str(run))
    assert words in str(error.value) and "--resume=force" in str(error.value) and "\n" not in str(error.value)
    assert (run / "config.json").read_text() == before


@pytest.mark.parametrize("words", [pytest.param("config.seed is 0", marks=pytest.mark.slow), "config.data.sampler is"])
def test_it_goes_on_by_force_and_the_results_say_so(run, words, monkeypatch):
    changes = next(change for key, change in CHANGES.items() if key.startswith(words))
    other = config(**changes)
    stop_at(monkeypatch, 3)
    with pytest.raises(Interrupted):
        loop.train(other, str(run), force=True)
    results = loop.train(other, str(run))  # now it is a run of this config
    notes = results["resumes"]
    assert [note["step"] for note in notes] == [4, 4, 7] and words in notes[0]["forced"]
    assert json.loads((run / "results.json").read_text())["resumes"] == notes
    finished = open_finished(str(run), {})
    assert finished.config.seed == other.seed and finished.results["step"] == 10
    with pytest.raises(InputError, match="finished run of another config"):
        loop.train(config(), str(run), force=True)


def test_the_random_numbers_and_tables_are_those_of_the_new_config(run, monkeypatch):
    seen = []
    monkeypatch.setattr(loop, "_train_stage", lambda run, stage, current, *rest: seen.append(current) or current)
    monkeypatch.setattr(loop, "_finish", lambda *arguments: {})
    loop.train(config(seed=7, data__sampler="class_balanced"), str(run), force=True)
    assert int(seen[0].state.seed) == 7 and seen[0].step == 4
    _, stages, _, _ = prepare.prepare(config(data__sampler="class_balanced"))
    ((name, sampler),) = stages[0].streams.items()
    expected = sampler.tables(np.repeat([0, 1, 2], toy.COUNTS), 3)
    assert all(np.array_equal(seen[0].tables[name][key], value) for key, value in expected.items())


def test_the_loss_of_the_last_epoch_is_known_where_lines_are_at_other_steps(run, monkeypatch):
    loss = loop.train(config(log_every_steps=3), str(run), force=True)["train_loss_last_epoch"]
    assert isinstance(loss, float)


def test_nothing_is_taken_over_before_the_lock_is_certain(run, monkeypatch):
    def lost(lock):
        raise InputError("was taken over")

    monkeypatch.setattr(loop.Lock, "confirm", lost)
    with pytest.raises(InputError, match="was taken over"):
        loop.train(config(seed=7), str(run), force=True)
    assert not (run / "resumes.json").exists()


def test_other_data_is_refused_and_taken_by_force(run, monkeypatch):
    monkeypatch.setattr(prepare, "build", lambda s: dataclasses.replace(toy.build(s), fingerprint="other" * 12))
    with pytest.raises(InputError, match=r"trained on other images .* --resume=force"):
        loop.train(config(), str(run))
    results = loop.train(config(), str(run), force=True)
    assert results["resumes"][0]["forced"] == "the data differs" and results["step"] == 10


def wide(settings, own, data):
    network = toy.network(4)
    init = lambda key, previous, features: toy.Start(network.init(key, np.zeros((1, 8, 8, 1), np.uint8)))  # noqa: E731
    return [toy.stage(settings, "train", network=network, init=init)]


def test_what_does_not_fit_is_refused_and_the_workdir_stays_as_it_was(run, monkeypatch):
    monkeypatch.setitem(METHODS, "wide", wide)
    before = {name: (run / name).read_bytes() for name in ("config.json", "metrics.jsonl")}
    for changes, words in (
        ({"method": "wide"}, r"4 does not fit this config: .*bias is \[3, 'float32'\] there and \[4, 'float32'\] here"),
        ({"method": "three"}, r"no checkpoint of stage 'first' to continue from \(its stages: train\)"),
        ({"num_seeds": 2}, "4 does not fit this config"),
        ({"batch_size": 21, "epochs": 1}, "has already 4 steps, this config gives it 2"),
    ):
        with pytest.raises(InputError, match=words) as error:
            loop.train(config(**changes), str(run), force=True)
        assert "\n" not in str(error.value)
        assert {name: (run / name).read_bytes() for name in before} == before
        assert not (run / "resumes.json").exists()


def test_the_flag_has_one_value():
    assert take_resume(["--config=x", "--resume=force"]) == (True, ["--config=x"])
    assert take_resume(["--config=x"]) == (False, ["--config=x"])
    for wrong in ("--resume", "--resume=yes"):
        with pytest.raises(InputError, match=r"allowed: --resume=force"):
            take_resume([wrong])
