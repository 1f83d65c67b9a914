"""The data on the device, many steps a call, several seeds: the same records, pixels, losses and files as without."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ltjax import models
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.dataset import array_source
from ltjax.data.loading.device_batches import Resident, lies_in_memory, read_all, train_batch
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.sampling import SAMPLERS
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced
from ltjax.errors import InputError
from ltjax.losses import cross_entropy
from ltjax.methods import METHODS
from ltjax.methods.stage import Outcome, Term
from ltjax.settings import StageOptimizer
from ltjax.training import loop, prepare
from ltjax.training.execution import mesh as meshes
from ltjax.training.execution import packing, placement
from ltjax.training.execution.programs import Execution, call_length, calls, resident_program
from ltjax.training.execution.seeds import over_seeds, stack_seeds
from ltjax.training.interrupt import Interrupted
from ltjax.training.step.state import create_state
from tests.training import toy
from tests.training.test_loop import lines, stop_at

QUICK = {"xla_backend_optimization_level": 0}  # compiles in a fraction of the time; the arithmetic is of integers


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(METHODS, "three", toy.three_stages)
    monkeypatch.setitem(METHODS, "one", lambda *given: toy.three_stages(*given)[:1])
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def losses(workdir):
    """[steps], or [steps, seeds]"""
    return np.array([line.get("per_seed", line)["loss"] for line in lines(workdir)])


def arrays(workdir, stage, step):
    restored = ocp.StandardCheckpointer().restore(workdir / "checkpoints" / stage / str(step) / "state")
    return {jax.tree_util.keystr(p): np.asarray(v) for p, v in jax.tree_util.tree_leaves_with_path(restored)}


# The others' pixels on the device are those of the host in tests/data/augment/test_registry.py.
ALL_TRANSFORMS = [pytest.param(name, marks=[pytest.mark.slow] * (name != "pad_crop_flip")) for name in TRANSFORMS]


@pytest.mark.parametrize("transform", ALL_TRANSFORMS)
def test_the_device_draws_the_hosts_records_and_pixels(transform):
    images = np.random.RandomState(0).randint(0, 256, (23, 8, 8, 3)).astype(np.uint8)
    source = array_source(images, np.arange(23) % 4, np.arange(23))
    names = SAMPLERS if transform == "pad_crop_flip" else []  # a stream for each sampler, once
    samplers = {name: SAMPLERS[name](epochs=3, batch_size=8) for name in names} | {"other": instance_balanced()}
    tables = {stream: sampler.tables(source.labels, 4) for stream, sampler in samplers.items()}
    host = train_batches(
        source, samplers, tables, seed=2**32 - 1, batch_size=8, steps_per_epoch=3, start=2, stop=9,
        transform=TRANSFORMS[transform],
    )  # fmt: skip
    resident = Resident(*map(jnp.asarray, read_all(source)))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def draw(tables, resident, step):
        epoch, offset = (step // 3).astype(jnp.uint32), (step % 3 * 8).astype(jnp.uint32)
        slots = offset + jnp.arange(8, dtype=jnp.uint32)
        return train_batch(resident, samplers, tables, TRANSFORMS[transform], jnp.uint32(2**32 - 1), epoch, slots)

    for step, expected in enumerate(host, 2):
        jax.tree.map(np.testing.assert_array_equal, draw(tables, resident, jnp.int32(step)), expected)


RUNS = {  # name -> settings; all are the same 20 steps
    "host": {"data__on_device": "no"},
    "device": {"data__on_device": "yes"},
    "calls of three": {"data__on_device": "yes", "steps_per_call": 3},
}


@pytest.mark.parametrize(
    "method, ways",
    [
        ("one", ("host", "calls of three")),
        pytest.param("three", tuple(RUNS), marks=pytest.mark.slow),
        pytest.param("reslt", tuple(RUNS), marks=pytest.mark.slow),
    ],
    ids=["one", "three, all", "reslt, all"],
)
def test_in_float64_every_way_has_the_same_losses(tmp_path, method, ways):
    found = {}
    with jax.enable_x64(True):
        for name in ways:
            config = toy.config(
                method, dtype="float64", epochs=4, log_every_steps=1, evaluation__every_epochs=1,
                data__augment="pad_crop", data__sampler="class_balanced", **RUNS[name],
            )  # fmt: skip
            results = loop.train(config, str(tmp_path / name))
            assert results["data_on_device"] == (name != "host") and results["host_ms_per_step"] > 0
            found[name] = losses(tmp_path / name), [line.get("test/all") for line in lines(tmp_path / name)], results
    assert len(found["host"][0]) >= 20
    for name in ways:
        np.testing.assert_allclose(found[name][0], found["host"][0], rtol=1e-9, err_msg=name)
        assert found[name][1] == found["host"][1] and found[name][2]["per_class"] == found["host"][2]["per_class"]


@pytest.fixture(scope="module")
def single_runs(tmp_path_factory):
    """(method, seed) -> (results, losses) of its own float64 run, made once."""
    made = {}

    def run(method, seed):
        if (method, seed) not in made:
            folder = tmp_path_factory.mktemp("single")
            results = loop.train(seeds_config(method, seed=seed), str(folder))
            made[method, seed] = results, losses(folder)
        return made[method, seed]

    return run


def seeds_config(method, **changes):
    return toy.config(method, dtype="float64", epochs=4, log_every_steps=1, data__augment="pad_crop", **changes)


@pytest.mark.parametrize(
    "method, settings",
    [
        pytest.param("reslt", {"data__on_device": "yes", "seeds_by": "unroll"}, marks=pytest.mark.slow),
        pytest.param(
            "reslt", {"data__on_device": "yes", "seeds_by": "vmap", "steps_per_call": 2}, marks=pytest.mark.slow
        ),
        ("one", {"data__on_device": "no", "seeds_by": "unroll"}),
    ],
)
def test_in_float64_each_seed_is_its_own_single_run(tmp_path, method, settings, single_runs):
    with jax.enable_x64(True):
        together = loop.train(seeds_config(method, seed=3, num_seeds=2, **settings), str(tmp_path / "both"))
        alone, each = zip(*(single_runs(method, seed) for seed in (3, 4)), strict=True)
    each = np.stack(each, -1)
    assert not np.allclose(each[:, 0], each[:, 1], rtol=1e-3)
    np.testing.assert_allclose(losses(tmp_path / "both"), each, rtol=1e-9)
    assert together["seeds"] == [3, 4]
    for own, single in zip(together["per_seed"], alone, strict=True):
        assert own["per_class"] == single["per_class"] and own["accuracy"] == single["accuracy"]
        assert own["train_loss_last_epoch"] == pytest.approx(single["train_loss_last_epoch"], rel=1e-9)
    values = [single["accuracy"]["all"] for single in alone]
    assert together["accuracy"]["all"] == pytest.approx(np.mean(values))
    assert together["std"]["accuracy"]["all"] == pytest.approx(np.std(values, ddof=1))
    assert together["accuracy"]["many"] is None and together["std"]["accuracy"]["many"] is None
    assert together["parameter_count"] == alone[0]["parameter_count"]
    stored = np.load(tmp_path / "both" / "evaluation.npz")
    assert stored["confusion"].shape == (2, 3, 3) and stored["weight_norms"].shape == (2, 3)


@pytest.mark.slow
def test_several_seeds_go_on_bit_for_bit_after_a_signal(tmp_path, monkeypatch):
    config = toy.config(num_seeds=2, data__on_device="yes", steps_per_call=2)
    whole = loop.train(config, str(tmp_path / "whole"))
    stop_at(monkeypatch, 2, 4)  # calls, of one or two steps
    for _ in range(2):
        with pytest.raises(Interrupted):
            loop.train(config, str(tmp_path / "parts"))
    parts = loop.train(config, str(tmp_path / "parts"))
    assert [r["step"] for r in parts["resumes"]] == [4, 7]
    one, two = (arrays(tmp_path / name, "train", 10) for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    assert whole["per_seed"] == parts["per_seed"]


@pytest.mark.slow
def test_evaluate_reads_several_seeds(tmp_path, capsys):
    from ltjax.commands.evaluate import main

    loop.train(toy.config(num_seeds=2), str(tmp_path / "run"))
    assert main([f"--run={tmp_path / 'run'}"]) == 0
    assert "equal to results.json" in capsys.readouterr().out


def compilations(counts):
    """Counts what the backend compiles from here on."""

    def listen(name, seconds, **more):
        if name == "/jax/core/compile/backend_compile_duration":
            counts.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return listen


@pytest.mark.parametrize("settings", [*RUNS.values(), {"data__on_device": "yes", "num_seeds": 2}], ids=str)
def test_nothing_compiles_and_nothing_moves_unasked_after_the_first_epoch(tmp_path, monkeypatch, settings):
    """Epochs 2 to 6 with logs, evaluations and checkpoints, under a guard against implicit transfers."""
    counts, add, after = [], loop.MetricsLog.add, []

    def adding(self, step, metrics):
        add(self, step, metrics)
        if step == 10:
            jax.config.update("jax_transfer_guard", "disallow")
            after.append(len(counts))
        if step == 30:
            after.append(len(counts))

    monkeypatch.setattr(loop.MetricsLog, "add", adding)
    listener = compilations(counts)
    try:
        loop.train(toy.config(epochs=6, evaluation__every_epochs=1, **settings), str(tmp_path))
    finally:
        jax.config.update("jax_transfer_guard", "allow")
        jax.monitoring.unregister_event_duration_listener(listener)
    assert after[0] > 0 and after[1] == after[0]


@pytest.mark.parametrize("axis", [(1, "unroll"), (2, "unroll"), (2, "vmap")])
def test_the_state_is_donated_and_tables_are_arguments(axis):
    """Other tables of the same shapes, other records: without a new program, and each seed from its own tables."""
    stage, state, resident = on_the_device(axis, objective=largest_index, streams={"image": class_balanced()})
    mesh = meshes.data_mesh()
    program = resident_program(stage, Execution(5, 8, mesh, seeds=axis))
    for last in (6, 30):  # two classes, both of the first `last` records
        tables = [
            {"records": np.arange(42, dtype=np.int32), "first": np.zeros(2, np.uint32)}
            | {"size": np.full(2, last + s, np.uint32)}
            for s in range(axis[0])
        ]
        tables = [{"image": table} for table in tables]
        before = state
        state, metrics = program(state, {}, meshes.put_replicated(stack_seeds(tables, "tables"), mesh), resident, 4)
        largest = np.asarray(metrics["largest"]).reshape(4, -1).max(0)
        assert all(last - 4 < value < last + s for s, value in enumerate(largest)), largest
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert program._cache_size() == 1


def on_the_device(axis, **fields):
    """A stage, the state before its first step for each seed, and the images."""
    stage, mesh = toy.stage(toy.config(), **fields), meshes.data_mesh()
    made = [create_state(stage, stage.init(jax.random.key(s), None, None), s) for s in range(axis[0])]
    state = meshes.put_replicated(stack_seeds(jax.device_get(made), "state"), mesh)
    return stage, state, Resident(*meshes.put_replicated(read_all(toy.build(None).train), mesh))


INGREDIENTS = StageOptimizer(name="adamw", sam_rho=0.05, ema_decay=0.5, learning_rate=0.01)


@pytest.mark.parametrize(
    "axis, fields", [((1, "unroll"), {}), ((2, "unroll"), {}), ((2, "unroll"), {"optimizer": INGREDIENTS})]
)
def test_a_packed_carry_changes_no_step(monkeypatch, axis, fields):
    """Two calls of 3 steps in float64: the same state, with the same structure and dtypes, and the same metrics."""
    monkeypatch.setattr(packing, "FEWEST", 2)
    mesh, found = meshes.data_mesh(), {}
    with jax.enable_x64(True):
        for packed in (False, True):
            stage, state, resident = on_the_device(axis, **fields)
            program = resident_program(stage, Execution(5, 8, mesh, seeds=axis, packed=packed))
            tables = {"image": stage.streams["image"].tables(np.asarray(resident.labels), 3)}
            tables = meshes.put_replicated(stack_seeds([tables] * axis[0], "tables"), mesh)
            assert not packed or max(map(len, packing.groups(state))) > 1
            found[packed] = []
            for count in (3, 3):
                state, metrics = program(state, {}, tables, resident, count)
                found[packed].append(jax.device_get((state, metrics)))
    plain, packed = found[False], found[True]
    assert jax.tree.structure(plain) == jax.tree.structure(packed)
    for x, y in zip(jax.tree.leaves(plain), jax.tree.leaves(packed), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


def largest_index(apply, params, model_state, batch, context):
    outputs, model_state = apply(params, model_state, batch["image"]["image"])
    terms = {"all": Term(cross_entropy(outputs.logits, batch["image"]["label"]))}
    return Outcome(terms, model_state, {"largest": jnp.max(batch["image"]["index"]).astype(jnp.float32)})


def test_calls_end_where_they_would_have_without_a_resume():
    whole = list(calls(0, 30, per_epoch=10, length=4))
    assert whole == [(0, 4), (4, 8), (8, 10), (10, 14), (14, 18), (18, 20), (20, 24), (24, 28), (28, 30)]
    for first in range(30):
        ends = [end for _, end in calls(first, 30, 10, 4)]
        assert ends == [end for _, end in whole if end > first]
    assert [call_length(0, n, "gpu") for n in (1, 84, 256, 257, 1000)] == [1, 84, 256, 129, 250]
    assert call_length(7, 84, "cpu") == 7 and call_length(100, 84, "gpu") == 84


def test_where_the_data_lies_is_decided_by_size_and_said():
    data = toy.build(None)
    assert not lies_in_memory(data.train) and data.image_shape == (8, 8, 1)  # 63 images of 64 bytes: 4,032
    assert placement.decide("auto", data, 10**9) == (
        False, "data: batches are made by the host (auto: the images are read one by one, from files)",
    )  # fmt: skip
    assert placement.decide("yes", data, 16_128)[0]
    with pytest.raises(InputError, match=r"config.data.on_device: yes, but 0.0 MB of images, the device has 0 MB"):
        placement.decide("yes", data, 16_000)
    assert placement.decide("no", data, 10**9)[1].startswith("data: batches are made by the host")


def test_seeds_of_different_shapes_are_refused():
    with pytest.raises(InputError, match=r"start\['tables'\] has shape \[2\] for the first seed and \[3\]"):
        stack_seeds([{"tables": np.zeros(2)}, {"tables": np.zeros(3)}], "start")


@pytest.mark.parametrize("how", ["vmap", "unroll"])
def test_functions_over_seeds(how):
    both = over_seeds(lambda x, y: {"sum": x["a"] + y}, (2, how), (0, None))
    np.testing.assert_array_equal(both({"a": jnp.array([1, 2])}, 10)["sum"], [11, 12])
