"""What all tests share."""

import fnmatch
import gc
import os
import shutil
import tempfile

import jax
import pytest

from tests.shared import PLACES

# A worker holds hundreds of compiled programs, and going through all of their objects again and again takes its time.
gc.set_threshold(200_000, 20, 100)

# As the commands set it (ltjax.training.execution.cpu_flags), for the processes that tests start as well; and programs
# in one part, for the cores have a worker each.
FLAGS = "--xla_backend_optimization_level=1 --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

# What one worker has compiled, the others and the processes that tests start read.
FIRST = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if FIRST:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="ltjax-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_unconfigure():
    """The process that made the folder removes it; and pytest, which collects garbage ten times now, finds little."""
    gc.freeze()
    if FIRST:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


# Files that take longest, and go first. A file stays on one worker: its tests share runs and compiled programs.
LONGEST = (
    "test_programs.py",
    "test_kill.py",
    "test_gpu.py",
    "test_properties.py",
    "test_sharded.py",
    "test_loop.py",
    "test_notebooks.py",
    "test_sharding.py",
    "test_stages.py",
    "test_every_config.py",
    "test_report.py",
    "test_strict_jax.py",
    "test_shard_map.py",
    "test_store.py",
    "test_micro_batches.py",
    "test_host_batches.py",
    "test_bench.py",
)
# Folders, and files of others, whose networks are so small that compiling them is all that takes time.
TOYS = ("bench", "dryrun", "faults", "inference", "losses", "methods", "models", "training", "tests")
TOY_FILES = (
    "test_evaluate.py", "test_evaluate_images.py", "test_export.py", "test_predict.py", "test_run.py",
)  # fmt: skip
# Of a real size, and compared in float32, or read as a compiler writes them: compiled as users' programs are.
WELL = ("test_resnet_cifar.py", "test_gpu.py", "test_tpu.py")


# The parameters with which a test of many runs on every push. The others take the same path through the code, and run
# with `-m slow`. A * in an id is any text.
ON_EVERY_PUSH = {
    "test_a_loss_and_its_gradient_are_the_same": ("cross_entropy-*", "ldam*", "balanced_con*", "graph*", "proco*"),
    "test_the_gradient_diagnostic_splits_every_objective": ("ce", "reslt", "auxiliary", "mixup", "bcl", "sade"),
    "test_the_first_stage_of_every_method_is_exact_or_refused_or_draws_at_random": ("reslt",),
    "test_every_head_finds_the_features_of_both_splits": ("lws",),
    "test_each_branch_is_the_plain_network_with_its_own_last_block": ("*stage3_block1",),
    "test_without_the_last_relu_features_have_both_signs": ("net0",),
    "test_convolutions_of_the_imagenet_family_keep_the_variance_of_the_gradients": ("BasicBlock*",),
    "test_images_are_followed_through_whatever_an_objective_does_with_them": ("reversed_and_normalised",),
    "test_every_transform_makes_the_pixels_of_the_host_on_the_device": (
        "none", "pad_crop*", "resized_crop*", "randaugment*", "autoaugment_flip_cutout",
    ),
    "test_a_signal_stops_it_with_the_table_so_far_and_the_next_time_it_resumes": ("143-143", "<lambda>*"),
    "test_a_packed_carry_changes_no_step": ("axis2*",),
    "test_nothing_compiles_and_nothing_moves_unasked_after_the_first_epoch": ("*steps_per_call*",),
    "test_a_train_step_of_a_large_config_traces_on_the_smallest_backbone_of_its_kind": ("imagenet_a*", "folder_aux*"),
    "test_its_model_has_parameters_by_shape_evaluation": ("cifar*", "mnist*", "imagenet_ce", "imagenet_reslt"),
    "test_a_train_step_lowers": ("mnist5k_reslt*", "mnist5k_a*", "*bbn"),
    "test_the_map_and_the_parameters_have_their_dtypes_and_the_parts_that_are_named_exist": (
        "resnet*", "resnext50_32x4d", "bbn_resnet32", "ride_resnet32", "shike_resnet32", "vit_s16",
        "dinov2_vit_s14_reg", "clip_vit_b32", "convnext_tiny", "efficientnet_lite0",
    ),
    "test_blocks_agree_with_the_plain_form": ("1-*", "7-cosine-True"),
    "test_coinciding_nodes_have_distance_zero_and_finite_gradients": ("*-2",),
    "test_the_device_draws_the_records_of_the_host": ("437513*",),
    "test_tables_may_differ_under_vmap": ("class_cycle", "distinct_classes"),
    "test_odd_class_counts_are_drawn_without_a_warning": ("counts0*", "counts3*", "counts5*"),
    "test_forms_for_the_cpu_have_the_values_of_the_convolution": ("small map, strides", "grouped", "depthwise, small"),
    "test_a_command_says_what_to_install": ("train", "table", "predict", "check", "compare", "demo"),
    "test_it_goes_with_other_losses": ("ldam_drw",),
    "test_what_the_second_stage_starts_from": ("crt", "ncm"),
    "test_the_stages_after_it_are_the_same_as_in_one_run": ("three",),
    "test_the_loss_is_that_of_both_labels_in_the_shares_of_the_pixels": ("8-True",),
    "test_a_finished_run_gets_its_numbers_and_four_figures": ("10",),
    "test_each_kind_trains_its_part_and_adds_nothing_at_first": ("lora", "deep_prompts"),
    "test_a_run_that_was_interrupted_goes_on_in_the_same_entry_with_each_line_once": ("wandb",),
    "test_the_tracker_is_no_part_of_a_runs_identity": ("wandb",),
    "test_labels_of_class_figures_do_not_overlap": ("10", "365"),
    "test_branch_logits_and_statistics_agree_with_the_reference": ("*float64",),
    "test_fast_decode_changes_pixels_little": ("pillow",),
    "test_every_format_mode_and_orientation": ("JPEG *", "PNG *", "WEBP *", "HEIF L", "HEIF RGB", "AVIF RGB", "* P"),
    "test_features_are_those_of_the_equations": ("size0-*", "size1-open_clip"),
    "test_exemplars_agree_with_the_reference_one_class_at_a_time_and_all_at_once": ("*-cosine-cos",),
    "test_heads_start_as_those_of_the_authors": ("* reslt *", "imagenet auxiliary *", "* oltr *"),
}  # fmt: skip


def repeated(item):
    """Whether a test takes a numpy oracle although the authors' values, which it takes as well, are at hand."""
    of = item.callspec.params.get("reference") if hasattr(item, "callspec") else None
    return of == "oracle" and any((p / "reference").exists() for p in PLACES)


def one_of_many(item):
    """Whether others of its test run on every push."""
    chosen = ON_EVERY_PUSH.get(getattr(item, "originalname", item.name))
    return chosen is not None and not any(fnmatch.fnmatchcase(item.callspec.id, one) for one in chosen)


@pytest.hookimpl(tryfirst=True)  # before the marks are read
def pytest_collection_modifyitems(items):
    """The longest first, so that no worker waits for another one at the end."""
    for item in items:
        if repeated(item) or one_of_many(item):
            item.add_marker(pytest.mark.slow)
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


def folder_of(path):
    """The folder of tests/ that a test lies in."""
    inside = path.parent.parts
    return inside[inside.index("tests") :][:2][-1] if "tests" in inside else ""


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Programs of toys are compiled quickly rather than well."""
    toys = folder_of(request.path) in TOYS or request.path.name in TOY_FILES
    quickly = toys and request.path.name not in WELL
    jax.config.update("jax_disable_most_optimizations", quickly)
    with pytest.MonkeyPatch.context() as patch:
        if quickly:  # the processes that tests start, too
            patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(params=["oracle", "vectors"])
def reference(request):
    """name -> reference cases, from the oracles in the tree and from the authors' code (see tests/reference)."""
    from tests.reference import SOURCES

    return SOURCES[request.param]
