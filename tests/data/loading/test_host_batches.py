"""Batches: their content in threads and workers, errors for unreadable images, and a clean shutdown."""

import gc
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.dataset import Source, array_source
from ltjax.data.loading.host_batches import TrainElements, evaluation_batches, train_batches
from ltjax.data.sampling import SAMPLERS
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced
from ltjax.errors import InputError
from tests.shared import ROOT

RECORDS, CLASSES = 103, 7


@pytest.fixture(scope="module")
def source():
    rng = np.random.RandomState(0)
    labels = np.concatenate([np.arange(CLASSES), rng.randint(0, CLASSES, RECORDS - CLASSES)])
    images = rng.randint(1, 256, (RECORDS, 8, 8, 3), dtype=np.uint8)
    return array_source(images, labels, index=rng.permutation(1000)[:RECORDS])


def batches(source, streams=("image",), **changes):
    """Training batches; the first stream is instance-balanced, the others class-balanced."""
    samplers = {name: class_balanced() if i else instance_balanced() for i, name in enumerate(streams)}
    tables = {name: sampler.tables(source.labels, CLASSES) for name, sampler in samplers.items()}
    usual = {
        "seed": 3,
        "batch_size": 8,
        "steps_per_epoch": 5,
        "start": 0,
        "stop": 12,
        "transform": TRANSFORMS["pad_crop_flip"],
    }
    return train_batches(source, samplers, tables, **(usual | changes))


def assert_same(one, two):
    one, two = list(one), list(two)
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys()
        for stream in left:
            for key in left[stream]:
                np.testing.assert_array_equal(left[stream][key], right[stream][key])


def test_a_batch_holds_what_the_sampler_and_the_transform_draw(source):
    transform = TRANSFORMS["pad_crop_flip"]
    made = list(batches(source, ("image", "balanced")))
    assert len(made) == 12
    for step, batch in enumerate(made):
        assert list(batch) == ["image", "balanced"]
        offset = (step % 5) * 8 + np.arange(8)
        for stream, sampler in (("image", instance_balanced()), ("balanced", class_balanced())):
            position = (3, name_id(stream), step // 5, offset)
            records = sampler.draw(sampler.tables(source.labels, CLASSES), *position)
            np.testing.assert_array_equal(batch[stream]["index"], records)
            np.testing.assert_array_equal(batch[stream]["label"], source.labels[records])
            pixels = transform.apply(source.images(records), transform.draw(*position))
            np.testing.assert_array_equal(batch[stream]["image"], pixels)
            kinds = {key: array.dtype for key, array in batch[stream].items()}
            assert kinds == {"image": np.uint8, "label": np.int32, "index": np.int32}


def test_an_epoch_of_whole_batches_repeats_no_record(source):
    made = list(batches(source, steps_per_epoch=RECORDS // 8, stop=2 * (RECORDS // 8)))
    for epoch in (made[: RECORDS // 8], made[RECORDS // 8 :]):
        records = np.concatenate([batch["image"]["index"] for batch in epoch])
        assert len(set(records)) == len(records) == RECORDS // 8 * 8


@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_hosts_make_slices_of_one_global_batch(source, hosts):
    whole = list(batches(source, ("image", "balanced")))
    shares = [list(batches(source, ("image", "balanced"), shard=(host, hosts))) for host in range(hosts)]
    joined = [
        {
            stream: {key: np.concatenate([share[step][stream][key] for share in shares]) for key in batch[stream]}
            for stream in batch
        }
        for step, batch in enumerate(whole)
    ]
    assert_same(whole, joined)


def test_a_host_reads_only_its_share(source):
    """Every file of a step is opened by exactly the host that makes its slot."""
    opened = []

    def read(record):
        opened.append(int(record))
        return source.read(record)

    watched = Source(source.labels, source.index, read)
    sampler = class_balanced()  # may draw a record twice in a batch
    tables = {"image": sampler.tables(source.labels, CLASSES)}

    def files(host, hosts):
        opened.clear()
        elements = TrainElements(watched, {"image": sampler}, tables, 3, 24, 4, 0, 8, TRANSFORMS["none"], (host, hosts))
        batch = elements[5]["image"]
        assert opened == batch["index"].tolist()
        return list(opened)

    whole = files(0, 1)
    for hosts in (2, 3, 8):
        shares = [files(host, hosts) for host in range(hosts)]
        assert [record for share in shares for record in share] == whole and {len(share) for share in shares} == {
            24 // hosts
        }
        seen = []
        for host in range(hosts):
            opened.clear()
            elements = evaluation_batches(watched, 24, (host, hosts))
            assert len(list(elements)) == -(-RECORDS // 24)
            blanks = len(opened) - len(set(opened))  # padding reads record 0 for its shape
            assert blanks < 24
            seen += sorted(set(opened) - ({0} if host else set()))
        assert sorted(seen) == list(range(RECORDS))


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_gives_the_same_global_batch_for_any_number_of_hosts(source, name):
    sampler = SAMPLERS[name](epochs=2, batch_size=8)
    tables = {"image": sampler.tables(source.labels, CLASSES)}

    def elements(shard):
        return TrainElements(source, {"image": sampler}, tables, 3, 8, 5, 0, 10, TRANSFORMS["pad_crop_flip"], shard)

    for step in (0, 4, 9):
        whole = elements((0, 1))[step]["image"]
        for hosts in (2, 4, 8):
            shares = [elements((host, hosts))[step]["image"] for host in range(hosts)]
            for key in whole:
                np.testing.assert_array_equal(np.concatenate([share[key] for share in shares]), whole[key])


@pytest.mark.parametrize("start", [0, 1, 5, 11, 12])
def test_resuming_is_starting_at_the_step(source, start):
    assert_same(list(batches(source))[start:], batches(source, start=start))


def test_batches_continue_beyond_the_data_set(source):
    """A batch or an epoch larger than the data set takes records of further laps."""
    made = list(batches(source, batch_size=400, steps_per_epoch=2, stop=2))
    records = np.concatenate([batch["image"]["index"] for batch in made])
    for lap in range(800 // RECORDS):
        assert sorted(records[lap * RECORDS : (lap + 1) * RECORDS]) == list(range(RECORDS))


def test_closing_early_stops_the_threads(source):
    def readers():
        return {thread for thread in threading.enumerate() if "grain" in thread.name}

    before = readers()
    iterator = batches(source, stop=10**6)
    next(iterator)
    assert readers() - before
    iterator.close()
    for thread in readers() - before:
        thread.join(timeout=10)
    assert not readers() - before
    assert list(iterator) == []


def is_shared(value):
    return type(value).__name__ == "SharedMemoryArray"


def test_workers_make_the_same_batches_and_release_their_shared_memory(source):
    assert_same(batches(source, ("image", "balanced")), batches(source, ("image", "balanced"), workers=2))
    held = [o for o in gc.get_objects() if isinstance(o, dict) and any(map(is_shared, list(o.values())))]
    assert not held  # else the interpreter would warn at exit


class Broken:
    """Reads a source, except for one record."""

    def __init__(self, source, record, fault):
        self.source, self.record, self.fault = source, record, fault

    def __call__(self, record):
        if record == self.record:
            return self.fault()
        return self.source.read(record)


def raise_value_error():
    raise ValueError("bad JPEG\nsecond line")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(source, workers):
    broken = Source(source.labels, source.index, Broken(source, 20, raise_value_error))
    message = f"record 20 (index {source.index[20]}) cannot be read: ValueError: bad JPEG"
    with pytest.raises(InputError) as error:
        list(batches(broken, steps_per_epoch=13, stop=13, workers=workers))
    step = next(t for t, batch in enumerate(batches(source, steps_per_epoch=13)) if 20 in batch["image"]["index"])
    assert str(error.value) == f"training batch of step {step}: {message}"
    with pytest.raises(InputError) as error:
        list(evaluation_batches(broken, 8, workers=workers))
    assert str(error.value) == f"evaluation batch 2: {message}"


@pytest.mark.parametrize("wrong", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), None])
def test_an_image_of_another_type_is_named(source, wrong):
    broken = Source(source.labels, source.index, Broken(source, 20, lambda: wrong))
    with pytest.raises(InputError, match="record 20 "):
        list(evaluation_batches(broken, 8))


def test_an_image_of_another_shape_is_named(source):
    broken = Source(source.labels, source.index, Broken(source, 20, lambda: np.zeros((9, 8, 3), np.uint8)))
    with pytest.raises(InputError, match=r"record 20 \(index \d+\).*\[9, 8, 3\].*\[8, 8, 3\]"):
        list(evaluation_batches(broken, 8))


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [4, 8, 100, 104, 400])
def test_evaluation_has_every_record_once_in_order(source, hosts, batch_size):
    shares = [list(evaluation_batches(source, batch_size, (host, hosts))) for host in range(hosts)]
    assert {len(share) for share in shares} == {-(-RECORDS // batch_size)}
    images, labels = [], []
    for parts in zip(*shares, strict=True):
        for part in parts:
            assert set(part) == {"image", "label", "mask"}
            assert (part["image"].dtype, part["label"].dtype, part["mask"].dtype) == (np.uint8, np.int32, bool)
            assert len(part["image"]) == len(part["label"]) == len(part["mask"]) == batch_size // hosts
            assert not part["label"][~part["mask"]].any() and not part["image"][~part["mask"]].any()
            images.append(part["image"][part["mask"]])
            labels.append(part["label"][part["mask"]])
    np.testing.assert_array_equal(np.concatenate(labels), source.labels)
    np.testing.assert_array_equal(np.concatenate(images), source.images(np.arange(RECORDS)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size: 0 is not possible"),
        ({"batch_size": 8.0}, "batch_size: 8.0 is not possible"),
        (
            {"batch_size": 10, "shard": (0, 4)},
            "batch_size: 10 is not divisible by the number of hosts, 4; set it to 8 or 12",
        ),
        ({"batch_size": 2, "shard": (0, 4)}, "batch_size: 2 is not divisible by the number of hosts, 4; set it to 4"),
        ({"shard": (2, 2)}, "shard: 2 is not possible"),
        ({"steps_per_epoch": 0}, "steps_per_epoch: 0 is not possible"),
        ({"steps_per_epoch": 2**31}, "steps_per_epoch: "),
        ({"seed": -1}, "seed: -1 is not possible"),
        ({"seed": 2**32}, "seed: "),
        ({"start": 13}, "start: 13 is not possible"),
        ({"start": -1}, "start: -1"),
        ({"workers": -1}, "workers: -1"),
    ],
)
def test_impossible_sizes_are_immediate_errors(source, changes, message):
    with pytest.raises(InputError) as error:
        batches(source, **changes)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_stream_without_tables_is_an_error(source):
    sampler = instance_balanced()
    with pytest.raises(InputError, match="samplers for the streams"):
        train_batches(
            source,
            {"image": sampler},
            {},
            seed=0,
            batch_size=8,
            steps_per_epoch=1,
            start=0,
            stop=1,
            transform=TRANSFORMS["none"],
        )


COMMAND = """
import sys
import numpy as np
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.dataset import array_source
from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.loading.prefetch import Watch

if __name__ == "__main__":
    workers, stop, taken = map(int, sys.argv[1:])
    source = array_source(np.arange(64 * 192).astype(np.uint8).reshape(64, 8, 8, 3), np.zeros(64), np.arange(64))
    sampler = instance_balanced()
    iterator = train_batches(
        source, {"image": sampler}, {"image": sampler.tables(source.labels, 1)}, seed=0, batch_size=8,
        steps_per_epoch=8, start=0, stop=stop, transform=TRANSFORMS["pad_crop"], workers=workers,
        watch=Watch(report=lambda line: None))  # on a busy machine the first batch takes its time
    kept = [next(iterator) for _ in range(taken)]
    print(sum(int(batch["image"]["image"].sum()) for batch in kept), "tensorflow" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize("taken", [3, 8])
def test_a_plain_command_exits_cleanly_in_the_middle_and_at_the_end(tmp_path, taken):
    """With threads and with workers: nothing on stderr, although warnings are errors, and no process is left."""
    path = tmp_path / "command.py"
    path.write_text(COMMAND)
    printed = set()
    for workers in (0, 2):
        got = subprocess.run(
            [sys.executable, "-W", "error", path, str(workers), "8", str(taken)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (got.returncode, got.stderr) == (0, "")
        printed.add(got.stdout)
    assert len(printed) == 1 and printed.pop().endswith(" False\n")


def test_a_dead_worker_is_an_error_and_no_hang(source):
    import multiprocessing

    before = set(multiprocessing.active_children())
    iterator = batches(source, stop=10**6, workers=1)
    next(iterator)
    (worker,) = set(multiprocessing.active_children()) - before
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="terminated unexpectedly"):
        for _ in range(100):
            next(iterator)
