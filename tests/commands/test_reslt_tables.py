"""ResLT's tables: what their notes say of the networks, and which runs the section signs are."""

import jax
import jax.numpy as jnp
import pytest

from ltjax.bench.infer import last_stage
from ltjax.commands.paper_tables.reslt import TABLES
from ltjax.hardware.flops import matrix_flops
from ltjax.models import ExpertsHead


def cost(config):
    """Million parameters and billion multiply-adds for an image."""
    stage, shape = last_stage(f"configs/{config}", "float32")
    image = jax.ShapeDtypeStruct((1, *shape), jnp.uint8)
    variables = jax.eval_shape(lambda: stage.network.init(jax.random.key(0), jnp.zeros(image.shape, image.dtype)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    return parameters / 1e6, matrix_flops(jax.make_jaxpr(stage.predict)(variables, image)) / 2e9


def head_cost(head):
    """Billion multiply-adds of a head at the end of RIDE's ResNeXt-50, at test."""
    maps = jax.ShapeDtypeStruct((3, 1, 7, 7, 1536), jnp.float32)
    variables = jax.eval_shape(lambda: head.init(jax.random.key(0), jnp.zeros(maps.shape), train=False))
    apply = jax.make_jaxpr(lambda v, x: head.apply(v, x, train=False).logits)
    return matrix_flops(apply(variables, maps)) / 2e9


def test_three_experts_cost_what_the_paper_says_more_than_rides():
    """Section 4.3: "an extra 0.04G FLOPs", which are multiply-adds. Convolving before pooling would be 1.05 more."""
    reslt, ride = head_cost(ExpertsHead(1000, 3, head="reslt", form="conv")), head_cost(ExpertsHead(1000, 3))
    each, more = 1536 * 3 * 1536, 1536 * 1000  # the convolution of an expert, a branch's classifier
    assert reslt == pytest.approx(3 * (each + 3 * more) / 1e9) and round(reslt, 2) == 0.04
    assert reslt - ride == pytest.approx(3 * (each + 2 * more) / 1e9)
    assert f"{reslt:.3f} G in all, {reslt - ride:.3f} G more than RIDE's" in TABLES["7"].notes[1]


@pytest.mark.slow
def test_the_note_has_the_costs_of_the_networks():
    ride, reslt = cost("imagenet_baselines.py:ride"), cost("imagenet_reslt.py:experts=3,gamma=-1")
    assert f"{reslt[1]:.2f} G against {ride[1]:.2f} G for the networks" in TABLES["7"].notes[1]
    assert f"{reslt[0]:.1f} M parameters against {ride[0]:.1f} M" in TABLES["7"].notes[1]


def test_the_rows_with_a_section_sign_and_of_experts():
    """Tables 2 to 5 define the sign each for itself; table 7's two experts are the first two of three."""
    of = {number: {row.labels[0]: row.results for row in TABLES[number].rows} for number in "2345"}
    assert of["2"]["ResLT §"][0].config == "inat_reslt:strong" and of["2"]["ResLT §"][0].weights == "resnet50"
    assert of["3"]["ResLT §"][0].config == "imagenet_reslt:strong" and not of["3"]["ResLT §"][0].weights
    assert of["4"]["ResLT §"][0].config == "places_reslt" and of["4"]["ResLT §"][0].weights == "resnet152_cutmix"
    assert of["5"]["ResLT §"][4].config == "cifar100_reslt:strong,imbalance=50"
    experts = [row.results[0] for row in TABLES["7"].rows if row.labels[1].startswith("ResLT")]
    assert [(one.config, one.view) for one in experts] == [
        (config, view)
        for config in ("imagenet_reslt:experts=3", "inat_reslt:experts=3")
        for view in ("first_2_experts", "")
    ]
