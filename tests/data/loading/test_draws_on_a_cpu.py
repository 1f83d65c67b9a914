"""On a CPU, what a position draws is made by loops of their own, and not again for every pixel that depends on it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.data.augment.registry import TRANSFORMS
from ltjax.data.loading.device_batches import DEVICE, Resident, train_batch
from ltjax.data.sampling.counter_rng import words
from ltjax.data.sampling.independent import class_balanced

LABELS = np.repeat(np.arange(3), (30, 10, 5))


def two_words(seed, epoch, offset):
    return words(seed, 7, 9, epoch, offset, DEVICE)


ARGUMENTS = (jnp.uint32(3), jnp.uint32(2**32 - 1), jnp.arange(1000, dtype=jnp.uint32))


@pytest.mark.parametrize(("platform", "rolled"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_the_generators_rounds_are_rolled_on_cpus_alone(platform, rolled):
    text = jax.jit(two_words).trace(*ARGUMENTS).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.while" in text) == rolled
    rounds = text.count("stablehlo.xor") - 2 * 2  # two for the key of each of two generators
    assert rounds in ((4, 8) if rolled else (20, 40))  # one function may serve both


def test_rolled_words_are_those_of_the_host():
    for made, host in zip(jax.jit(two_words)(*ARGUMENTS), words(3, 7, 9, 2**32 - 1, np.arange(1000)), strict=True):
        np.testing.assert_array_equal(made, host)


def test_no_pixel_draws_again():
    """A stream whose records only its images use: the loop over pixels held 80 rounds, and compiled for 7 seconds."""
    sampler = class_balanced()

    def pixels(resident, tables, seed, step):
        epoch, offset = (step // 5).astype(jnp.uint32), (step % 5 * 8).astype(jnp.uint32)
        batch = train_batch(
            resident,
            {"image": sampler},
            {"image": tables},
            TRANSFORMS["pad_crop_flip"],
            seed,
            epoch,
            offset + jnp.arange(8, dtype=jnp.uint32),
        )
        return batch["image"]["image"].astype(jnp.float32) / 255

    resident = Resident(jnp.zeros((len(LABELS), 8, 8, 1), jnp.uint8), jnp.asarray(LABELS))
    tables = jax.tree.map(jnp.asarray, sampler.tables(LABELS, 3))
    traced = jax.jit(pixels).trace(resident, tables, jnp.uint32(0), jnp.int32(0))
    text = traced.lower().compile().as_text()
    xors = {}  # operations of the generator alone, by computation and the shape of its result
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" ") and "->" in line:
            name, _, shape = line.partition(" -> ")
            xors[name] = (shape, 0)
        elif re.search(r" xor\(", line):
            xors[name] = (shape, xors[name][1] + 1)
    of_pixels = [count for shape, count in xors.values() if shape.startswith("f32[8,8,8,1]")]
    assert of_pixels and max(of_pixels) == 0
    assert max(count for _, count in xors.values()) <= 12  # four rounds, and what little is beside them
