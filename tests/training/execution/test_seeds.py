"""How several seeds share a program, by the type of device."""

import pytest

from ltjax.data.augment.registry import TRANSFORMS
from ltjax.errors import InputError
from ltjax.training.execution.programs import execution_of
from ltjax.training.execution.seeds import seed_axis
from tests.training import toy
from tests.training.fake_devices import mesh_of


def test_a_gpu_trains_seeds_unrolled_and_refuses_vmap():
    def axis(platform, seeds_by):
        config = toy.config(num_seeds=2, seeds_by=seeds_by)
        return execution_of(config, 0, 5, mesh_of(platform), TRANSFORMS["none"]).seeds

    assert axis("gpu", "auto") == axis("gpu", "unroll") == axis("cpu", "auto") == (2, "unroll")
    assert axis("cpu", "vmap") == axis("tpu", "auto") == (2, "vmap")
    with pytest.raises(InputError, match=r"config\.seeds_by: vmap .* use unroll or auto"):
        axis("gpu", "vmap")
    assert execution_of(toy.config(seeds_by="vmap"), 0, 5, mesh_of("gpu"), TRANSFORMS["none"]).seeds[0] == 1


def test_a_gpu_evaluates_what_was_trained_by_vmap_elsewhere():
    assert seed_axis(toy.config(num_seeds=2, seeds_by="vmap"), "gpu") == (2, "unroll")
