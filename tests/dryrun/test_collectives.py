"""Collectives in the compiler's text: every form of it, and those of the sharded step on eight devices."""

import json
import os
import subprocess
import sys

import pytest

from ltjax.dryrun.collectives import collectives, group_size
from tests.shared import ROOT

HEADER = "HloModule jit_step, entry_computation_layout={...}, num_partitions=8\n"
# what stands in the text -> (kind, bytes, devices of a group)
LINES = {
    "scalar": ("%r = f32[] all-reduce(%x), replica_groups=[1,8]<=[8], to_apply=%sum", ("all-reduce", 4, 8)),
    "layout of a TPU": (
        "%all-reduce = f32[16]{0:T(128)S(1)} all-reduce(%x), channel_id=1, "
        "replica_groups=mesh['axis_0'=16,'axis_1'=1] {'axis_0','axis_1'}, to_apply=%sum",
        ("all-reduce", 64, 16),
    ),
    "part of an axis": ("%r = s8[3]{0} all-reduce(%x), replica_groups=mesh['a'=8] {'a':(1)2}", ("all-reduce", 3, 2)),
    "several arrays": (
        "ROOT %r = (f32[2,3]{1,0}, bf16[7]{0}, pred[5]{0}) all-reduce(%x, %y, %z), replica_groups={}",
        ("all-reduce", 24 + 14 + 5, 8),
    ),
    "asynchronous reduction": (
        "%s = (f32[4]{0}, f32[2]{0}) all-reduce-start(%x, %y), replica_groups={{0,1},{2,3},{4,5},{6,7}}",
        ("all-reduce", 24, 2),
    ),
    "asynchronous gather": (
        "%s = ((f32[4]{0}, u8[1]{0}), (f32[32]{0}, u8[8]{0})) all-gather-start(%x, %y), replica_groups=[1,8]<=[8]",
        ("all-gather", 136, 8),
    ),
    "a scatter has the whole array before": (
        "%s = bf16[4]{0} reduce-scatter(%x), replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%sum",
        ("reduce-scatter", 32, 4),
    ),
    "permutation": (
        "%s = (f32[4]{0}, f32[4]{0}, u32[], u32[]) collective-permute-start(%x), source_target_pairs={{0,1}}",
        ("collective-permute", 16, 8),
    ),
    "eight-bit floats": ("%s = f8e4m3fn[3]{0} all-to-all(%x), replica_groups=[1,8]<=[8]", ("all-to-all", 3, 8)),
}


@pytest.mark.parametrize("line, expected", LINES.values(), ids=LINES)
def test_a_line_is_read(line, expected):
    (found,) = collectives(HEADER + "  " + line)
    assert (found.kind, found.bytes, found.group) == expected


def test_a_start_is_counted_and_its_end_is_not():
    text = "%s = f32[4]{0} all-reduce-start(%x)\n%d = f32[4]{0} all-reduce-done(%s)\n%c = f32[4]{0} copy(%all-reduce.1)"
    assert len(collectives(text)) == 1


def test_the_origin_is_the_traced_function():
    line = '%r = f32[] all-reduce(%x), metadata={op_name="jit(one)/norm1/reduce_sum" stack_frame_id=3}'
    assert collectives(line)[0].origin == "jit(one)/norm1/reduce_sum"


def test_without_groups_all_devices_take_part():
    assert group_size("all-reduce(%x), to_apply=%sum", 8) == 8


TOY_STEP = """
import json, jax, jax.numpy as jnp
from ltjax.training.execution import mesh as meshes
from ltjax.dryrun.collectives import collectives
from ltjax.training.execution.programs import Execution, streamed_step
from ltjax.training.open_stage import shape_of_state
from tests.training import toy

config = toy.config(batch_size=16)
data, stage = toy.build(config.data), toy.stage(config)
image = jax.ShapeDtypeStruct((16, 8, 8, 1), jnp.uint8)
row = jax.ShapeDtypeStruct((16,), jnp.int32)
state = shape_of_state(data, stage, {})
step = streamed_step(stage, Execution(2, 16, meshes.data_mesh()))
text = step.lower(state, {}, {"image": {"image": image, "label": row, "index": row}}).compile().as_text()
parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
print(json.dumps([parameters, [(one.kind, one.bytes, one.group) for one in collectives(text)]]))
"""


def test_the_sharded_step_reduces_and_does_nothing_else():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", TOY_STEP], cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parameters, found = json.loads(done.stdout.splitlines()[-1])
    assert {(kind, group) for kind, _, group in found} == {("all-reduce", 8)}
    # Gradients; of the one batch norm mean and variance; of the loss and the accuracy a few scalars.
    assert 4 * parameters + 2 * 4 * 4 <= sum(size for _, size, _ in found) <= 4 * parameters + 6 * 4 * 4 + 10 * 4
