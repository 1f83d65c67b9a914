"""A model that needs no training: its features are an image's mean in each channel, and so are its logits."""

import io

import jax.numpy as jnp
import numpy as np
from PIL import Image

from ltjax.commands.demo.session import Session
from ltjax.data import Source
from ltjax.inference.model import Model, Outputs

NAMES = ("red <b>rose</b>", "green\nleaf", "blue iris")
COLOURS = ((220, 20, 20), (20, 220, 20), (20, 20, 220))


def apply(variables, images):
    means = jnp.asarray(images, jnp.float32).mean((1, 2)) * variables["scale"]
    powers = jnp.exp(means - means.max(1, keepdims=True))
    return Outputs(means, means, powers / powers.sum(1, keepdims=True))


def model(temperature=None):
    return Model(
        apply=apply, variables={"scale": jnp.float32(0.02)}, method="ce", dataset="flowers", class_names=NAMES,
        class_counts=(1200, 40, 1), image_shape=(8, 8, 3), resize=8, mean=(0.5,) * 3, std=(0.25,) * 3,
        temperature=temperature,
    )  # fmt: skip


def training_images():
    """Nine images in the three colours, ever darker."""
    labels = np.repeat(np.arange(3, dtype=np.int32), 3)
    images = [np.full((8, 8, 3), np.array(COLOURS[c]) * (3 - i % 3) // 3, np.uint8) for i, c in enumerate(labels)]
    return Source(labels, np.arange(9), lambda i: images[i])


def session(**changes):
    usual = {"name": "mine", "model": model(), "results": {"accuracy": {"all": 0.5, "few": None}}}
    return Session(**(usual | {"index": None, "about_neighbours": ""} | changes))


def encoded(colour=(220, 20, 20), size=(12, 10), form="PNG"):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def bomb(width=40_000, height=40_000):
    """A PNG of a few bytes whose header says that it has 1.6 billion pixels."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
