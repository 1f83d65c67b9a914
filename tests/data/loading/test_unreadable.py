"""Unreadable files are replaced and reported, slow disks reported; hanging disks and dead workers are errors."""

import multiprocessing
import os
import queue
import signal
import threading
import time
import types

import numpy as np
import pytest

from ltjax.data.augment.registry import find_transform
from ltjax.data.augment.transform import Transform
from ltjax.data.dataset import Source
from ltjax.data.loading import prefetch
from ltjax.data.loading.host_batches import evaluation_batches, train_batches
from ltjax.data.loading.prefetch import Watch
from ltjax.data.loading.unreadable import MAX_SUBSTITUTES, substitutes
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.data.sampling.independent import class_balanced
from ltjax.errors import InputError

LABELS = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2], np.int32)
BAD = (2, 3, 11)
IMAGE = name_id("image")


class Disk:
    """Record i is an image of constant value i; some cannot be read, and for one the disk waits."""

    def __init__(self, bad=BAD, slow=-1, wait=None):
        self.bad, self.slow, self.wait = bad, slow, wait

    def __call__(self, record):
        if record in self.bad:
            raise ValueError(f"truncated file {record}")
        if record == self.slow:
            self.wait()
        return np.full((4, 4, 3), record, np.uint8)


def source(**disk):
    return Source(LABELS, 10 * np.arange(len(LABELS)), Disk(**disk), where=lambda i: f"DIR/{i}.jpg")


def cut(image, draws):
    return image + np.uint8(100)


def draw(seed, stream, epoch, offset, ops=None):
    return {"flip": np.asarray(offset, np.int32)}


def unchanged(images, draws, ops=None):
    return images


WHOLE = Transform("whole", draw, unchanged, cut)


def batches(source, watch=None, **changes):
    samplers = {"image": instance_balanced(), "balanced": class_balanced()}
    tables = {name: sampler.tables(LABELS, 3) for name, sampler in samplers.items()}
    usual = {
        "seed": 1,
        "batch_size": 8,
        "steps_per_epoch": 2,
        "start": 0,
        "stop": 6,
        "transform": find_transform("none"),
    }
    return train_batches(source, samplers, tables, watch=watch, **(usual | changes))


def taken(iterator):
    """All batches, stacked: {stream: {name: [steps, batch, ...]}}."""
    made = list(iterator)
    return {
        stream: {name: np.stack([batch[stream][name] for batch in made]) for name in ("image", "label", "index")}
        for stream in made[0]
    }


def test_substitutes_are_the_other_records_of_the_class_in_an_order_drawn_for_the_position():
    for record in range(len(LABELS)):
        found = list(substitutes(LABELS, record, (0, IMAGE, 0, record)))
        assert sorted([*found, record]) == np.flatnonzero(LABELS[record] == LABELS).tolist()
    first = [next(substitutes(LABELS, 0, (0, IMAGE, 0, offset))) for offset in range(900)]
    counts = np.bincount(first)[1:10]
    assert counts.min() > 60 and counts.sum() == 900
    assert first == [next(substitutes(LABELS, 0, (0, IMAGE, 0, offset))) for offset in range(900)]
    assert first[:50] != [next(substitutes(LABELS, 0, (0, IMAGE, 1, offset))) for offset in range(50)]


@pytest.mark.parametrize("transform", [find_transform("none"), WHOLE], ids=["one size", "whole images"])
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bad_record_is_replaced_by_one_of_its_class_and_reported(transform, workers):
    reported = []
    whole = taken(batches(source(bad=()), transform=transform))
    found = taken(batches(source(), Watch(reported.extend), transform=transform, workers=workers))
    for stream in found:
        np.testing.assert_array_equal(found[stream]["label"], whole[stream]["label"])
        readable = ~np.isin(whole[stream]["index"], BAD)
        assert not readable.all() and not np.isin(found[stream]["index"], BAD).any()
        for name in ("image", "index"):
            np.testing.assert_array_equal(found[stream][name][readable], whole[stream][name][readable])
        values = found[stream]["image"][..., 0, 0, 0]
        np.testing.assert_array_equal(values, found[stream]["index"] + (100 if transform.cut else 0))
    assert {fault.record for fault in reported} == set(BAD)
    assert all(fault.index == 10 * fault.record for fault in reported)
    message = "record 11 (index 110, DIR/11.jpg) cannot be read: ValueError: truncated file 11"
    assert message in {fault.reason for fault in reported}


def test_substitutes_are_the_same_on_several_hosts_and_after_a_resume():
    watch = Watch(lambda faults: None)
    whole = taken(batches(source(), watch))
    shares = [taken(batches(source(), watch, shard=(host, 4))) for host in range(4)]
    later = taken(batches(source(), watch, start=3))
    for stream in whole:
        joined = np.concatenate([share[stream]["index"] for share in shares], axis=1)
        np.testing.assert_array_equal(joined, whole[stream]["index"])
        np.testing.assert_array_equal(later[stream]["index"], whole[stream]["index"][3:])


def test_without_on_faults_an_unreadable_record_is_an_error():
    with pytest.raises(InputError, match=r"record \d+ \(index \d+, DIR/\d+.jpg\) cannot be read: ValueError"):
        list(batches(source(), Watch(timeout=30)))


def test_a_class_without_a_readable_record_is_an_error():
    with pytest.raises(InputError, match=r"record 1[567] .*; nor can its substitutes, other records of class 2: "):
        list(batches(source(bad=(15, 16, 17)), Watch(lambda faults: None)))
    many = Source(np.zeros(200, np.int32), np.arange(200), Disk(bad=range(200)))
    tables = {"image": instance_balanced().tables(many.labels, 1)}
    tried = []
    many = Source(many.labels, many.index, lambda i: tried.append(i) or Disk(bad=range(200))(i))
    with pytest.raises(InputError, match="nor can its substitutes"):
        list(train_batches(many, {"image": instance_balanced()}, tables, seed=0, batch_size=1, steps_per_epoch=1,
                           start=0, stop=1, transform=WHOLE, watch=Watch(lambda faults: None)))  # fmt: skip
    assert len(tried) == MAX_SUBSTITUTES + 1


def test_an_exception_in_on_faults_ends_the_batches():
    def stop(faults):
        raise InputError("too many")

    iterator = batches(source(), Watch(stop))
    with pytest.raises(InputError, match="too many"):
        list(iterator)
    assert list(iterator) == []


def test_evaluation_replaces_records_only_with_on_faults():
    with pytest.raises(InputError, match=r"evaluation batch 0: record 2 \(index 20, DIR/2.jpg\) cannot be read"):
        list(evaluation_batches(source(), 6))
    reported = []
    made = list(evaluation_batches(source(), 6, watch=Watch(reported.extend)))
    labels = np.concatenate([batch["label"][batch["mask"]] for batch in made])
    images = np.concatenate([batch["image"][batch["mask"]] for batch in made])[:, 0, 0, 0]
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(LABELS[images], LABELS)
    assert {fault.record for fault in reported} == set(BAD) and not np.isin(images, BAD).any()


def test_a_slow_disk_is_reported_and_waited_for(monkeypatch):
    monkeypatch.setattr(prefetch, "FIRST_REPORT", 0.05)
    lines, go_on = [], threading.Event()

    def report(line):
        lines.append(line)
        if len(lines) == 2:
            go_on.set()

    iterator = batches(source(bad=(), slow=7, wait=go_on.wait), Watch(report=report, timeout=60))
    assert len(list(iterator)) == 6
    assert all(line.startswith("waiting for data: 0 s at step ") for line in lines[:2])


def test_workers_that_start_are_no_slow_disk(monkeypatch, tmp_path):
    """Importing takes them seconds; what is reported from then on counts from when they have begun."""
    monkeypatch.setattr(prefetch, "FIRST_REPORT", 0.05)
    monkeypatch.setattr(prefetch, "START_REPORT", 0.1)
    monkeypatch.setattr(prefetch, "POLL", 0.01)
    lines = []
    iterator = batches(source(bad=()), Watch(timeout=60))
    iterator.close()
    iterator._pids, iterator._workers, iterator._ready = types.SimpleNamespace(name=str(tmp_path)), 2, queue.Queue()

    def report(line):
        lines.append(line)
        if line.startswith("waiting"):
            iterator._ready.put({})
        for number in range(len(lines)):
            (tmp_path / str(number)).touch()

    iterator.watch = Watch(report=report)
    assert iterator._wait() == {}
    assert [line.partition(":")[0] for line in lines] == ["starting 2 data workers"] * 2 + ["waiting for data"]
    assert lines[-1] == "waiting for data: 0 s at step 0"


def sleep_long():
    time.sleep(120)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_hanging_disk_is_an_error_after_the_timeout(monkeypatch, workers):
    monkeypatch.setattr(prefetch, "STOP_TIMEOUT", 0.2)
    go_on = threading.Event()
    wait = sleep_long if workers else go_on.wait
    before, processes = threading.active_count(), set(multiprocessing.active_children())
    iterator = batches(source(bad=(), slow=7, wait=wait), Watch(timeout=6 if workers else 0.5), workers=workers)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no data for \d+ s at step \d \(config.data.timeout\)"):
        list(iterator)
    assert time.monotonic() - began < 20
    go_on.set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (
        threading.active_count() > before or set(multiprocessing.active_children()) - processes
    ):
        time.sleep(0.05)
    assert set(multiprocessing.active_children()) <= processes  # the hanging process has been killed


@pytest.mark.slow
def test_one_of_several_workers_that_dies_is_an_error_within_seconds():
    before = set(multiprocessing.active_children())
    iterator = batches(source(bad=()), stop=10**6, workers=3)
    next(iterator)
    worker = sorted(set(multiprocessing.active_children()) - before, key=lambda process: process.pid)[1]
    os.kill(worker.pid, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(ChildProcessError, match=r"a process that reads data was killed .*config.data.workers"):
        for _ in range(10**6):
            next(iterator)
    assert time.monotonic() - began < 15
