"""Views: streams with the images of another stream and an augmentation of their own."""

import dataclasses
import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ltjax.data.augment import decode
from ltjax.data.augment.registry import TRANSFORMS, find_transform, with_fast_decode
from ltjax.data.dataset import Source, array_source
from ltjax.data.loading.device_batches import Resident, read_all, train_batch
from ltjax.data.loading.host_batches import train_batches
from ltjax.data.loading.prefetch import Watch
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.data.sampling.counter_rng import name_id
from ltjax.data.sampling.sampler import another_view
from ltjax.errors import InputError

IMAGES = np.random.RandomState(0).randint(0, 256, (23, 8, 8, 3)).astype(np.uint8)
LABELS = np.arange(23) % 4
STREAMS = {
    "image": class_cycle(),
    "first": another_view(class_cycle(), "image"),
    "second": another_view(class_cycle(), "image"),
}
TRANSFORM = {"image": TRANSFORMS["none"], "first": TRANSFORMS["simclr"], "second": TRANSFORMS["pad_crop_flip"]}


def batches(source, start=0, shard=(0, 1), **changes):
    tables = {name: sampler.tables(source.labels, 4) for name, sampler in STREAMS.items()}
    usual = {"seed": 1, "batch_size": 8, "steps_per_epoch": 3, "stop": 7, "transform": TRANSFORM}
    return list(train_batches(source, STREAMS, tables, start=start, shard=shard, **(usual | changes)))


def test_views_are_of_the_same_images_with_augmentations_of_their_own():
    for step, batch in enumerate(batches(array_source(IMAGES, LABELS, np.arange(23)))):
        for view in ("first", "second"):
            np.testing.assert_array_equal(batch[view]["index"], batch["image"]["index"])
            np.testing.assert_array_equal(batch[view]["label"], batch["image"]["label"])
        np.testing.assert_array_equal(batch["image"]["image"], IMAGES[batch["image"]["index"]])
        crop = TRANSFORMS["pad_crop_flip"]
        draws = crop.draw(1, name_id("second"), step // 3, step % 3 * 8 + np.arange(8))
        np.testing.assert_array_equal(batch["second"]["image"], crop.apply(batch["image"]["image"], draws))


def test_two_views_with_the_same_augmentation_differ():
    twice = dict.fromkeys(STREAMS, TRANSFORMS["pad_crop_flip"])
    for batch in batches(array_source(IMAGES, LABELS, np.arange(23)), transform=twice):
        same = (batch["first"]["image"] == batch["second"]["image"]).all((1, 2, 3))
        assert same.mean() < 0.5


def test_any_step_and_any_host_makes_its_part_of_the_same_batches():
    source = array_source(IMAGES, LABELS, np.arange(23))
    whole = batches(source)
    later = batches(source, start=4)
    jax.tree.map(np.testing.assert_array_equal, later, whole[4:])
    halves = [batches(source, shard=(host, 2)) for host in range(2)]
    joined = [jax.tree.map(lambda a, b: np.concatenate([a, b]), *parts) for parts in zip(*halves, strict=True)]
    jax.tree.map(np.testing.assert_array_equal, joined, whole)


def test_the_device_makes_the_views_of_the_host():
    source = array_source(IMAGES, LABELS, np.arange(23))
    resident = Resident(*map(jnp.asarray, read_all(source)))
    tables = {name: sampler.tables(source.labels, 4) for name, sampler in STREAMS.items()}

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def draw(tables, resident, epoch, offset):
        return train_batch(resident, STREAMS, tables, TRANSFORM, jnp.uint32(1), epoch, offset)

    for step, expected in enumerate(batches(source)):
        offset = (step % 3 * 8 + np.arange(8)).astype(np.uint32)
        jax.tree.map(np.testing.assert_array_equal, draw(tables, resident, np.uint32(step // 3), offset), expected)


def test_all_views_get_the_substitute_of_an_image_that_cannot_be_read():
    def read(record):
        if record % 5 == 0:
            raise InputError("damaged")
        return IMAGES[record]

    found = batches(Source(LABELS.astype(np.int32), np.arange(23), read), watch=Watch(lambda faults: None))
    assert len(found) == 7
    for batch in found:
        np.testing.assert_array_equal(batch["first"]["index"], batch["image"]["index"])
        assert (batch["image"]["index"] % 5 != 0).all()


def photographs():
    """Files whose crops are decoded whole, up to their last row, or smaller: small, large, progressive, no JPEG."""
    forms = [((90, 70), "JPEG", {}), ((260, 200), "JPEG", {}), ((420, 500), "JPEG", {"progressive": True})]
    forms += [((430, 900), "JPEG", {"quality": 60}), ((80, 60), "PNG", {})]
    files = []
    for seed, ((height, width), form, options) in enumerate(forms):
        coarse = np.random.RandomState(seed).randint(0, 256, (height // 10, width // 10, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(file, form, **options)
        files.append(file.getvalue())
    return files


def of_files(files):
    return Source(
        np.arange(len(files), dtype=np.int32) % 4, np.arange(len(files)), read=None, encoded=files.__getitem__
    )


@pytest.mark.parametrize("fast", [False, True])
def test_views_of_a_file_are_those_that_each_stream_makes_alone_and_it_is_decoded_once(monkeypatch, fast):
    """Bit for bit what ``Transform.cut`` makes of the bytes; with fast_decode once for each size that crops ask for."""
    files, asked = photographs(), []
    names = {
        "image": "crop24_flip",
        "first": "crop24_flip_jitter_grey_blur",
        "second": "crop24_flip_jitter_randaugment",
    }
    transforms = {name: find_transform(augment) for name, augment in names.items()}
    transforms = {name: with_fast_decode(one) if fast else one for name, one in transforms.items()}
    alone, by_step = decode.decode, {}
    for step in range(4):
        position = (1, name_id("image"), step // 2, step % 2 * 8 + np.arange(8))
        records = STREAMS["image"].draw(STREAMS["image"].tables(of_files(files).labels, 4), *position)
        by_step[step] = {}
        for name, transform in transforms.items():
            draws = transform.draw(1, name_id(name), *position[2:])
            cut = [transform.cut(files[r], {k: v[i] for k, v in draws.items()}) for i, r in enumerate(records)]
            by_step[step][name] = transform.apply(np.stack(cut), draws)

    def counted(encoded, shrink=1, *args, **options):
        asked.append((len(encoded), shrink))
        return alone(encoded, shrink, *args, **options)

    monkeypatch.setattr(decode, "decode", counted)
    found = batches(of_files(files), transform=transforms, steps_per_epoch=2, stop=4, workers=0)
    for step, batch in enumerate(found):
        for name in names:
            np.testing.assert_array_equal(batch[name]["image"], by_step[step][name])
    assert len(asked) >= 4 * 8 and {shrink for _, shrink in asked} > {1}
    assert len(asked) < 4 * 8 * (2.2 if fast else 1.8)  # of 3 views; the largest files at two sizes


def test_a_file_that_cannot_be_decoded_is_one_fault_for_all_its_views():
    files, faults = photographs(), []
    files[1] = files[1][: len(files[1]) // 2]
    source = dataclasses.replace(of_files(files), labels=np.zeros(5, np.int32))
    transforms = dict.fromkeys(STREAMS, find_transform("crop24_flip"))
    found = batches(source, transform=transforms, steps_per_epoch=2, stop=2, watch=Watch(faults.extend))
    for batch in found:
        np.testing.assert_array_equal(batch["first"]["index"], batch["image"]["index"])
        assert (batch["image"]["index"] != 1).all()
    tables = STREAMS["image"].tables(source.labels, 4)
    drawn = STREAMS["image"].draw(tables, 1, name_id("image"), 0, np.arange(16))
    assert len(faults) == (drawn == 1).sum() > 0
