"""The model card of an export: README.md with the metadata block that model hubs read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report import percent
from ltjax.report.text import CONVENTIONS
from ltjax.settings import Settings
from ltjax.training.workdir.model_record import ModelRecord

Json: TypeAlias = Mapping[str, Any]
MOST_CLASSES = 60  # listed one by one; of more classes the worst
WORST = 20
FEW_IMAGES = 20
GROUPS = ("many", "medium", "few")


def write_card(
    name: str, model: ModelRecord, config: Settings, results: Json, calibration: Json | None, export: Json
) -> str:
    """The text of README.md.

    Args:
      name: of the model, its heading.
      model: model.json of the run.
      config: the run's.
      results: results.json.
      calibration: calibration.json, or None.
      export: the entry "export" of the export's model.json.
    """
    parts = [
        _metadata(name, config, results),
        f"# {escape.markdown(name)}",
        _summary(model, config, results),
        _use(model, export),
        _input(model, export),
        _accuracy(model, results),
        _calibration(calibration, export),
        _training(model, config, results),
        _limits(model, results, calibration, export),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(name: str, config: Settings, results: Json) -> str:
    """YAML between two lines of dashes; JSON strings are YAML strings, whatever is in them."""
    dataset, split = json.dumps(escape.terminal(str(results["dataset"]))), json.dumps(str(results["split"]))
    lines = [
        "---",
        "library_name: ltjax",
        "pipeline_tag: image-classification",
        "tags:",
        "- image-classification",
        "- long-tailed-recognition",
        "- jax",
        f"- {json.dumps(config.method)}",
        f"- {json.dumps(config.model.backbone)}",
        "model-index:",
        f"- name: {json.dumps(escape.terminal(name))}",
        "  results:",
        "  - task:",
        "      type: image-classification",
        "    dataset:",
        f"      name: {dataset}",
        f"      type: {dataset}",
        f"      split: {split}",
        "    metrics:",
    ]
    for key, label in {"all": "accuracy", "mean_class": "mean class accuracy"}.items():
        value = results["accuracy"].get(key)
        if value is not None:
            lines += ["    - type: accuracy", f"      name: {label}", f"      value: {value:.6g}"]
    return "\n".join([*lines, "---"])


def _summary(model: ModelRecord, config: Settings, results: Json) -> str:
    counts = model.class_counts
    seeds = f" It is {len(results['seeds'])} networks (seeds), whose probabilities are averaged." * (
        len(results["seeds"]) > 1
    )
    return (
        f"A classifier of images into {len(counts)} classes, trained with ltjax by the method "
        f"`{config.method}` on the long-tailed data set {escape.markdown(str(results['dataset']))}: {sum(counts):,} "
        f"training images, {max(counts):,} of the largest class and {min(counts):,} of the smallest one. The backbone "
        f"is {escape.markdown_code(config.model.backbone)}, with {results['parameter_count']:,} parameters.{seeds}"
    )


def _use(model: ModelRecord, export: Json) -> str:
    height, width, channels = model.image_shape
    dtype = "uint8" if export["input"] == "uint8" else "float32"
    images = f"{dtype} [B, {height}, {width}, {channels}]"
    parts = ["## Use", "`model.json` has the names of the classes, in the order of the outputs."]
    formats = export["formats"]
    if "safetensors" in formats:
        parts.append(_use_safetensors(model, formats["safetensors"]))
    if "stablehlo" in formats:
        parts.append(
            "JAX, without ltjax (`pip install jax`; any of CPU, CUDA and TPU):\n\n```python\n"
            "import pathlib\n\nimport jax\n\n"
            'model = jax.export.deserialize(bytearray(pathlib.Path("model.stablehlo").read_bytes()))\n'
            f'probabilities = model.call(images)["probabilities"]  # images: {images}\n```'
        )
    if "onnx" in formats:
        parts.append(
            "ONNX Runtime (`pip install onnxruntime`):\n\n```python\n"
            "import onnxruntime\n\n"
            'session = onnxruntime.InferenceSession("model.onnx")\n'
            f'logits, probabilities = session.run(None, {{"images": images}})  # images: {images}\n```'
        )
    return "\n\n".join(parts)


def _use_safetensors(model: ModelRecord, about: Json) -> str:
    file = about["files"][0]
    if not about["torchvision"]:
        names = ", ".join(escape.markdown_code(one) for one in about["files"])
        return (
            f"Weights in PyTorch's layout: {names}. The backbone is {escape.markdown_code(about['backbone'])}; the "
            "guide 'Export' of ltjax lists the names."
        )
    blocks = {"resnet10": "BasicBlock, [1, 1, 1, 1]"}.get(about["backbone"])
    made = f"torchvision.models.{about['backbone']}(num_classes={len(model.class_counts)})"
    head = "import torch\nimport torchvision\nfrom safetensors.torch import load_file\n"
    if blocks:
        head += "from torchvision.models.resnet import BasicBlock, ResNet\n"
        made = f"ResNet({blocks}, num_classes={len(model.class_counts)})"
    return (
        "PyTorch (`pip install torch torchvision safetensors`):\n\n```python\n"
        f"{head}\n"
        f"model = {made}\n"
        f'model.load_state_dict(load_file("{file}"))\n'
        "model.eval()\n"
        f"mean, std = torch.tensor({list(model.mean)}), torch.tensor({list(model.std)})\n"
        "x = (torch.from_numpy(images) / 255 - mean) / std  # images: uint8 [B, H, W, 3], see below\n"
        "probabilities = model(x.permute(0, 3, 1, 2)).softmax(1)\n```"
    )


def _input(model: ModelRecord, export: Json) -> str:
    height, width, channels = model.image_shape
    inside = export["input"] == "uint8"
    colours = "RGB" if channels == 3 else "grey" if channels == 1 else f"{channels} channels"
    size = (
        f"The shorter side is resized to {model.resize} pixels (bilinear, antialiased, as by Pillow), then the central "
        f"{width} x {height} pixels are taken"
    )
    who = (
        "The StableHLO and ONNX programs take these pixels and normalise them"
        if inside
        else "The StableHLO and ONNX programs take the normalised values as float32"
    )
    return (
        f"## Input\n\n{size}: uint8, {colours}, [B, {height}, {width}, {channels}]. Photographs are upright (EXIF). "
        f"Values are scaled to 0..1, and normalised by the mean {list(model.mean)} and the standard deviation "
        f"{list(model.std)} of each channel. {who}; PyTorch's weights always take normalised values, "
        "[B, channels, H, W]."
    )


def _accuracy(model: ModelRecord, results: Json) -> str:
    accuracy, convention = results["accuracy"], str(results["convention"])
    deviation = results.get("std", {}).get("accuracy", {})
    keys = ("all", "mean_class", *GROUPS)
    sizes = results["shots"][convention]["classes"]
    explained = CONVENTIONS.get(convention, "thresholds from the settings")
    table = [
        "| | all | mean class | many | medium | few |",
        "|---|---|---|---|---|---|",
        f"| accuracy % | {' | '.join(percent(accuracy.get(key), deviation.get(key)) for key in keys)} |",
        f"| classes | {len(model.class_counts)} | {len(model.class_counts)} | {' | '.join(map(str, sizes))} |",
    ]
    text = [
        f"## Accuracy\n\nOn the {escape.markdown(str(results['split']))} images, after the last epoch "
        f"(never the best one), without corrections of the logits:",
        "\n".join(table),
        f"Groups of classes: {convention} ({explained}).",
        _classes(model, results["per_class"]),
    ]
    return "\n\n".join(text)


def _classes(model: ModelRecord, per_class: Sequence[float | None]) -> str:
    names, counts = escape.distinct(model.names), model.class_counts
    order = [int(label) for label in frequency_order(counts)]
    title = "Every class"
    if len(order) > MOST_CLASSES:
        tested = [label for label in order if per_class[label] is not None]
        order = sorted(tested, key=lambda label: per_class[label] or 0.0)[:WORST]
        title = f"The {len(order)} classes of lowest accuracy, of {len(counts)}"
    rows = [f"| {escape.markdown(names[c])} | {counts[c]:,} | {percent(per_class[c])} |" for c in order]
    table = "\n".join(["| class | training images | accuracy % |", "|---|---|---|", *rows])
    return f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"


def _calibration(calibration: Json | None, export: Json) -> str:
    if calibration is None:
        text = (
            "No temperature was fitted, so the probabilities are as the network gives them: read them as an order, not "
            "as frequencies."
        )
    else:
        ece, loss = calibration.get("ece", {}), calibration.get("loss", {})
        text = (
            f"A temperature of {calibration['temperature']:.4g} was fitted on {calibration.get('images', '?')} "
            f"{calibration.get('split', 'validation')} images"
        )
        if {"before", "after"} <= ece.keys():
            text += (
                f": on them it changes the expected calibration error from {ece['before']:.4f} to {ece['after']:.4f}"
            )
        if {"before", "after"} <= loss.keys():
            text += f", and the log loss from {loss['before']:.4f} to {loss['after']:.4f}"
        text += "."
    notes = export["corrections"]["notes"]
    done = " ".join(f"{note[:1].upper()}{note[1:]}." for note in notes) if notes else "The logits are not corrected."
    return f"## Calibration\n\n{text} In these files: {escape.markdown(done)}"


def _training(model: ModelRecord, config: Settings, results: Json) -> str:
    optimizer = config.optimizer
    rows = {
        "method": f"`{config.method}`",
        "epochs": f"{results['epochs']}",
        "batch size": f"{config.batch_size}",
        "optimizer": f"SGD, learning rate {optimizer.learning_rate:g}, momentum {optimizer.momentum:g}, weight decay "
        f"{optimizer.weight_decay:g}",
        "schedule": f"{optimizer.schedule.name}",
        "augmentation": escape.markdown_code(config.data.augment),
        "sampler": escape.markdown_code(config.data.sampler),
        "pretrained": escape.markdown_code(config.model.pretrained) if config.model.pretrained else "no",
        "seeds": ", ".join(map(str, results["seeds"])),
        "precision": f"{config.dtype}; exported as float32",
        "training images (hash of the list)": f"{results['train_size']:,} (`{results['train_index_sha256'][:16]}`)",
        "hardware": escape.markdown(str(results["hardware"])),
        "time": f"{results['wall_time_s']:,.0f} s",
        "versions": ", ".join(f"{name} {version}" for name, version in results.get("versions", {}).items()),
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
    return f"## Training\n\n{table}"


def _limits(model: ModelRecord, results: Json, calibration: Json | None, export: Json) -> str:
    counts, per_class = model.class_counts, results["per_class"]
    names = escape.distinct(model.names)
    rare = sum(count < FEW_IMAGES for count in counts)
    tested = [label for label, value in enumerate(per_class) if value is not None]
    lines = [
        f"It knows these {len(counts)} classes only: a picture of anything else gets one of them, too.",
        f"{rare} of {len(counts)} classes had fewer than {FEW_IMAGES} training images; the table says how well "
        "such classes are recognised.",
    ]
    if tested:
        worst = min(tested, key=lambda label: per_class[label])
        lines.append(
            f"The class of lowest accuracy is {escape.markdown(names[worst])}: {percent(per_class[worst])} % with "
            f"{counts[worst]:,} training images."
        )
    if len(tested) < len(counts):
        lines.append(f"{len(counts) - len(tested)} classes had no {results['split']} image; nothing is known of them.")
    if calibration is None:
        lines.append("The probabilities are not calibrated.")
    if export["corrections"]["offset"] is None:
        lines.append(
            "Where it is used the classes may be more or less frequent than in training; the logits are not corrected "
            "for that."
        )
    if results.get("skipped"):
        lines.append(f"{len(results['skipped'])} training images could not be read and were left out.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)
