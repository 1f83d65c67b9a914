"""The benchmarks of whole networks: what they report, that both sides compute the same, that the checks can fail."""

import dataclasses
import importlib.util
import json
import os
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from ltjax.bench import infer, measure, problems, profile, scan, seeds, step
from ltjax.bench.__main__ import main
from ltjax.bench.peers import pytorch
from ltjax.bench.peers.network import build_network
from ltjax.errors import InputError
from ltjax.models import BACKBONES
from ltjax.training.execution import cpu_flags

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch, the peer of the benchmarks, is not installed"
)
STEP = "step --network resnet8 --batch 8 --size 8 --repeats 1"
SCAN = "scan --network resnet8 --batch 8 --size 8 --repeats 1 --steps 2"
SEEDS = "seeds --network resnet8 --batch 8 --size 8 --repeats 1 --steps 2 --classes 10 --by vmap"
INFER = "infer --networks resnet8 --batch 8 --repeats 1 --classes 5"


@pytest.fixture(autouse=True)
def keep_the_compiler_flag(monkeypatch):
    """JAX runs already in this process: a flag set now would only reach the processes of later tests."""
    monkeypatch.setattr(cpu_flags, "prepare_cpu", lambda: None)


@pytest.fixture
def no_torch(monkeypatch):
    for module in (measure, pytorch):
        monkeypatch.setattr(module, "torch_installed", lambda: False)


def run(command, path, capsys):
    """What the command prints, and the JSON it writes."""
    assert main([*command.split(), "--json", str(path)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out, json.loads(path.read_text())


@needs_torch
@pytest.mark.parametrize(("method", "classes"), [("ce", 10), ("reslt", 12)])
def test_step_compares_with_pytorch(method, classes, tmp_path, capsys):
    printed, record = run(f"{STEP} --method {method} --classes {classes}", tmp_path / "step.json", capsys)
    assert printed.startswith("ran on the CPU, no accelerator")
    assert set(record["sides"]) == {"ltjax", "torch"}
    ours, theirs = record["sides"]["ltjax"], record["sides"]["torch"]
    assert len(ours["ms"]) == len(theirs["ms"]) == 1
    assert ours["images_per_second"] == pytest.approx(8e3 / ours["median_ms"])
    assert record["speed_relative_to"]["torch"] == pytest.approx(theirs["median_ms"] / ours["median_ms"])
    assert record["options"]["method"] == method and record["environment"]["platform"] == "cpu"
    assert record["check"]["loss"] < 1e-5 and record["check"]["update"] < 2e-3
    assert "x as fast" in printed


@needs_torch
def test_step_reports_its_cost_and_the_fraction_of_the_peak_rate(tmp_path, capsys, monkeypatch):
    flops = {"float32": 1e12}
    monkeypatch.setattr(step, "of_kind", lambda kind: SimpleNamespace(flops=flops))
    printed, record = run(f"{STEP} --cost --classes 10", tmp_path / "step.json", capsys)
    ours = record["sides"]["ltjax"]
    # forward, and twice that backward except the gradient of the images; the last linear layer is negligible
    forward = 2 * 8 * (64 * 9 * (3 * 16 + 2 * 16 * 16) + 16 * 9 * 3 * 16 * 32 + 4 * 9 * 3 * 32 * 64)
    assert record["cost"]["matrix_flops"] == pytest.approx(3 * forward, rel=0.1)
    assert ours["mfu"] == pytest.approx(record["cost"]["matrix_flops"] / (1e9 * ours["median_ms"]))
    assert ours["bytes"] > 4 * 3 * record["parameters"] and record["sides"]["torch"]["bytes"] is None
    assert printed.splitlines()[-3].split() == ["TFLOP/s", "MFU", "MiB"] and printed.splitlines()[-1].endswith("-")
    monkeypatch.setattr(step, "of_kind", lambda kind: None)
    sides = {"ltjax": SimpleNamespace(cost=lambda: {"matrix_flops": 2e9, "bytes": 2.0**20})}
    times = {"sides": {"ltjax": {"median_ms": 1.0}}}
    assert step.cost_of(sides, times, "a CPU", "float32")["peak_flops_per_second"] is None
    assert step.cost_table(times).splitlines()[-1].split() == ["ltjax", "2", "-", "1"]


@needs_torch
def test_step_is_profiled_by_kind_of_operation(tmp_path, capsys):
    cores = os.sched_getaffinity(0)
    printed, record = run(f"{STEP} --profile --classes 10", tmp_path / "step.json", capsys)
    assert os.sched_getaffinity(0) == cores  # on one core only while it runs
    assert set(record["profile"]) == {"ltjax", "torch"}
    for name, kinds in record["profile"].items():
        assert list(kinds) == list(profile.KINDS)
        here = [kind for kind in profile.KINDS if kinds[kind] > 0]
        assert set(profile.KINDS) - set(here) <= {profile.COPIES, profile.REST}, (name, kinds)
        # the operations are the step: all but their calls, which count for much at this size
        assert 0 < sum(kinds.values()) < 20 * record["sides"][name]["median_ms"]
    assert printed.splitlines()[-1].startswith("together") and "ms/step, one core" in printed


def test_the_kinds_of_our_operations():
    kernels = [(3, 3, 16, 32)]
    conv = "jit(one)/transpose(jvp(Network))/backbone/conv1/conv_general_dilated"
    text = f"""
  %fused (p: f32[8]) -> f32[8] {{
  %convolution.7 = f32[16,3,3,32]{{3,2,1,0}} convolution(%a, %b), window={{size=32x32 pad=1_1x1_1}}
  ROOT %convolution.8 = f32[8,4,4,16]{{3,2,1,0}} convolution(%c, %d), metadata={{op_name="{conv}" stack_frame_id=7}}
  %conv.9 = f32[8,4,4,32]{{3,2,1,0}} convolution(%c, %d), metadata={{op_name="jit(one)/jvp(Network)/backbone/conv"}}
  %transpose_copy_fusion = f32[3,8]{{1,0}} fusion(%p), kind=kLoop, calls=%fused
  %ynn_fusion.1 = (f32[3], f32[3]) fusion(%p), metadata={{op_name="jit(one)/transpose(jvp(Network))/backbone/norm/sum"}}
  %multiply_add_fusion = f32[3,8]{{1,0}} fusion(%p), metadata={{op_name="jit(one)/add"}}
  %exp.2 = f32[] exponential(%p), metadata={{op_name="jit(one)/jvp(jit(_cross_entropy))/exp"}}
"""
    made = profile.instructions(text)
    assert {name: profile.kind_of(name, instruction, kernels) for name, instruction in made.items()} == {
        "convolution.7": profile.WEIGHT_GRADIENT,
        "convolution.8": profile.INPUT_GRADIENT,
        "conv.9": profile.FORWARD,
        "transpose_copy_fusion": profile.COPIES,
        "ynn_fusion.1": profile.MAPS_BACKWARD,
        "multiply_add_fusion": profile.OPTIMIZER,
        "exp.2": profile.REST,
    }


def test_the_kinds_of_pytorchs_operators():
    kinds = {
        profile.FORWARD: ["aten::mkldnn_convolution", "aten::conv2d"],
        profile.WEIGHT_GRADIENT: ["aten::convolution_backward", "ConvolutionBackward0"],
        profile.MAPS: ["aten::native_batch_norm", "aten::batch_norm"],
        profile.MAPS_BACKWARD: ["aten::threshold_backward", "ReluBackward0", "autograd::engine::evaluate_function"],
        profile.OPTIMIZER: ["aten::add_", "Optimizer.step#SGD.step"],
        profile.REST: ["aten::nll_loss_forward"],
    }
    assert {kind: profile.torch_kind(names) for kind, names in kinds.items()} == {kind: kind for kind in kinds}


@needs_torch
def test_infer_compares_with_pytorch(tmp_path, capsys):
    printed, record = run(INFER, tmp_path / "infer.json", capsys)
    (row,) = record["results"]
    assert row["size"] == 32 and row["logits_difference"] < 1e-5
    convolutions = 2 * 32 * 32 * 9 * (3 * 16 + 2 * 16 * 16)  # stem and first stage; the others are a little less each
    assert 1 < row["gflops"] * 1e9 / convolutions < 4
    assert set(row["sides"]) == {"ltjax", "torch"}
    cells = printed.splitlines()[-1].split()
    assert cells[:2] == ["resnet8", "32"]
    assert float(cells[4]) == pytest.approx(8 * row["sides"]["ltjax"]["median_ms"], abs=0.06)


@needs_torch
def test_bfloat16_is_measured_in_bfloat16_and_checked_in_float32(tmp_path, capsys):
    _, record = run(f"{INFER} --dtype bfloat16", tmp_path / "infer.json", capsys)
    assert record["results"][0]["logits_difference"] < 1e-5
    images = np.zeros((2, 8, 8, 3), np.uint8)
    sides = infer.make_sides("resnet8", images, 5, "bfloat16", "cpu")
    seen = []
    sides["torch"].network.layer2.register_forward_hook(lambda module, inputs, output: seen.append(str(output.dtype)))
    sides["torch"]()
    assert seen == ["torch.bfloat16"]
    assert "bf16" in sides["ltjax"].run.as_text()


@pytest.mark.slow
def test_infer_measures_what_a_config_predicts(tmp_path, capsys):
    words = "infer --configs configs/mnist5k_reslt.py:experts=2 configs/mnist5k_baselines.py:ride,experts=2"
    printed, record = run(f"{words} --batch 2 --repeats 1", tmp_path / "infer.json", capsys)
    reslt, ride = record["results"]
    assert (reslt["network"], reslt["size"]) == ("mnist5k_reslt:experts=2", 28)
    # a cosine classifier has no bias; every expert of ResLT has one, and the norms of its three branches
    assert reslt["parameters"] - ride["parameters"] == 2 * (10 + 3 * 2 * 48)
    assert reslt["gflops"] > ride["gflops"] > 0 and "mnist5k_baselines:ride,experts=2" in printed


def test_without_pytorch_only_ltjax_is_measured_and_the_output_reports_it(no_torch, tmp_path, capsys):
    printed, record = run(f"{STEP} --classes 10", tmp_path / "step.json", capsys)
    assert "not installed: only ltjax is measured" in printed
    assert list(record["sides"]) == ["ltjax"] and record["check"] is None and record["speed_relative_to"] == {}
    printed, record = run(INFER, tmp_path / "infer.json", capsys)
    assert "not installed: only ltjax is measured" in printed
    assert list(record["results"][0]["sides"]) == ["ltjax"] and record["results"][0]["logits_difference"] is None


@needs_torch
@pytest.mark.parametrize(("method", "optimizer"), [("ce", "sgd"), ("reslt", "sgd"), ("ce", "adamw")])
def test_one_step_agrees_in_float64_and_a_perturbed_weight_does_not(method, optimizer):
    with jax.enable_x64(True):
        problem = problems.make_problem("resnet8", method, 6, 10, 8, "float64", optimizer)
        sides = step.make_sides(problem, "cpu", compiled=False)
        record = step.check(sides, 1e-9, 1e-9)
        arrays = 7 * (1 + 4) + 2 + (3 * 4 if method == "reslt" else 0)  # convolutions with norms, linear, branches
        assert record["update_worst"] and len(jax.tree.leaves(sides["ltjax"].variables())) == arrays
        # from the second step on momentum, nesterov and betas count as well
        step.check(sides, 1e-9, 1e-8)
        weight = sides["torch"].network.layer1[0].conv1.weight.data
        weight[0, 0, 0, 0] += 1e-3
        with pytest.raises(measure.Disagreement, match="make different steps"):
            step.check(sides, 1e-9, 1e-9)


class Recorded:
    """A side whose one step has been made: its loss, and the variables after it."""

    def __init__(self, side):
        self.loss, self.after = side(), side.variables()

    def __call__(self):
        return self.loss

    def variables(self):
        return self.after


@needs_torch
def test_both_sides_take_the_steps_of_the_optimizer_that_is_asked_for(tmp_path, capsys):
    printed, record = run(f"{STEP} --optimizer adamw --classes 10", tmp_path / "step.json", capsys)
    assert ", adamw, " in printed and record["options"]["optimizer"] == "adamw" and record["check"]["update"] < 2e-3
    problem = problems.make_problem("resnet8", "ce", 6, 10, 8, "float32", "adamw")
    other = dataclasses.replace(problem.config.optimizer, name="lion")
    unknown = problem._replace(config=dataclasses.replace(problem.config, optimizer=other))
    with pytest.raises(InputError, match=r"PyTorch's side .*optimizer.name: unknown value 'lion'; allowed: adamw, sgd"):
        problems.make_peer(unknown, "cpu")


@needs_torch
@pytest.mark.parametrize(("optimizer", "its_own"), [("sgd", {"nesterov": True}), ("adamw", {"eps": 1e-3})])
def test_the_check_of_the_step_sees_another_optimiser_on_any_peer(optimizer, its_own):
    problem = problems.make_problem("resnet8", "ce", 8, 10, 8, "float32", optimizer)
    sides = step.make_sides(problem, "cpu", compiled=False)
    ours = Recorded(sides["ltjax"])
    rate = problems.first_rate(problem)
    for change in ({"weight_decay": 5.0}, its_own, {"lr": 1.1 * rate}, {}):
        same, other = (problems.make_peer(problem, "cpu") for _ in range(2))
        other.optimizer.param_groups[0].update(change)
        sides = {"ltjax": ours, "torch": same, "torch.compile": other}
        if change:
            with pytest.raises(measure.Disagreement, match="relative difference of the update"):
                step.check(sides, step.LOSS_TOLERANCE, step.UPDATE_TOLERANCE)
        else:
            step.check(sides, step.LOSS_TOLERANCE, step.UPDATE_TOLERANCE)


@needs_torch
def test_the_check_of_inference_sees_a_perturbed_weight_and_a_perturbed_statistic():
    sides = infer.make_sides(
        "resnet8", problems.make_problem("resnet8", "ce", 4, 10, 8, "float32").images, 5, "float32", "cpu"
    )
    assert infer.check(sides["ltjax"], sides["torch"], 1e-5) < 1e-5
    for changed in (sides["torch"].network.layer2[0].conv2.weight.data, sides["torch"].network.bn1.running_var):
        kept = changed.clone()
        changed[(0,) * changed.ndim] += 0.5
        with pytest.raises(measure.Disagreement, match="the logits differ"):
            infer.check(sides["ltjax"], sides["torch"], infer.LOGITS_TOLERANCE)
        changed.copy_(kept)
    infer.check(sides["ltjax"], sides["torch"], 1e-5)


@needs_torch
def test_a_failed_check_ends_the_command_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(infer, "LOGITS_TOLERANCE", 0.0)
    assert main(INFER.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: check:") and error.count("\n") == 1


@needs_torch
@pytest.mark.parametrize("name", sorted(name for name in BACKBONES if name.startswith("resne")))
def test_every_plain_backbone_has_a_peer_with_the_same_arrays(name):
    import torch

    with torch.device("meta"):
        network = build_network(name, 7)
    theirs = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    numbers = [value for key, value in theirs.items() if not key.endswith("num_batches_tracked")]
    shapes = jax.eval_shape(
        lambda: infer.make_network(name, 7, "float32").init(jax.random.key(0), np.zeros((1, 32, 32, 3), np.uint8))
    )
    assert sorted(map(np.prod, numbers)) == sorted(leaf.size for leaf in jax.tree.leaves(shapes))


@needs_torch
@pytest.mark.parametrize("name", sorted(name for name in BACKBONES if not name.startswith(("resne", "vit_", "dinov2"))))
def test_networks_with_experts_or_branches_have_no_peer(name):
    with pytest.raises(InputError, match=name):
        build_network(name, 7)


@needs_torch
@pytest.mark.slow
def test_a_step_of_a_vision_transformer_is_that_of_timms():
    pytest.importorskip("timm")
    with jax.enable_x64(True):
        problem = problems.make_problem("vit_ti16", "ce", 4, 10, 32, "float64")
        record = step.check(step.make_sides(problem, "cpu", compiled=False), 1e-6, 1e-5)
    assert record["loss"] < 1e-6


@needs_torch
def test_a_transformer_without_timm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.models.vision_transformer", None)
    with pytest.raises(InputError, match=r"vit_b16 is compared with timm's.*pip install timm"):
        build_network("vit_b16", 7)


@needs_torch
def test_the_peers_of_the_imagenet_networks_compute_the_same():
    for name in ("resnet10", "resnext50_32x4d"):
        images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
        sides = infer.make_sides(name, images, 5, "float32", "cpu")
        assert infer.check(sides["ltjax"], sides["torch"], infer.LOGITS_TOLERANCE) < 1e-5


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("step --repeats 0", ["--repeats", "'0'", ">= 1"]),
        ("step --batch many", ["--batch", "'many'"]),
        ("step --network resnet31", ["--network", "resnet31", "resnet32"]),
        ("step --method cee", ["--method", "cee"]),
        ("step --optimizer lion", ["--optimizer", "lion", "adamw"]),
        ("step --dtype float16", ["--dtype", "float16"]),
        ("step --json /no/such/folder/x.json", ["--json", "/no/such/folder"]),
        ("step --batch 100000", ["--batch", "100000"]),
        ("step --compile", ["--compile", "GPU"]),
        ("infer --networks resnet32 resnet51", ["--networks", "resnet51"]),
        ("infer --size", ["--size"]),
    ],
)
def test_bad_options_are_one_line_and_status_2(command, words, capsys):
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(word in error for word in words), error


def test_sides_take_turns_and_ratios_are_of_neighbours():
    calls = []
    sides = {name: lambda name=name: calls.append(name) for name in ("a", "b", "c")}
    times = measure.interleaved(sides, repeats=3, warmup=2)
    assert calls == ["a", "b", "c"] * 5
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3, "c": 3}
    # the machine is ten times slower in the second turn: pairs do not see it
    assert measure.median_ratio({"a": [1.0, 10.0], "b": [2.0, 20.0]}, "a", "b") == 2


def test_the_first_line_reports_a_busy_machine():
    quiet = {**measure.environment(), "load": 0.0}
    assert "BUSY" not in measure.describe(quiet)
    assert "BUSY (load 9.0)" in measure.describe({**quiet, "load": 9.0, "cores": 2})


@needs_torch
@pytest.mark.parametrize(("method", "classes"), [("ce", 10), ("reslt", 12)])
def test_scan_trains_on_the_same_crops_as_pytorchs_loader(method, classes, tmp_path, capsys):
    options = f"--method {method} --classes {classes} --lengths 1 2"
    printed, record = run(f"{SCAN} {options}", tmp_path / "scan.json", capsys)
    assert set(record["sides"]) == {"ltjax, 1 a call", "ltjax, 2 a call", "torch, 0 workers"}
    assert record["check"] < 1e-4 and "3 float32 steps" in printed
    side = record["sides"]["ltjax, 2 a call"]
    assert record["ms_per_step"]["ltjax, 2 a call"] == pytest.approx(side["median_ms"] / 2)
    assert side["images_per_second"] == pytest.approx(16e3 / side["median_ms"])


@needs_torch
def test_in_float64_the_whole_loops_agree_and_other_crops_do_not():
    with jax.enable_x64(True):
        problem = problems.make_problem("resnet8", "ce", 6, 10, 8, "float64")
        images = scan.random_images(problem)
        theirs = scan.make_peer(problem, images, 4, "cpu", workers=0)
        variables = theirs.trainer.variables()
        ours = scan.OnDevice(problem, images, [variables], steps=4, length=2)
        assert scan.check(ours, theirs, 1e-9) < 1e-9
        theirs.loader.dataset.draws["flip"] = 1 - theirs.loader.dataset.draws["flip"]
        with pytest.raises(measure.Disagreement, match="make different steps"):
            scan.check(ours, theirs, 1e-9)


@pytest.mark.slow
def test_scan_without_pytorch_and_with_a_profile(no_torch, tmp_path, capsys):
    profile = tmp_path / "profile"
    printed, record = run(f"{SCAN} --classes 10 --profile {profile}", tmp_path / "scan.json", capsys)
    assert (
        "only ltjax is measured" in printed and record["check"] is None and list(record["sides"]) == ["ltjax, 1 a call"]
    )
    assert list(profile.rglob("*.xplane.pb"))


@pytest.mark.slow
def test_seeds_are_measured_in_one_program_and_are_their_single_runs(no_torch, tmp_path, capsys):
    _, record = run(SEEDS, tmp_path / "seeds.json", capsys)
    assert list(record["sides"]) == ["1 seed", "2 seeds, vmap"]
    assert record["check"]["vmap"] < 1e-4
    relative = record["relative"]["2 seeds, vmap"]
    assert relative["seeds"] == 2 and relative["seeds_per_second_over_torch"] is None
    assert relative["of_one_seed"] == pytest.approx(
        record["sides"]["2 seeds, vmap"]["median_ms"] / record["sides"]["1 seed"]["median_ms"]
    )


def test_seeds_that_are_one_are_noticed(monkeypatch):
    problem = problems.make_problem("resnet8", "ce", 8, 10, 8, "float32")
    monkeypatch.setattr(seeds, "OnDevice", lambda *_, **__: lambda: np.ones((3, 2)) if len(_[2]) == 2 else np.ones(3))
    with pytest.raises(measure.Disagreement, match=r"seed 0 in one program \(vmap\)"):
        seeds.check(problem, scan.random_images(problem), "vmap", 1e-3)


def test_lengths_that_do_not_divide_the_steps_are_refused(capsys):
    assert main(["scan", "--steps", "3", "--lengths", "2"]) == 2
    assert "--lengths: 3 steps are not a multiple of 2" in capsys.readouterr().err


def test_the_checks_need_no_pytorch_on_a_gpu(no_torch, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytorch.exact("gpu"):
        assert jax.config.jax_default_matmul_precision == "highest"
