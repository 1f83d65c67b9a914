"""CBS+RRS+SS does what algorithm 1 says, and ends as a plain network."""

import importlib
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models, presets
from ltjax.data.random import name_id
from ltjax.errors import InputError
from ltjax.losses import rotate
from ltjax.methods import METHODS
from ltjax.methods import auxiliary as methods
from ltjax.methods.stage import Context, Term
from ltjax.presets import auxiliary as settings
from ltjax.training import loop
from ltjax.training.interrupt import Interrupted
from ltjax.training.stages import steps_per_epoch
from ltjax.training.state import parameter_count
from tests.losses import vectors
from tests.training import toy
from tests.training.test_loop import final, stop_at

module = importlib.import_module("ltjax.methods.auxiliary")
DATA = toy.build(None)
S = 4


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(loop, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def config(**changes):
    """Batches of two classes with two images each; eleven steps an epoch."""
    made = toy.config("auxiliary")
    made.auxiliary = settings.settings()
    made.auxiliary.update(images_per_class=2, features=5)
    made.update(epochs=1, batch_size=S, second_stage_epochs=1)
    made.second_stage_optimizer = made.optimizer.copy_and_resolve_references()
    made.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
    return made
