"""Second stages on features that do not fit in memory: what they take, in a process of its own.

    python -m tests.training.large_features DIR --records 437513 --size 2048 --classes 8142 --steps 30

Images of 8 x 8 pixels are made as they are asked for; one convolution makes ``--size`` features of each, which a run
writes to DIR and maps from there. Prints a JSON line for each second stage: seconds, and the peak of the memory that is
the process's own (RssAnon: without the pages of files) beyond what it was when the imports were done.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import shutil
import threading
import time

import flax.linen as nn
import numpy as np

from ltjax import models
from ltjax.data import Data, Source
from ltjax.data.dataset import fingerprint
from ltjax.data.datasets.longtail import long_tailed_counts
from ltjax.methods import METHODS, configure
from ltjax.methods.stage import ClosedForm, trained
from ltjax.training import loop, prepare
from tests import recipes

PIXELS = np.random.RandomState(0).randint(0, 256, 2**16).astype(np.uint8)
WORDS = {"ncm": "ncm", "tau": "tau,tau_from=train", "lws": "lws,cached", "crt": "crt,cached"}


class Wide(nn.Module):
    """One convolution over the whole image, and ReLU."""

    size: int = 0
    final_relu: bool = True
    dtype: str = "float32"
    param_dtype: str = "float32"

    @nn.compact
    def __call__(self, x, train=False, frozen_norm=False):
        return nn.relu(nn.Conv(self.size, (8, 8), (8, 8), dtype=self.dtype, name="conv")(x))


def source(labels):
    places = np.arange(64)

    def read_many(records):
        first = records * 7919 + 31 * labels[records]
        return PIXELS[(first[:, None] + places * 10_007) % len(PIXELS)].reshape(-1, 8, 8, 1)

    index = np.arange(len(labels))
    return Source(labels.astype(np.int32), index, lambda i: read_many(np.array([i]))[0], read_many)


def data(records, classes):
    counts = long_tailed_counts(records / classes * 4.6, classes, 100)
    counts[0] += records - counts.sum()
    labels = np.random.RandomState(1).permutation(np.repeat(np.arange(classes), counts))
    train, test = source(labels), source(np.arange(1000) % classes)
    shape, print_of = (8, 8, 1), fingerprint(train)
    return Data("wide", train, test, "test", classes, counts, shape, (0.5,), (0.25,), None, print_of)


class Anonymous(threading.Thread):
    """Watches the process's own memory, in bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = self.now()
        self.start()

    def now(self):
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

    def run(self):
        while True:
            self.peak = max(self.peak, self.now())
            time.sleep(0.01)


def main():
    parser = argparse.ArgumentParser()
    for name in ("records", "size", "classes", "steps"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seconds", nargs="+", default=list(WORDS))
    parser.add_argument("--memory-mb", type=float, default=100.0)
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    made = data(options.records, options.classes)
    prepare.build = lambda settings: made
    models.BACKBONES["wide"] = functools.partial(Wide, size=options.size)

    def method(config, own, data):
        """The first stage as it begins; of the second so many steps."""
        first, second = METHODS["decoupling"].stages(config, own, data)
        return [
            ClosedForm(first.name, first.network, first.init, first.predict),
            dataclasses.replace(second, epoch_size=options.batch * options.steps) if trained([second]) else second,
        ]

    METHODS["wide"] = dataclasses.replace(METHODS["decoupling"], stages=method)
    watch = Anonymous()
    for name in options.seconds:
        config = recipes.build("cifar100", "decoupling", WORDS[name])
        config.update(method="wide", batch_size=options.batch, second_stage_epochs=1, log_every_steps=10)
        config.data.update(name="wide", augment="none")
        config.model.backbone = "wide"
        config.evaluation.batch_size, config.evaluation.shots = 512, "strict"
        config.features.update(dir=str(options.folder / "features"), memory_mb=options.memory_mb)
        settings = configure.resolve(config)
        workdir = options.folder / name
        shutil.rmtree(workdir, ignore_errors=True)
        before, watch.peak, began = watch.now(), 0, time.monotonic()
        loop.train(settings, str(workdir))
        print(json.dumps({
            "stage": name, "seconds": round(time.monotonic() - began, 1), "before_mb": round(before / 1e6),
            "peak_mb": round(watch.peak / 1e6),
        }), flush=True)  # fmt: skip
        shutil.rmtree(workdir)


if __name__ == "__main__":
    main()
