"""The loop on a toy: stages, checkpoints, resume, logs, results. Interruptions are injected at chosen steps."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished
from ltjax.training.interrupt import Interrupted
from ltjax.training.open_stage import shape_of_state
from ltjax.training.workdir.checkpoint import Owner, abstract, checkpoints
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(METHODS, "three", toy.three_stages)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def final(workdir, config, stage_name, step):
    """The arrays of a checkpoint, by path."""
    _, stages, _, fingerprint = prepare.prepare(config)
    stage = next(s for s in stages if s.name == stage_name)
    with checkpoints(workdir / "checkpoints" / stage_name, keep=None) as saved:
        extras = saved.restore_start()["extras"]
        target = abstract(shape_of_state(toy.build(None), stage, extras), None)
        restored = saved.restore(target, Owner(fingerprint))
    assert restored.step == step
    return {jax.tree_util.keystr(p): np.asarray(v) for p, v in jax.tree_util.tree_leaves_with_path(restored.state)}


def last(workdir, step=10):
    """The arrays of a checkpoint by path, read without step 0."""
    restored = ocp.StandardCheckpointer().restore(workdir / "checkpoints" / "train" / str(step) / "state")
    return {jax.tree_util.keystr(p): np.asarray(v) for p, v in jax.tree_util.tree_leaves_with_path(restored)}


def same(one, two):
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)


def stop_at(monkeypatch, *steps, signum=signal.SIGTERM):
    """Sends the signal to this process when the log gets one of these (global) steps."""
    todo, add = list(steps), loop.MetricsLog.add

    def adding(self, step, metrics):
        add(self, step, metrics)
        adding.count += 1
        if todo and adding.count == todo[0]:
            todo.pop(0)
            os.kill(os.getpid(), signum)

    adding.count = 0
    monkeypatch.setattr(loop.MetricsLog, "add", adding)


def test_a_run_leaves_what_it_promises(tmp_path):
    config = toy.config(evaluation__every_epochs=1)
    results = loop.train(config, str(tmp_path / "run"))
    folder = tmp_path / "run"
    assert json.loads((folder / "results.json").read_text()) == results
    assert json.loads((folder / "config.json").read_text())["batch_size"] == 8
    assert results["step"] == 10 and results["epoch_rule"] == "last" and results["resumes"] == results["skipped"] == []
    assert results["train_size"] == 42 and results["class_counts"] == [24, 12, 6]
    assert results["accuracy"]["all"] == np.mean(results["per_class"])  # 7 test images in each class
    assert results["shots"]["strict"]["many"] is None and results["shots"]["strict"]["classes"] == [0, 1, 2]
    assert results["shots"]["index"]["classes"] == [1, 1, 1]
    arrays = np.load(folder / "evaluation.npz")
    assert arrays["confusion"].sum() == 21
    kernel = open_finished(str(folder), {}).variables["params"]["head"]["classifier"]["kernel"]
    np.testing.assert_allclose(arrays["weight_norms"], np.sqrt(np.sum(kernel**2, axis=0)), rtol=1e-6)
    logged = lines(folder)
    assert [r["step"] for r in logged] == [2, 4, 5, 6, 8, 10]
    assert "test/all" in logged[2] and logged[-1]["test/all"] == results["accuracy"]["all"]
    by_hand = (logged[3]["loss"] + 2 * logged[4]["loss"] + 2 * logged[5]["loss"]) / 5
    assert results["train_loss_last_epoch"] == pytest.approx(by_hand)
    assert list((folder / "tensorboard").glob("events*"))


def test_the_workdir_may_be_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = loop.train(toy.config(), "runs/first")
    assert (tmp_path / "runs" / "first" / "results.json").exists()
    assert open_finished("runs/first", {}).results == results


def test_a_finished_run_is_not_run_again(tmp_path, monkeypatch):
    results = loop.train(toy.config(), str(tmp_path))
    monkeypatch.setattr(loop, "prepare", lambda config: pytest.fail("prepared again"))
    assert loop.train(toy.config(), str(tmp_path)) == results


def test_a_run_that_ended_before_its_first_checkpoint_is_replaced(tmp_path, monkeypatch, capsys):
    def fails(*arguments):
        raise InputError("a file is missing")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="a file is missing"):
        patch.setattr(loop, "_run_stages", fails)
        loop.train(toy.config(), str(tmp_path))
    assert (tmp_path / "config.json").exists() and not (tmp_path / "results.json").exists()
    assert loop.train(toy.config(seed=5), str(tmp_path))["seeds"] == [5]
    assert "config.json: is replaced" in capsys.readouterr().err
    assert open_finished(str(tmp_path), {}).config.seed == 5


def test_a_workdir_of_another_config_is_refused(tmp_path):
    loop.train(toy.config(), str(tmp_path))
    with pytest.raises(InputError, match=r"another config: config.seed is 0 there and 5 here"):
        loop.train(toy.config(seed=5), str(tmp_path))
    way_out = r"shots is 'strict' there and 'index' here; .* set these values \(--config.evaluation.shots=strict\) to"
    with pytest.raises(InputError, match=way_out):
        loop.train(toy.config(evaluation__shots="index"), str(tmp_path))


def test_other_data_under_the_same_config_is_refused(tmp_path, monkeypatch):
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(toy.config(), str(tmp_path))
    import dataclasses

    monkeypatch.setattr(prepare, "build", lambda s: dataclasses.replace(toy.build(s), fingerprint="other" * 12))
    with pytest.raises(InputError, match=r"trained on other images \(index \w+, here otherotherot\)"):
        loop.train(toy.config(), str(tmp_path))


@pytest.mark.parametrize(
    "signum, status", [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGINT, 130)]
)
def test_a_signal_saves_and_the_run_goes_on_bit_for_bit(tmp_path, monkeypatch, signum, status):
    config = toy.config("reslt", epochs=3)
    whole = loop.train(config, str(tmp_path / "whole"))
    stop_at(monkeypatch, 1, 7, 12, signum=signum)
    for step in (1, 7, 12):
        with pytest.raises(Interrupted) as told:
            loop.train(config, str(tmp_path / "parts"))
        assert told.value.status == status
        assert str(step) in os.listdir(tmp_path / "parts" / "checkpoints" / "train")
    parts = loop.train(config, str(tmp_path / "parts"))
    assert [r["step"] for r in parts["resumes"]] == [1, 7, 12]
    same(final(tmp_path / "whole", config, "train", 15), final(tmp_path / "parts", config, "train", 15))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    for key in ("accuracy", "per_class", "train_loss_last_epoch", "commits", "hardware"):
        assert whole[key] == parts[key]


def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(tmp_path, monkeypatch, caplog):
    config = toy.config(epochs=3)
    loop.train(config, str(tmp_path / "whole"))
    stop_at(monkeypatch, 8)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path / "parts"))
    broken = tmp_path / "parts" / "checkpoints" / "train" / "8" / "state"
    truncate(broken)
    parts = loop.train(config, str(tmp_path / "parts"))
    assert [r["step"] for r in parts["resumes"]] == [6]
    assert "8 cannot be read and is skipped" in caplog.text
    same(final(tmp_path / "whole", config, "train", 15), final(tmp_path / "parts", config, "train", 15))
    assert [r["step"] for r in lines(tmp_path / "parts")] == [r["step"] for r in lines(tmp_path / "whole")]


def truncate(folder):
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("broken, resumed", [(["0"], [4]), pytest.param(["0", "3", "4"], [], marks=pytest.mark.slow)])
def test_what_init_made_is_made_again_when_step_0_is_broken(tmp_path, monkeypatch, broken, resumed):
    config = toy.config()
    loop.train(config, str(tmp_path / "whole"))
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path / "parts"))
    for step in broken:
        truncate(tmp_path / "parts" / "checkpoints" / "train" / step)
    parts = loop.train(config, str(tmp_path / "parts"))
    assert [r["step"] for r in parts["resumes"]] == resumed
    same(last(tmp_path / "whole"), last(tmp_path / "parts"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_lines_written_after_the_last_checkpoint_are_not_doubled(tmp_path, monkeypatch):
    config = toy.config(epochs=2)
    loop.train(config, str(tmp_path / "whole"))
    stop_at(monkeypatch, 6)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path / "parts"))
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:  # as a kill leaves it: ahead, the last line cut
        file.write('{"step": 8, "epoch": 1.6, "stage": "train", "loss": 1.0}\n{"step": 10, "ep')
    loop.train(config, str(tmp_path / "parts"))
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_failed_write_is_an_error_and_not_a_checkpoint(tmp_path, monkeypatch):
    manager = loop.Checkpoints(tmp_path / "first", keep=2)
    manager.save(0, {"x": np.zeros(3)}, {"fingerprint": "f"}, start={"format": np.int32(1)})
    manager.wait()
    monkeypatch.setattr(manager.manager, "wait_until_finished", lambda: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match=r"could not be written; the one before is kept: .*OSError: disk full"):
        manager.save(1, {"x": np.zeros(3)}, {"fingerprint": "f"})


def test_a_loss_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path):
    config = toy.config(optimizer__learning_rate=1e30, checkpoint__every_steps=1, log_every_steps=4)
    with pytest.raises(FloatingPointError, match=r"not finite at step \d+; try"):
        loop.train(config, str(tmp_path))
    saved = [int(name) for name in os.listdir(tmp_path / "checkpoints" / "train") if name.isdigit()]
    assert max(saved) < 4
    assert not (tmp_path / "results.json").exists()


def test_three_stages_follow_each_other_and_resume_inside_each(tmp_path, monkeypatch):
    config = toy.config("three")
    whole = loop.train(config, str(tmp_path / "whole"))
    assert whole["step"] == 15  # ten steps, five, none
    first = final(tmp_path / "whole", config, "first", 10)
    second = final(tmp_path / "whole", config, "second", 5)
    third = final(tmp_path / "whole", config, "third", 0)
    kernel, bias = (f".params['head']['classifier']['{name}']" for name in ("kernel", "bias"))
    assert np.array_equal(
        first[".params['backbone']['conv']['kernel']"], second[".params['backbone']['conv']['kernel']"]
    )
    assert not np.array_equal(first[kernel], second[kernel])
    np.testing.assert_array_equal(first[bias], second[bias])  # its rate is 0
    np.testing.assert_array_equal(2 * second[kernel], third[kernel])
    assert second[".extras['running']"] != 0
    logged = [r for r in lines(tmp_path / "whole") if r["stage"] == "second"]
    assert logged and all(r["largest"] < 6 for r in logged)  # the tables that init gave, not the sampler's own
    assert logged[0]["loss/distance"] >= 0 and [r["step"] for r in lines(tmp_path / "whole")] == [
        2,
        4,
        5,
        6,
        8,
        10,
        12,
        14,
        15,
    ]

    stop_at(monkeypatch, 3, 10, 13)
    for _ in range(3):
        with pytest.raises(Interrupted):
            loop.train(config, str(tmp_path / "parts"))
    parts = loop.train(config, str(tmp_path / "parts"))
    assert [(r["stage"], r["step"]) for r in parts["resumes"]] == [("first", 3), ("first", 10), ("second", 3)]
    same(third, final(tmp_path / "parts", config, "third", 0))
    same(second, final(tmp_path / "parts", config, "second", 5))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert whole["per_class"] == parts["per_class"]


def test_the_frozen_teacher_is_the_stage_before_also_after_a_resume(tmp_path, monkeypatch):
    config = toy.config("three")
    stop_at(monkeypatch, 12)
    with pytest.raises(Interrupted):
        loop.train(config, str(tmp_path))
    with checkpoints(tmp_path / "checkpoints" / "second", keep=None) as saved:
        teacher = saved.restore_start()["frozen"]["teacher"]["params"]["head"]["classifier"]["kernel"]
    np.testing.assert_array_equal(
        teacher, final(tmp_path, config, "first", 10)[".params['head']['classifier']['kernel']"]
    )


def test_evaluate_agrees_with_the_run_and_refuses_what_is_no_finished_run(tmp_path, monkeypatch, capsys):
    from ltjax.commands.evaluate import main

    results = loop.train(toy.config(), str(tmp_path / "run"))
    assert main([f"--run={tmp_path / 'run'}", "--batch-size=4"]) == 0
    printed = capsys.readouterr().out
    assert "equal to results.json" in printed and f"{100 * results['accuracy']['all']:.1f}" in printed
    shutil.copytree(tmp_path / "run", tmp_path / "unfinished")
    os.remove(tmp_path / "unfinished" / "results.json")
    for folder, words in (("nothing", "no config.json"), ("unfinished", "is not finished")):
        assert main([f"--run={tmp_path / folder}"]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert main(["--rnu=x"]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_bfloat16_computes_with_float32_parameters(tmp_path):
    plain = loop.train(toy.config(), str(tmp_path / "float32"))
    half_config = toy.config(dtype="bfloat16")
    half = loop.train(half_config, str(tmp_path / "bfloat16"))
    arrays = final(tmp_path / "bfloat16", half_config, "train", 10)
    assert {a.dtype.name for a in arrays.values()} == {"float32", "int32", "uint32"}
    assert half["train_loss_last_epoch"] != plain["train_loss_last_epoch"]
    assert half["train_loss_last_epoch"] == pytest.approx(plain["train_loss_last_epoch"], rel=0.2)


@pytest.mark.slow
def test_the_class_balanced_sampler_and_the_subset_means_are_settings(tmp_path):
    config = toy.config("reslt", data__sampler="class_balanced", reslt__divisor="subset_means")
    loop.train(config, str(tmp_path))
    assert {"loss/fusion", "loss/branch_0", "loss/branch_1", "loss/branch_2"} <= set(lines(tmp_path)[0])
