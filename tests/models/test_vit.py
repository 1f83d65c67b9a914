"""Vision transformers: shapes, parameters, positions of other sizes, pooling, stochastic depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models import BACKBONES, VisionTransformer
from ltjax.models.positions import cubic_weights, resample_positions
from tests.models.arrays import count, paths, random_variables, run, shapes

IMAGES = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
TINY = VisionTransformer(patch=4, width=16, depth=2, heads=2, grid=4)

# of timm's vit_*_patch*_224 without the classifier, CLIP's visual part, DINOv2 without its mask token
PARAMETERS = {
    "vit_ti16": 5524416,
    "vit_s16": 21665664,
    "vit_b16": 85798656,
    "vit_b32": 87455232,
    "vit_l16": 303301632,
    "clip_vit_b16": 86192640,
    "clip_vit_b32": 87849216,
    "clip_vit_l14": 303966208,
    "dinov2_vit_s14": 22056192,
    "dinov2_vit_b14": 86579712,
    "dinov2_vit_l14": 304367616,
    "dinov2_vit_b14_reg": 86582784,
}


@pytest.mark.parametrize("name", ["vit_ti16", "clip_vit_b16", "dinov2_vit_b14_reg"])
def test_the_number_of_parameters_is_that_of_the_published_network(name):
    side = 2 * BACKBONES[name]().patch
    assert count(shapes(BACKBONES[name](), np.zeros((1, side, side, 3)))[1]) == PARAMETERS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_number_of_parameters_of_every_size(name):
    test_the_number_of_parameters_is_that_of_the_published_network(name)


def test_the_names_and_shapes_of_the_parameters():
    net = TINY.clone(pre_norm=True, projection=8, layer_scale=1e-5, registers=3)
    assert paths(shapes(net, IMAGES)[1]["params"]) == {
        "class_token": (16,),
        "position_embedding": (17, 16),
        "register_tokens": (3, 16),
        "patch_embedding/kernel": (4, 4, 3, 16),
        **{f"{norm}/{leaf}": (16,) for norm in ("pre_norm", "norm") for leaf in ("scale", "bias")},
        "projection/kernel": (16, 8),
        **{
            f"block{i}/{path}": shape
            for i in range(2)
            for path, shape in {
                **{f"norm{n}/{leaf}": (16,) for n in (1, 2) for leaf in ("scale", "bias")},
                **{f"attention/{part}/kernel": (16, 16) for part in ("query", "key", "value", "output")},
                **{f"attention/{part}/bias": (16,) for part in ("query", "key", "value", "output")},
                "mlp/fc1/kernel": (16, 64),
                "mlp/fc1/bias": (64,),
                "mlp/fc2/kernel": (64, 16),
                "mlp/fc2/bias": (16,),
                "layer_scale1": (16,),
                "layer_scale2": (16,),
            }.items()
        },
    }


def test_the_map_has_the_class_token_or_the_patches_in_their_places():
    variables = random_variables(TINY, IMAGES)
    assert run(TINY, variables, IMAGES).shape == (2, 1, 1, 16)
    patches = TINY.clone(pool="mean")
    before = run(patches, variables, IMAGES)
    assert before.shape == (2, 4, 4, 16)
    changed = IMAGES.copy()
    changed[:, 4:8, 12:16] += 5  # the patch of row 1, column 3, which changes most
    difference = np.abs(np.asarray(run(patches, variables, changed) - before)).mean((0, 3))
    assert np.unravel_index(difference.argmax(), difference.shape) == (1, 3)
    normed = run(TINY.clone(pool="mean", fc_norm=True), variables, IMAGES)
    assert normed.shape == (2, 1, 1, 16)
    scale, bias = variables["params"]["norm"]["scale"], variables["params"]["norm"]["bias"]
    plain = (normed[:, 0, 0] - bias) / scale
    np.testing.assert_allclose(plain.mean(-1), 0, atol=1e-5)


def test_the_projection_is_kept_where_it_is_not_used():
    net = TINY.clone(projection=8)
    variables = random_variables(net, IMAGES)
    before = net.clone(projected=False)
    assert jax.tree.structure(shapes(before, IMAGES)[1]) == jax.tree.structure(variables)
    features = run(before, variables, IMAGES)[:, 0, 0]
    kernel = variables["params"]["projection"]["kernel"]
    np.testing.assert_allclose(run(net, variables, IMAGES)[:, 0, 0], features @ kernel, rtol=1e-4, atol=1e-5)


def test_images_of_other_sizes_get_positions_and_those_with_a_part_of_a_patch_are_refused():
    variables = random_variables(TINY, IMAGES)
    assert run(TINY.clone(pool="mean"), variables, IMAGES[:, :12, :8]).shape == (2, 3, 2, 16)
    with pytest.raises(InputError, match=r"16 x 14 pixels.*patches of 4.*image_size=16"):
        shapes(TINY, IMAGES[:, :, :14])


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("before", "after"), [(37, 16), (14, 7), (14, 20), (7, 2)])
def test_positions_are_resampled_as_in_pytorch(before, after, antialias):
    torch = pytest.importorskip("torch", reason="torch is not installed: it makes the positions to compare with")
    grid = torch.eye(before)[None, :, None, :].repeat(1, 1, before, 1)
    size = (before, after)
    made = torch.nn.functional.interpolate(grid, size=size, mode="bicubic", align_corners=False, antialias=antialias)
    np.testing.assert_allclose(cubic_weights(before, after, antialias), made[0, :, 0].T.numpy(), atol=2e-6)


def test_positions_of_other_grids_keep_what_has_no_place_and_rows_are_rows():
    places = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij"), -1).reshape(64, 2)
    positions = jnp.asarray(np.concatenate([[[100.0, -100.0]], places]), jnp.float32)
    made = resample_positions(positions, (8, 8), (4, 16), antialias=False)
    np.testing.assert_array_equal(made[0], [100, -100])
    inner = np.asarray(made[1:]).reshape(4, 16, 2)[1:-1, 4:-4]
    np.testing.assert_allclose(inner[..., 0], np.array([2.5, 4.5])[:, None] * np.ones(8), atol=1e-3)
    np.testing.assert_allclose(inner[..., 1], np.ones((2, 1)) * ((np.arange(4, 12) + 0.5) / 2 - 0.5), atol=0.1)
    assert resample_positions(positions, (8, 8), (8, 8), antialias=True) is positions


def test_remat_changes_neither_values_nor_gradients_and_computes_blocks_again():
    variables = random_variables(TINY, IMAGES)

    def loss(variables, net):
        return jnp.sum(jnp.sin(net.apply(variables, IMAGES, train=True)))

    plain, again = (jax.jit(jax.value_and_grad(loss), static_argnums=1) for _ in range(2))
    results = [jax.device_get(f(variables, net)) for f, net in ((plain, TINY), (again, TINY.clone(remat=True)))]
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    assert str(jax.make_jaxpr(lambda v: jax.grad(loss)(v, TINY.clone(remat=True)))(variables)).count("remat") >= 2


def test_stochastic_depth_drops_branches_in_training_alone():
    net = TINY.clone(drop_path=0.9)
    variables = random_variables(TINY, IMAGES)
    expected = run(TINY, variables, IMAGES)
    np.testing.assert_allclose(run(net, variables, IMAGES), expected, rtol=1e-5, atol=1e-5)
    trained = net.apply(variables, IMAGES, train=True, rngs={"drop_path": jax.random.key(1)})
    assert np.abs(np.asarray(trained - expected)).max() > 0.1


def test_half_precision_is_near_and_parameters_stay_float32():
    variables = random_variables(TINY, IMAGES)
    half = TINY.clone(dtype=jnp.bfloat16)
    made = run(half, variables, IMAGES)
    assert made.dtype == jnp.bfloat16
    np.testing.assert_allclose(made.astype(np.float32), run(TINY, variables, IMAGES), atol=0.1)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes(half, IMAGES)[1])} == {jnp.dtype("float32")}
