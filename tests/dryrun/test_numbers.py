"""FLOPs against the textbook, memory messages, and the search for the largest batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from ltjax.dryrun.compiled import too_large
from ltjax.dryrun.hbm import hbm_bytes
from ltjax.dryrun.largest import Try, largest_batch
from ltjax.hardware.flops import matrix_flops
from ltjax.models import BACKBONES, LinearHead, Network

GMAC = 2e9  # FLOPs


@pytest.mark.parametrize("name, gmacs", [("resnet18", 1.82), pytest.param("resnet50", 4.09, marks=pytest.mark.slow)])
def test_a_resnet_has_the_textbooks_flops(name, gmacs):
    """Training an image of 224 x 224 is three forward passes, but for the gradient to the pixels."""
    network = Network(BACKBONES[name](), LinearHead(1000), mean=(0.5,) * 3, std=(0.5,) * 3)
    images = jnp.zeros((1, 224, 224, 3), jnp.uint8)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    training = jax.make_jaxpr(jax.grad(lambda v: jnp.sum(network.apply(v, images).logits)))(variables)
    first = 112 * 112 * 64 * 7 * 7 * 3 * 2
    assert matrix_flops(training) == pytest.approx(3 * gmacs * GMAC - first, rel=0.005)


def test_strides_and_groups_count_multiplications_that_are_made():
    def convolve(stride, groups, x, w):
        return jax.lax.conv_general_dilated(
            x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )

    x = jax.ShapeDtypeStruct((2, 8, 8, 6), jnp.float32)
    for stride, groups in ((1, 1), (2, 1), (1, 3)):
        w = jax.ShapeDtypeStruct((3, 3, 6 // groups, 12), jnp.float32)
        forward = 2 * 2 * (8 // stride) ** 2 * 12 * 9 * 6 // groups
        function = functools.partial(convolve, stride, groups)
        assert matrix_flops(jax.make_jaxpr(function)(x, w)) == forward
        both = jax.make_jaxpr(jax.grad(lambda x, w: function(x, w).sum(), argnums=(0, 1)))(x, w)  # noqa: B023
        assert matrix_flops(both) == 3 * forward


def test_control_flow_counts_what_runs():
    x = jnp.ones((4, 4))
    once = 2 * 4**3

    def flops(function):
        return matrix_flops(jax.make_jaxpr(function)(x))

    assert flops(lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, length=7)[0]) == 7 * once
    assert flops(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)) == 2 * once
    assert flops(lambda x: jax.checkpoint(jax.jit(lambda x: x @ x))(x)) == once
    mesh, whole = Mesh(np.asarray(jax.devices()[:1]), ("d",)), PartitionSpec()
    assert flops(jax.shard_map(lambda x: x @ x, mesh=mesh, in_specs=whole, out_specs=whole)) == once


@pytest.mark.parametrize(
    "message, gigabytes",
    [
        ("Ran out of memory in memory space hbm. Used 22.03G of 15.75G hbm. Exceeded hbm capacity by 6.28G.", 22.03),
        (
            "Ran out of memory on HBM, the total memory required for HLO temporaries (512.00G) exceeds available HBM "
            "(15.75G).",
            512,
        ),
        ("RESOURCE_EXHAUSTED: something else", 0),
    ],
)
def test_the_compilers_size_is_read(message, gigabytes):
    assert too_large(message, 0).needed == int(gigabytes * 2**30)


def machine(fixed, each, limit, told=True):
    """(measure, tries): memory that grows with the images; above the limit the compiler may not say how much."""
    made = []

    def measure(images):
        needed = fixed + each * images
        made.append(images)
        return Try(images, needed if told or needed <= limit else 0, needed <= limit)

    return measure, made


@pytest.mark.parametrize("start", [1, 16, 500, 4000])
@pytest.mark.parametrize("told", [True, False])
def test_the_largest_batch_is_found_from_either_side(start, told):
    measure, made = machine(fixed=300, each=10, limit=10_000, told=told)
    tries = largest_batch(measure, measure(start), 300, 10_000, most=10**6, tries=8)
    best = max(one.images for one in tries if one.fits)
    assert 0.9 * 970 <= best <= 970
    assert len(made) == len(set(made)) == len(tries) <= 9


def test_memory_that_bends_is_followed():
    """A compiler that recomputes values needs less than the line predicts: the search continues from there."""

    def measure(images):
        needed = min(100 + 10 * images, 900 + images)
        return Try(images, needed, needed <= 1000)

    assert max(t.images for t in largest_batch(measure, measure(8), 100, 1000, most=10**6, tries=8) if t.fits) >= 90


def test_no_batch_is_tried_that_an_epoch_does_not_have_and_nothing_may_fit():
    measure, made = machine(fixed=0, each=1, limit=10**9)
    largest_batch(measure, measure(10), 0, 10**9, most=64)
    assert max(made) == 64
    measure, made = machine(fixed=100, each=1, limit=50)
    assert not any(one.fits for one in largest_batch(measure, measure(64), 100, 50, most=1000))


TPU_TEXT = """HloModule jit_step, is_scheduled=true
%fused (p0: f32[1024], p1: f32[64], p2: s32[]) -> (f32[1024], f32[64]) {
  %p0 = f32[1024]{0:T(256)} parameter(0)
  %p1 = f32[64]{0:T(64)S(1)} parameter(1)
  %p2 = s32[]{:T(128)} parameter(2)
  %part = f32[64]{0:T(64)} dynamic-slice(%p0, %p2), dynamic_slice_sizes={64}
  %sum = f32[64]{0:T(64)} add(%part, %p1)
  %all = f32[1024]{0:T(256)} dynamic-update-slice(%p0, %sum, %p2)
  ROOT %both = (f32[1024]{0:T(256)}, f32[64]{0:T(64)S(1)}) tuple(%all, %sum)
}
%body (c: (s32[], f32[512])) -> (s32[], f32[512]) {
  %c = (s32[], f32[512]{0:T(256)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%c), index=0
  %x = f32[512]{0:T(256)} get-tuple-element(%c), index=1
  %y = f32[512]{0:T(256)} negate(%x)
  ROOT %next = (s32[], f32[512]{0:T(256)}) tuple(%i, %y)
}
%condition (d: (s32[], f32[512])) -> pred[] {
  %d = (s32[], f32[512]{0:T(256)}) parameter(0)
  %j = s32[]{:S(1)} get-tuple-element(%d), index=0
  ROOT %less = pred[]{:S(1)} compare(%j, %j), direction=LT
}
ENTRY %main (a: f32[1024], b: s32[], w: f32[512]) -> f32[1024] {
  %a = f32[1024]{0:T(256)} parameter(0)
  %b = s32[]{:T(128)S(1)} parameter(1)
  %w = f32[512]{0:T(256)} parameter(2)
  %begin = ((f32[1024]{0:T(256)}), f32[64]{0:T(64)S(1)}, s32[]{:S(2)}) slice-start(%a), slice={[0:64]}
  %near = f32[64]{0:T(64)S(1)} slice-done(%begin)
  %update = (f32[1024]{0:T(256)}, f32[64]{0:T(64)S(1)}) fusion(%a, %near, %b), kind=kLoop, calls=%fused
  %init = (s32[], f32[512]{0:T(256)}) tuple(%b, %w)
  %loop = (s32[], f32[512]{0:T(256)}) while(%init), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  ROOT %result = f32[1024]{0:T(256)} get-tuple-element(%update), index=0
}
"""  # noqa: E501


def test_bytes_of_a_tpus_memory_are_without_what_stays_on_the_chip():
    slice_read, fusion_reads, fusion_writes, loop = 64 * 4, 64 * 4, 64 * 4, 3 * 2 * 512 * 4
    assert hbm_bytes(TPU_TEXT) == slice_read + fusion_reads + fusion_writes + loop
