"""The learning rate of another batch size: one rule for all stages, and a line that says what was done."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.stage import Updates
from ltjax.settings.identity import difference, identity, to_json
from ltjax.training import loop, prepare
from ltjax.training.finished_run import read_config
from ltjax.training.step.batch_size_scaling import factor, rate_notes, scaled_rate
from ltjax.training.step.schedules import make_schedule
from tests import recipes
from tests.training import toy


def parse(*arguments):
    return recipes.parse(*arguments)


@pytest.mark.parametrize("dataset", recipes.DATASETS)
def test_every_recipe_knows_the_batch_size_of_its_rates(dataset):
    for family in recipes.FAMILIES:
        if (dataset in ("folder", "list")) <= (family in ("ce", "reslt")):
            config = recipes.build(dataset, family)
            changed = recipes.build(dataset, family, "batch_size=24,short")
            for own in (config, changed):
                blocks = [own.optimizer, own.get("second_stage_optimizer", own.optimizer)]
                assert {block.recipe_batch_size for block in blocks} == {config.batch_size}
            assert changed.batch_size == 24
            assert "rate_rule" not in config.get("second_stage_optimizer", {})


def test_an_override_does_not_change_the_reference_and_a_recipe_of_another_backbone_does():
    assert parse("--config=configs/cifar100_ce.py", "--config.batch_size=512").optimizer.recipe_batch_size == 128
    assert parse("--config=configs/imagenet_reslt.py:backbone=resnet10").optimizer.recipe_batch_size == 256
    config = parse("--config=configs/imagenet_reslt.py:batch_size=64,backbone=resnext101_32x4d")
    assert (config.batch_size, config.optimizer.recipe_batch_size) == (64, 128)
    with pytest.raises(InputError, match="unknown key"):
        parse("--config=configs/cifar100_decoupling.py", "--config.second_stage_optimizer.rate_rule=sqrt")


@pytest.mark.parametrize("rule, times", [("none", 1.0), ("linear", 4.0), ("sqrt", 2.0)])
def test_the_whole_schedule_of_every_stage_is_multiplied(rule, times):
    config = toy.config(epochs=6, batch_size=32, optimizer__recipe_batch_size=8, optimizer__rate_rule=rule)
    schedule = {"name": "step", "warmup_epochs": 2, "warmup_start": 0.25, "milestones": (4,)}
    config = toy.changed(config, **{f"optimizer__schedule__{name}": value for name, value in schedule.items()})
    before = config.to_dict()
    stage = toy.stage(config, updates=Updates(rates={"backbone": 0.1}))
    scaled = scaled_rate(stage, config)
    steps = jnp.arange(30)
    plain, own = (np.asarray(make_schedule(s.optimizer, 6, 5)(steps)) for s in (stage, scaled))
    np.testing.assert_allclose(own, times * plain, rtol=1e-6)
    assert scaled.updates == stage.updates and config.to_dict() == before
    assert scaled_rate(stage, config).optimizer.weight_decay == stage.optimizer.weight_decay
    assert factor(rule, 8, 8) == 1


def test_a_run_says_that_its_rate_is_scaled_or_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(METHODS, "ce", toy.three_stages)
    config = toy.config(batch_size=8, optimizer__recipe_batch_size=2)
    begin = "learning rate of stage '{}': 0.02 is for batches of 2, this run has 8"
    _, stages, _, _ = prepare.prepare(config)
    unscaled = (
        begin
        + " and does not scale it (config.optimizer.rate_rule=none; linear would make it 0.08, sqrt would make it 0.04)"
    )
    assert rate_notes(stages, config) == [unscaled.format(name) for name in ("first", "second")]  # the third is closed
    config = toy.changed(config, optimizer__rate_rule="sqrt")
    _, stages, _, _ = prepare.prepare(config)
    assert stages[0].optimizer.learning_rate == 0.04
    scaled = [
        (begin + ": scaled to 0.04 (config.optimizer.rate_rule=sqrt)").format(name) for name in ("first", "second")
    ]
    assert rate_notes(stages, config) == scaled
    monkeypatch.setattr(loop, "_run_stages", lambda run, source: {})
    loop.train(config, str(tmp_path))
    assert scaled[0] in capsys.readouterr().err
    config = toy.changed(config, batch_size=2)
    assert rate_notes(prepare.prepare(config)[1], config) == []


def test_a_rule_without_the_recipes_batch_size_and_an_unknown_one_are_refused():
    with pytest.raises(InputError, match=r"linear needs the batch size .* set config.optimizer.recipe_batch_size"):
        factor("linear", 8, 0)
    with pytest.raises(InputError, match=r"config.optimizer.rate_rule: impossible value 'linaer'"):
        parse("--config=configs/cifar100_ce.py", "--config.optimizer.rate_rule=linaer")


def test_a_workdir_that_is_older_than_the_settings_goes_on(tmp_path):
    config = parse("--config=configs/mnist5k_decoupling.py")
    old = json.loads(to_json(config))
    del old["micro_batches"], old["model"]["norm_group"], old["optimizer"]["rate_rule"]
    del old["optimizer"]["recipe_batch_size"], old["second_stage_optimizer"]["recipe_batch_size"]
    assert difference(config, old) is None
    (tmp_path / "config.json").write_text(json.dumps(old))
    read = read_config(str(tmp_path))
    assert identity(read) == identity(config) and read.micro_batches == 1 and read.optimizer.rate_rule == "none"
    assert json.loads(to_json(read))["model"]["norm_group"] == 0
    changed = parse("--config=configs/mnist5k_decoupling.py", "--config.micro_batches=2")
    assert difference(changed, old) == "config.micro_batches is None there and 2 here"
    ruled = parse("--config=configs/mnist5k_decoupling.py", "--config.optimizer.rate_rule=sqrt")
    assert "config.optimizer.rate_rule is None there and 'sqrt' here" in difference(ruled, old)
