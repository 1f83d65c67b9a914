"""The command on a toy, on one CPU device with a TPU's numbers; its programs are those of the run."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from ltjax import models
from ltjax.data import Data
from ltjax.data.augment.registry import find_transform
from ltjax.data.datasets.stand_in import SIZES, stand_in, with_few_images
from ltjax.data.loading.host_batches import train_batches
from ltjax.dryrun import __main__ as command
from ltjax.dryrun import lowering, text
from ltjax.dryrun import plan as plans
from ltjax.dryrun.devices import Slice
from ltjax.dryrun.largest import Try
from ltjax.errors import InputError
from ltjax.hardware.chips import TPUS
from ltjax.methods import METHODS
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution.programs import Execution, streamed_step
from ltjax.training.step.state import create_state
from tests import recipes
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(plans, "find_data", toy.build)
    monkeypatch.setitem(METHODS, "three", toy.three_stages)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def target(memory=2**30):
    return Slice("v5e:1x1", TPUS["v5e"].chip, "TPU v5e", meshes.data_mesh(), 1, memory, "a compiler")


def dry_run(config, tmp_path, memory=2**30, stage=None, no_largest=True):
    status = command.report(config, "toy.py", target(memory), stage, no_largest, tmp_path / "numbers.json")
    return status, json.loads((tmp_path / "numbers.json").read_text())


def test_what_fits_is_reported_with_times_of_the_whole_run(tmp_path, capsys):
    status, numbers = dry_run(toy.config("three", evaluation__every_epochs=1), tmp_path)
    text = capsys.readouterr().out
    assert status == 0 and numbers["fits"] and "fits: at most" in text
    programs = {(one["kind"], one["stage"]): one for one in numbers["programs"]}
    # 42 images in batches of 8, 21 test images in batches of 8; the first stage is evaluated once before its end
    steps = {key: one["steps_of_the_run"] for key, one in programs.items()}
    assert steps == {
        ("train", "first"): 10, ("train", "second"): 5, ("evaluation", "first"): 3, ("evaluation", "third"): 3,
    }  # fmt: skip
    seconds = sum(one["steps_of_the_run"] * one["seconds_at_least"]["step"] for one in programs.values())
    assert numbers["hours_at_least"] == pytest.approx(seconds / 3600)
    assert numbers["chip_hours_at_least"] == numbers["hours_at_least"]
    for one in programs.values():
        roof = one["seconds_at_least"]
        assert roof["step"] == max(roof["compute"], roof["memory"], roof["interconnect"]) == roof[roof["binds"]] > 0
        assert one["traced_matrix_flops"] > 0 and one["memory_bytes"]["together"] > 0


def test_the_views_of_the_last_stage_are_evaluated_with_it_after_the_last_epoch(tmp_path, monkeypatch):
    def method(config, settings, data):
        network = toy.network()
        views = {"twice": lambda variables, images: 2 * network.apply(variables, images, train=False).logits}
        return [toy.stage(config, views=views)]

    monkeypatch.setitem(METHODS, "viewed", method)
    _, numbers = dry_run(toy.config("viewed", evaluation__every_epochs=1), tmp_path)
    before, last = (one for one in numbers["programs"] if one["kind"] == "evaluation")
    assert (before["steps_of_the_run"], last["steps_of_the_run"]) == (3, 3)  # 21 test images in batches of 8, each
    assert last["traced_matrix_flops"] == before["traced_matrix_flops"]  # of one pass


def test_one_stage_alone(tmp_path):
    _, numbers = dry_run(toy.config("three"), tmp_path, stage="second")
    assert [(one["kind"], one["stage"]) for one in numbers["programs"]] == [
        ("train", "second"),
        ("evaluation", "third"),
    ]
    with pytest.raises(InputError, match="--stage: unknown value 'third'; allowed: first, second"):
        dry_run(toy.config("three"), tmp_path, stage="third")


def test_what_does_not_fit_has_status_1_and_its_size(tmp_path, capsys):
    status, numbers = dry_run(toy.config(), tmp_path, memory=2000)
    assert status == 1 and not numbers["fits"] and numbers["hours_at_least"] is None
    assert "does NOT fit: train, needs" in capsys.readouterr().out


def test_a_program_that_the_compiler_cannot_fit_is_a_result(tmp_path, capsys, monkeypatch):
    def refuse(self, compiler_options):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: ... in memory space hbm. Used 22.00G of 15.75G hbm. ...")

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    status, numbers = dry_run(toy.config(), tmp_path)
    assert status == 1 and [one["needed_bytes"] // 2**30 for one in numbers["programs"]] == [22]  # and no evaluation
    assert "does NOT fit: train, needs 22,528 MiB, a chip has 1,024 MiB" in capsys.readouterr().out


def test_other_errors_of_the_compiler_are_errors(tmp_path, monkeypatch):
    def fail(self, compiler_options):
        raise jax.errors.JaxRuntimeError("INTERNAL: what now")

    monkeypatch.setattr(jax.stages.Lowered, "compile", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="what now"):
        dry_run(toy.config(), tmp_path)


def test_the_search_for_the_largest_batch_reports_every_try(tmp_path, capsys):
    status, numbers = dry_run(toy.config(batch_size=16), tmp_path, memory=100_000, no_largest=False)
    out = capsys.readouterr()
    assert status == 0 and numbers["largest_batch"] == max(one["images"] for one in numbers["tries"] if one["fits"])
    assert all(f"{one['images']} images per chip" in out.err for one in numbers["tries"])
    assert f"largest compiled batch that fits for train: {numbers['largest_batch']}" in out.out


def test_the_line_of_the_largest_batch_reports_what_was_compiled():
    tries = [Try(16, 100, True, 1500.0), Try(32, 190, True, 2000.0)]
    line = text.largest_line(tries, 8, "train")
    assert line.endswith("train: 256 (32 images per chip, 2,000 images/s at most); no larger batch was compiled")
    assert text.largest_line([*tries, Try(64, 900, False)], 8, "train").endswith("images/s at most); 512 does not fit")
    assert "no compiled batch fits (512)" in text.largest_line([Try(64, 900, False)], 8, "train")


def test_batches_that_are_tried_have_whole_micro_batches(tmp_path):
    _, numbers = dry_run(toy.config(batch_size=9, micro_batches=3), tmp_path, memory=100_000, no_largest=False)
    assert len(numbers["tries"]) > 1 and all(one["images"] % 3 == 0 for one in numbers["tries"])


def test_a_stage_on_features_takes_features():
    config = recipes.resolved("mnist5k", "decoupling", "crt,cached")
    for memory, on_device in ((2**34, True), (2**20, False)):
        plan = lowering.make_plan(config, stand_in(config.data), meshes.data_mesh(), memory)
        drawn, step = lowering.drawn_by(plan, 1), lowering.lower_train(plan, 1)
        assert drawn.record.shape == (64,) and drawn.on_device == on_device
        assert "conv_general_dilated" not in str(step.jaxpr) and step.steps == 1
    assert "conv_general_dilated" in str(lowering.lower_train(plan, 0).jaxpr)


def test_a_batch_above_an_epoch_is_bad_input_where_it_fits_and_else_does_not_fit(tmp_path):
    with pytest.raises(InputError, match=r"config\.batch_size: 64 is larger than an epoch of 42 images"):
        dry_run(toy.config(batch_size=64), tmp_path)
    assert dry_run(toy.config(batch_size=64), tmp_path, memory=2000)[0] == 1


def test_a_dtype_without_a_known_peak_rate_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"config\.dtype: .*float64.* use bfloat16, float32"):
        dry_run(toy.config(dtype="float64"), tmp_path)


def test_the_train_step_is_that_of_the_run():
    """Shapes and the arrays of a run give the same text."""
    config = toy.config()
    plan = lowering.make_plan(config, toy.build(None), meshes.data_mesh(), 2**30)
    stage, data = toy.stage(config), toy.build(None)
    start = stage.init(jax.random.key(0), None, None)
    tables = {name: sampler.tables(data.train.labels, 3) for name, sampler in stage.streams.items()}
    batches = train_batches(
        data.train, stage.streams, tables, seed=0, batch_size=8, steps_per_epoch=5, start=0, stop=1,
        transform=find_transform("none"),
    )  # fmt: skip
    batch = next(batches)
    batches.close()
    step = streamed_step(stage, Execution(5, 8, plan.mesh))
    own = step.lower(create_state(stage, start, 0), {}, batch).as_text()
    assert own == lowering.lower_train(plan, 0).lowered.as_text()


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_stands_still_has_the_shapes_that_init_gives(seeds):
    """Also of an init that cannot be traced."""
    config, data = toy.config("three", num_seeds=seeds), toy.build(None)
    stages = toy.three_stages(config, None, data)
    made = stages[1].init

    def uses_values(key, previous, features):
        np.asarray(previous.variables["params"]["backbone"]["conv"]["kernel"])
        return made(key, previous, features)

    for init in (made, uses_values):
        stages[1] = dataclasses.replace(stages[1], init=init)
        found = lowering.stage_shapes(config, data, stages, data, stages)
        leading = () if seeds == 1 else (seeds,)
        assert found[1].constants["means"].shape == (*leading, 4)
        teacher = jax.tree.map(lambda x: (x.shape, x.dtype), found[1].constants["teacher"]["params"])
        assert teacher == jax.tree.map(lambda x: (x.shape, x.dtype), found[0].state.params)
        assert found[1].state.extras["running"].shape == leading
        assert found[1].tables["rare"]["records"].shape == (*leading, 6)
        assert set(found[1].tables) == {"image", "rare"}


def test_images_on_the_device_are_in_the_program():
    config = toy.changed(recipes.resolved("mnist5k", "ce"), model__backbone="resnet8", epochs=2)
    data = stand_in(config.data)
    plan = lowering.make_plan(config, data, meshes.data_mesh(), 2**33)
    assert plan.on_device and plan.placement.startswith("data: on the device")
    lowered = lowering.lower_train(plan, 0)
    assert f"tensor<{len(data.train)}x28x28x1xui8>" in lowered.lowered.as_text()
    assert lowered.resident == len(data.test) * (28 * 28 + 4)
    assert not lowering.make_plan(config, data, meshes.data_mesh(), 2**20).on_device


@pytest.mark.parametrize("name", SIZES)
def test_a_stand_in_has_the_published_sizes(name):
    recipe = {"imagenet_lt": "imagenet", "places_lt": "places", "inat2018": "inat"}[name]
    data: Data = stand_in(recipes.resolved(recipe, "ce").data)
    sizes = SIZES[name]
    assert (len(data.train), len(data.test)) == (sizes.train, sizes.test)
    assert (data.class_counts.max(), data.class_counts.min()) == (sizes.largest, sizes.smallest)
    assert (np.diff(data.class_counts) <= 0).all() and len(data.validation or []) == sizes.validation
    assert "placeholder" in data.notes[0] and data.image_shape == (224, 224, 3)
    few = with_few_images(data)
    assert few.num_classes == data.num_classes and len(few.train) == data.num_classes + 19
    with pytest.raises(InputError, match="no images"):
        data.train.images(np.array([0]))


def test_a_stand_in_of_cifar_has_the_very_counts_and_settings_count():
    settings = recipes.resolved("cifar100", "ce", "imbalance=50").data
    assert len(stand_in(settings).train) == 12_608
    held = stand_in(dataclasses.replace(settings, validation_fraction=0.2))
    assert held.split == "validation" and len(held.train) + len(held.test) == 12_608
    large = dataclasses.replace(recipes.resolved("inat", "ce").data, imbalance=10.0)
    with pytest.raises(InputError, match="already long-tailed"):
        stand_in(large)


def test_a_folder_that_is_named_must_be_there(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("LTJAX_DATA_DIR", str(tmp_path))
    settings = recipes.resolved("cifar10", "ce").data
    assert "placeholder" in plans.find_data(settings).notes[0]
    settings = dataclasses.replace(settings, dir=str(tmp_path))
    with pytest.raises(InputError, match="cifar10 is not in"):
        plans.find_data(settings)
    with pytest.raises(InputError, match="contains no class folders"):
        plans.find_data(recipes.resolved("folder", "ce").data)
    monkeypatch.delenv("LTJAX_DATA_DIR")
    with pytest.raises(InputError, match=r"config\.data\.dir"):
        plans.find_data(recipes.resolved("folder", "ce").data)
