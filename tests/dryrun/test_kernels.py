"""The compiler's texts of a GPU program: what is counted, in a graph and outside, and what the model makes of it."""

import pytest

from ltjax.dryrun import hlo
from ltjax.dryrun import kernels as reading
from ltjax.dryrun.thunks import Thunk, kind_of, parse_thunks, read_sequence, thunk_names
from ltjax.hardware.chips import GPUS

H200 = GPUS["H200"]
# A call: two kernels, then a loop over steps with a convolution, a product, a fusion and a loop of its own.
ONE_GRAPH = """
000: kCommandBuffer [source | sink]
    001: kCopy         [source        | next=003 (2) ] kCopy
    002: kCustomKernel [source        | next=003 (1) ] loop_broadcast_fusion grid: [1, 1, 1] threads: [84, 1, 1]
    003: kWhile        [prev=002 (1)  | sink         ]
condition:
        004: kCustomKernel [source | sink] loop_compare_fusion grid: [1, 1, 1] threads: [1, 1, 1]
      body:
        005: kConvolution  [source        | next=006 (1) ] kConvolution
        006: kCustomKernel [prev=005 (1)  | next=007 (1) ] gemm_fusion_dot_3 grid: [4, 1, 1] threads: [128, 1, 1]
        007: kWhile        [prev=006 (1)  | next=010 (1) ]
condition:
            008: kCustomKernel [source | sink] input_reduce_fusion grid: [1, 1, 1] threads: [32, 1, 1]
          body:
            009: kCustomKernel [source | sink] loop_select_fusion grid: [1, 1, 1] threads: [128, 1, 1]
        010: kMemset32BitValue [prev=007 (1) | sink] kMemset32BitValue
"""
# The same, where the host runs both loops and no graph has the convolution.
BY_HOST = """
000: kCommandBuffer [source        | next=003 (1) ]
    001: kCopy         [source | sink] kCopy
    002: kCustomKernel [source | sink] loop_broadcast_fusion grid: [1, 1, 1] threads: [84, 1, 1]
003: kWhile        [prev=000 (1)  | sink         ]
condition:
    004: kCustomKernel [source | sink] loop_compare_fusion grid: [1, 1, 1] threads: [1, 1, 1]
  body:
    005: kConvolution  [source        | next=006 (1) ] kConvolution
    006: kCommandBuffer [prev=005 (1)  | next=007 (1) ]
        011: kCustomKernel [source | sink] gemm_fusion_dot_3 grid: [4, 1, 1] threads: [128, 1, 1]
    007: kWhile        [prev=006 (1)  | next=010 (1) ]
condition:
        008: kCustomKernel [source | sink] input_reduce_fusion grid: [1, 1, 1] threads: [32, 1, 1]
      body:
        009: kCustomKernel [source | sink] loop_select_fusion grid: [1, 1, 1] threads: [128, 1, 1]
    010: kMemset32BitValue [prev=007 (1) | sink] kMemset32BitValue
"""
NAMES = """thunk_metadata {
  thunk_info {
    profile_annotation: "command_buffer"
  }
  thunk_kind: "kCommandBuffer"
}
thunk_metadata {
  thunk_info {
    profile_annotation: "while.2"
    thunk_id: 3
  }
}
thunk_metadata {
  thunk_info {
    profile_annotation: "while.1"
    thunk_id: 7
  }
}
"""


def sequence(text, has_loop=True):
    return read_sequence(parse_thunks(text, thunk_names(NAMES)), has_loop)


def test_a_call_that_is_one_graph():
    found = sequence(ONE_GRAPH)
    assert found.one_graph and found.loop_in_graph and found.loop == "while.2"
    assert found.once.kernels == {"fusions": 1, "copies and memsets": 1} and found.once.graphs == 1
    each = found.repeated
    assert each.kernels == {"fusions": 3, "convolutions": 1, "matrix products": 1, "copies and memsets": 1}
    assert not each.outside and not each.host_loops and each.graphs == 0


def test_loops_of_the_host_and_what_it_launches():
    found = sequence(BY_HOST)
    assert not found.one_graph and not found.loop_in_graph
    each = found.repeated
    assert each.kernels == sequence(ONE_GRAPH).repeated.kernels
    assert each.outside == {"fusions": 3, "convolutions": 1, "copies and memsets": 1} and each.graphs == 1
    assert each.host_loops == ("while.1",)
    assert found.once.graphs == 1 and not found.once.outside and not found.once.host_loops


def test_a_program_without_a_loop_over_steps():
    found = sequence(ONE_GRAPH, has_loop=False)
    assert found.repeated is None and found.one_graph
    assert sum(found.once.kernels.values()) == 8
    assert sequence(BY_HOST, has_loop=False).once.host_loops == ("while.2", "while.1")


@pytest.mark.parametrize("change", ["once more", "two graphs"])
def test_what_is_not_one_graph(change):
    more = {"once more": "020: kCopy [source | sink] kCopy", "two graphs": "020: kCommandBuffer [source | sink]"}
    assert not sequence(ONE_GRAPH + more[change]).one_graph


KINDS = {
    "kKernel": "fusions", "kGemm": "matrix products", "kCuDnn": "convolutions", "kConvolutionReorder": "convolutions",
    "kMemzero": "copies and memsets", "kDynamicSlice": "fusions", "kCustomCall": "custom calls",
    "kCholesky": "custom calls", "kAllReduceStart": "collectives", "kAllReduceDone": None, "kAllReduce": "collectives",
    "kSequential": None, "kConditional": None, "kWaitForStreams": None, "kNewInALaterVersion": "custom calls",
}  # fmt: skip


@pytest.mark.parametrize("name, kind", KINDS.items())
def test_kinds_of_kernels(name, kind):
    assert kind_of(Thunk(0, name, "", ())) == kind


# The text that belongs to ONE_GRAPH, and a chain of two kernels beside a third one.
MODULE = """HloModule jit_several, is_scheduled=true

%fused_slice (p0: f32[100,1000], p1: s32[]) -> f32[1,1000] {
  %p0 = f32[100,1000]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  ROOT %part = f32[1,1000]{1,0} dynamic-slice(%p0, %p1, %p1), dynamic_slice_sizes={1,1000}
}

%fused_update (q0: f32[100,1000], q1: f32[1,1000], q2: s32[]) -> f32[100,1000] {
  %q0 = f32[100,1000]{1,0} parameter(0)
  %q1 = f32[1,1000]{1,0} parameter(1)
  %q2 = s32[] parameter(2)
  ROOT %put = f32[100,1000]{1,0} dynamic-update-slice(%q0, %q1, %q2, %q2)
}

%fused_transpose (r0: f32[1000,10]) -> f32[10,1000] {
  %r0 = f32[1000,10]{1,0} parameter(0)
  ROOT %turned = f32[10,1000]{1,0} transpose(%r0), dimensions={1,0}
}

%inner_body (s: (s32[])) -> (s32[]) {
  %s = (s32[]) parameter(0)
  %s0 = s32[] get-tuple-element(%s), index=0
  %n = s32[] negate(%s0)
  ROOT %st = (s32[]) tuple(%n)
}

%inner_condition (t: (s32[])) -> pred[] {
  %t = (s32[]) parameter(0)
  %t0 = s32[] get-tuple-element(%t), index=0
  ROOT %less = pred[] compare(%t0, %t0), direction=LT
}

%body (state: (f32[100,1000], s32[], bf16[8,16,16,32], bf16[64,3,3,32])) -> (f32[100,1000], s32[], bf16[8,16,16,32], bf16[64,3,3,32]) {
  %state = (f32[100,1000]{1,0}, s32[], bf16[8,16,16,32]{3,2,1,0}, /*index=3*/bf16[64,3,3,32]{3,2,1,0}) parameter(0)
  %table = f32[100,1000]{1,0} get-tuple-element(%state), index=0
  %i = s32[] get-tuple-element(%state), index=1
  %x = bf16[8,16,16,32]{3,2,1,0} get-tuple-element(%state), index=2
  %w = bf16[64,3,3,32]{3,2,1,0} get-tuple-element(%state), index=3
  %cut = f32[1,1000]{1,0} fusion(%table, %i), kind=kLoop, calls=%fused_slice
  ROOT %new = (f32[100,1000]{1,0}, s32[], bf16[8,16,16,32]{3,2,1,0}, bf16[64,3,3,32]{3,2,1,0}) tuple(%updated, %i, %x, %w)
  %updated = f32[100,1000]{1,0} fusion(%table, %cut, %i), kind=kLoop, calls=%fused_update
  %conv = (bf16[8,16,16,64]{3,2,1,0}, u8[0]{0}) custom-call(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn$convForward"
  %first = s32[] tuple(%i)
  %while.1 = (s32[]) while(%first), condition=%inner_condition, body=%inner_body
}

%condition (u: (f32[100,1000], s32[], bf16[8,16,16,32], bf16[64,3,3,32])) -> pred[] {
  %u = (f32[100,1000]{1,0}, s32[], bf16[8,16,16,32]{3,2,1,0}, bf16[64,3,3,32]{3,2,1,0}) parameter(0)
  %u1 = s32[] get-tuple-element(%u), index=1
  ROOT %more = pred[] compare(%u1, %u1), direction=LT
}

ENTRY %main (a: f32[1000,10]) -> f32[10,1000] {
  %a = f32[1000,10]{1,0} parameter(0)
  %start = (f32[100,1000]{1,0}, s32[], bf16[8,16,16,32]{3,2,1,0}, bf16[64,3,3,32]{3,2,1,0}) tuple(%a)
  %while.2 = (f32[100,1000]{1,0}, s32[], bf16[8,16,16,32]{3,2,1,0}, bf16[64,3,3,32]{3,2,1,0}) while(%start), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"2"}}
  ROOT %t.1 = f32[10,1000]{1,0} fusion(%a), kind=kInput, calls=%fused_transpose
}
"""  # noqa: E501


@pytest.fixture(scope="module")
def module():
    return hlo.parse_module(MODULE)


def test_instructions_and_what_they_move(module):
    body = module.computations["body"]
    assert module.entry == "main" and body.root.name == "new"
    assert body["cut"].operands == ("table", "i") and body["conv"].is_convolution
    assert hlo.moved(body["cut"], body, module) == 2 * 4000 + 4  # the part, not the table
    assert hlo.moved(body["updated"], body, module) == 2 * 4000 + 4
    x, w, y = 2 * 8 * 16 * 16 * 32, 2 * 64 * 9 * 32, 2 * 8 * 16 * 16 * 64
    assert hlo.moved(body["conv"], body, module) == x + w + y
    assert hlo.trips(module.computations["main"]["while.2"]) == 2 and hlo.trips(body["while.1"]) is None


@pytest.mark.parametrize(
    "target, operands",
    [("convForward", "x, w -> y"), ("convBackwardInput", "y, w -> x"), ("convBackwardFilter", "x, y -> w")],
)
def test_a_convolution_and_its_gradients_have_the_same_flops(target, operands):
    shapes = {"x": "bf16[8,16,16,32]", "w": "bf16[64,3,3,32]", "y": "bf16[8,16,16,64]"}
    first, second, result = operands.replace(" -> ", ", ").split(", ")
    module = hlo.parse_module(f"""ENTRY %main (a: f32[], b: f32[]) -> f32[] {{
  %a = {shapes[first]} parameter(0)
  %b = {shapes[second]} parameter(1)
  ROOT %c = {shapes[result]} custom-call(%a, %b), dim_labels=b01f_o01i->b01f, custom_call_target="__cudnn${target}"
}}""")
    main = module.computations["main"]
    assert hlo.flops(main["c"], main, module) == 2 * 8 * 16 * 16 * 64 * 9 * 32


@pytest.mark.parametrize(
    "attributes",
    [
        "dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}",
        'custom-call(%a, %b), custom_call_target="__cublas$gemm", '
        'backend_config={"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}',
    ],
)
def test_flops_of_a_product(attributes):
    module = hlo.parse_module(f"""ENTRY %main (a: f32[5,7], b: f32[7,3]) -> f32[5,3] {{
  %a = f32[5,7]{{1,0}} parameter(0)
  %b = f32[7,3]{{1,0}} parameter(1)
  ROOT %c = f32[5,3]{{1,0}} {attributes}
}}""")
    main = module.computations["main"]
    assert hlo.flops(main["c"], main, module) == 2 * 5 * 7 * 3


def test_a_kernel_that_only_changes_the_layout(module):
    main, body = module.computations["main"], module.computations["body"]
    assert reading.changes_layout_only(main["t.1"], module)
    assert not any(reading.changes_layout_only(one, module) for one in body.values())


def test_the_model_adds_kernels_or_follows_the_longest_path(module):
    found = reading.read_kernels(sequence(ONE_GRAPH), MODULE, steps=2, chip=H200, dtype="bfloat16")
    assert found.total == 6 and found.one_graph and found.once == 2
    # cut, updated, negate and compare of the inner loop are kernels of 2 us; the convolution has 7 to 14 us
    assert found.serial == pytest.approx((4 * 2e-6 + 7e-6, 4 * 2e-6 + 14e-6))
    assert found.longest == pytest.approx((7e-6, 14e-6)) and found.host == (0, 0)
    # the convolution's 2 x 2 pixels and 9 weights, and all that the others move, are small
    assert 0 < found.busy < 1e-6 and found.layout_copies == 0
    unknown = reading.read_kernels(sequence(ONE_GRAPH), MODULE, steps=2, chip=None, dtype="bfloat16")
    assert unknown.serial == unknown.longest == (0, 0) and unknown.busy == 0 and unknown.total == 6


def test_an_unrolled_loop_is_counted_by_step():
    found = reading.read_kernels(sequence(ONE_GRAPH), MODULE, steps=4, chip=H200, dtype="bfloat16")  # two a trip
    assert found.total == 3 and found.serial[0] == pytest.approx((4 * 2e-6 + 7e-6) / 2)


def test_the_host_waits_for_a_loop_whose_end_it_does_not_know():
    found = reading.read_kernels(sequence(BY_HOST), MODULE, steps=2, chip=H200, dtype="bfloat16")
    assert found.host_loop and (found.inner_loops, found.waiting_loops) == (1, 1)
    assert found.graphs == 1 and found.host == pytest.approx((6 * 5e-6, 6 * 10e-6))  # five kernels and a graph
    known = MODULE.replace("body=%inner_body", 'body=%inner_body, backend_config={"known_trip_count":{"n":"3"}}')
    found = reading.read_kernels(sequence(BY_HOST), known, steps=2, chip=H200, dtype="bfloat16")
    assert (found.inner_loops, found.waiting_loops) == (1, 0)
    assert found.serial[0] == pytest.approx((2 + 3 * 2) * 2e-6 + 7e-6)


@pytest.mark.parametrize("inside", [False, True])  # newer compilers put a small collective into a fusion
def test_a_collective_takes_its_time(inside):
    for n, seconds in ((64, 20e-6), (10**8, 2 * 7 / 8 * 4e8 / 450e9)):
        line = f"ROOT %r = f32[{n}]{{0}} all-reduce(%a), replica_groups={{{{0,1,2,3,4,5,6,7}}}}, to_apply=%sum"
        text = f"ENTRY %main (a: f32[{n}]) -> f32[{n}] {{\n  %a = f32[{n}]{{0}} parameter(0)\n  {line}\n}}\n"
        if inside:
            text = text.replace("ENTRY %main", "%fused_computation") + (
                f"ENTRY %main (b: f32[{n}]) -> f32[{n}] {{\n  %b = f32[{n}]{{0}} parameter(0)\n"
                f"  ROOT %f = f32[{n}]{{0}} fusion(%b), kind=kCustom, calls=%fused_computation\n}}\n"
            )
        graph = parse_thunks("000: kAllReduceStart [source | sink] kAllReduceStart")
        found = reading.read_kernels(read_sequence(graph, False), text, 1, H200, "float32")
        assert found.kernels == {"collectives": 1} and found.serial[0] == pytest.approx(seconds)


def test_the_compilers_files(tmp_path):
    assert reading.read_dump(str(tmp_path), MODULE, 2, H200, "bfloat16") is None
    (tmp_path / "module_0001.jit_several.thunk_metadata.txt").write_text(NAMES)
    (tmp_path / "module_0001.jit_several.thunk_sequence.txt").write_text(BY_HOST)
    before = reading.read_dump(str(tmp_path), MODULE, 2, H200, "bfloat16")
    assert before is not None and before.host_loop
    (tmp_path / "module_0001.jit_several.thunk_sequence_after_thunk_passes.txt").write_text(ONE_GRAPH)
    after = reading.read_dump(str(tmp_path), MODULE, 2, H200, "bfloat16")
    assert after is not None and after.one_graph
    assert reading.as_record(after)["total"] == 6 and reading.as_record(after)["serial_seconds"] == list(after.serial)
