"""Another number of epochs than the recipe's: schedules scale along, and the run reports it."""

import jax.numpy as jnp
import pytest

from ltjax.errors import InputError
from ltjax.methods.baselines import BASELINES
from ltjax.methods.ride import first_reweighted_epoch
from ltjax.training.step.schedules import make_schedule
from tests import recipes
from tests.shared import ROOT

FILES = sorted(f.stem for f in (ROOT / "configs").glob("*.py"))


@pytest.mark.parametrize("stem", FILES)
def test_one_epoch_of_any_config_is_possible(stem):
    config = recipes.parse(f"--config=configs/{stem}.py", "--config.epochs=1")
    assert config.epochs == 1 and (config.second_stage_epochs or 1) <= 3
    make_schedule(config.optimizer, 1, 10)
    assert config.notes and config.notes[0].startswith("config.epochs=1 instead of the recipe's ")
    if config.second_stage_optimizer is not None:
        make_schedule(config.second_stage_optimizer, config.second_stage_epochs, 10)


def test_warm_up_and_milestones_scale_unless_they_are_given():
    file = "--config=configs/cifar100_ce.py"
    half = recipes.parse(file, "--config.epochs=100").optimizer.schedule
    assert (half.milestones, half.warmup_epochs) == ((80, 90), 2)
    word = recipes.parse(f"{file}:epochs=100")
    assert word.optimizer.schedule == half
    assert word.notes == recipes.parse(file, "--config.epochs=100").notes
    given = recipes.parse(file, "--config.epochs=100", "--config.optimizer.schedule.milestones=(50,60)")
    assert (given.optimizer.schedule.milestones, given.optimizer.schedule.warmup_epochs) == ((50, 60), 2)
    same = recipes.parse(file, "--config.epochs=200")
    assert same == recipes.parse(file) and not same.notes


@pytest.mark.parametrize("dataset", recipes.BENCHMARKS)
def test_whatever_word_a_recipe_comes_with_it_scales(dataset):
    file = f"--config=configs/{dataset}_baselines.py"
    for word in (*BASELINES, "oltr", "oltr,on=representation"):
        recipe = recipes.resolved(dataset, "baselines", word)
        epochs = 2 * recipe.epochs
        for twice in (
            recipes.resolved(dataset, "baselines", f"{word},epochs={epochs}"),
            recipes.resolved(dataset, "baselines", f"epochs={epochs},{word}"),
            recipes.parse(f"{file}:{word}", f"--config.epochs={epochs}"),
        ):
            pairs = [(recipe.optimizer.schedule, twice.optimizer.schedule)]
            if recipe.second_stage_optimizer is not None:
                assert twice.second_stage_epochs == 2 * recipe.second_stage_epochs
                pairs.append((recipe.second_stage_optimizer.schedule, twice.second_stage_optimizer.schedule))
            for before, after in pairs:
                assert after.warmup_epochs == 2 * before.warmup_epochs, word
                if before.name == "step":
                    assert after.milestones == tuple(2 * milestone for milestone in before.milestones), word


@pytest.mark.parametrize("dataset", ["imagenet", "places", "inat"])
def test_ride_at_reslts_180_epochs_decays_and_reweights_where_it_does_at_100(dataset):
    """Cui et al. (2022), table 7. Its authors decay after 60 and 80 epochs of 100, and re-weight from 80 on."""
    config = recipes.resolved(dataset, "baselines", "ride,epochs=180")
    rates = [float(make_schedule(config.optimizer, 180, 1)(jnp.int32(epoch))) for epoch in (107, 108, 143, 144)]
    rate = config.optimizer.learning_rate
    assert rates == pytest.approx([rate, rate / 10, rate / 10, rate / 100])
    assert first_reweighted_epoch(180, config.method_settings.reweighted_from) == 144
    recipe = recipes.resolved(dataset, "baselines", "ride")
    assert first_reweighted_epoch(100, recipe.method_settings.reweighted_from) == 80
    assert recipe.optimizer.schedule.milestones == (60, 80)


def test_a_second_stage_scales_with_the_first():
    config = recipes.parse("--config=configs/imagenet_baselines.py:oltr", "--config.epochs=15")
    assert config.second_stage_epochs == 30 and config.optimizer.schedule.milestones == (5, 10)
    assert config.second_stage_optimizer.schedule.milestones == (10, 20)
    fixed = recipes.parse("--config=configs/inat_decoupling.py", "--config.epochs=90")
    assert fixed.second_stage_epochs == 30  # the authors' after 90 epochs as after 200
    assert not any("second_stage_epochs" in note for note in fixed.notes)


def test_a_second_stage_of_the_method_s_default_length_is_reported_when_it_gets_shorter():
    config = recipes.parse("--config=configs/mnist5k_decoupling.py", "--config.epochs=1")
    assert config.second_stage_epochs == 3
    assert config.notes[1:] == ("config.second_stage_epochs=3 instead of 10, three times config.epochs",)


def test_another_second_stage_alone_is_reported_as_such():
    config = recipes.parse("--config=configs/imagenet_baselines.py:oltr", "--config.second_stage_epochs=30")
    assert config.notes[0].startswith("config.second_stage_epochs=30 instead of the recipe's 60; scaled ")
    default = recipes.parse("--config=configs/cifar100_asynchronous.py", "--config.second_stage_epochs=3")
    assert default.notes[0].startswith("config.second_stage_epochs=3 instead of the recipe's default; scaled ")
    assert default.second_stage_optimizer.schedule.milestones == (2, 3)
    assert default.optimizer == recipes.parse("--config=configs/cifar100_asynchronous.py").optimizer


def test_the_epochs_of_the_command_line_scale_from_the_recipe_and_not_from_the_word():
    file = "--config=configs/cifar100_ce.py"
    twice = recipes.parse(f"{file}:epochs=5", "--config.epochs=10")
    assert twice == recipes.parse(file, "--config.epochs=10") and twice.optimizer.schedule.milestones == (8, 9)


def test_a_closed_form_keeps_the_default_of_its_second_stage():
    for words in ("ncm", "tau", "joint"):
        config = recipes.parse(f"--config=configs/mnist5k_decoupling.py:{words}", "--config.epochs=1")
        assert config.second_stage_epochs == 10 and len(config.notes) == 1


def test_an_impossible_number_of_epochs_in_the_words_is_one_line_or_overridden():
    file = "--config=configs/mnist5k_decoupling.py:epochs=0"
    with pytest.raises(InputError, match=r"config\.epochs: impossible value 0"):
        recipes.parse(file)
    assert recipes.parse(file, "--config.epochs=5").epochs == 5
