"""The model card of an export: README.md with the metadata block that model hubs read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ltjax import escape
from ltjax.class_counts import frequency_order
from ltjax.report import percent
from ltjax.report.text import CONVENTIONS
from ltjax.settings import Settings, StageOptimizer
from ltjax.training.workdir.model_record import ModelRecord

Json: TypeAlias = Mapping[str, Any]
MOST_CLASSES = 60  # listed one by one; of more classes the worst
WORST = 20
FEW_IMAGES = 20
GROUPS = ("many", "medium", "few")
# backbones for which torchvision has the class and no function
BLOCKS = {
    "resnet10": "BasicBlock, [1, 1, 1, 1]",
    "resnext101_32x4d": "Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4",
    "resnext152_32x4d": "Bottleneck, [3, 8, 36, 3], groups=32, width_per_group=4",
}


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
        _metadata(name, config, results, corrected=export["corrections"]["offset"] is not None),
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


def _metadata(name: str, config: Settings, results: Json, corrected: bool) -> str:
    """YAML between two lines of dashes; a model with another class prior has not the accuracies of the run."""
    dataset, split = _yaml(str(results["dataset"])), _yaml(str(results["split"]))
    lines = [
        "---",
        "library_name: ltjax",
        "pipeline_tag: image-classification",
        "tags:",
        "- image-classification",
        "- long-tailed-recognition",
        "- jax",
        f"- {_yaml(config.method)}",
        f"- {_yaml(config.model.backbone)}",
    ]
    if corrected:
        return "\n".join([*lines, "---"])
    lines += [
        "model-index:",
        f"- name: {_yaml(name)}",
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


def _yaml(text: str) -> str:
    """A JSON string, which YAML reads, but for its pairs of surrogates: characters stay as they are."""
    return json.dumps(escape.terminal(text), ensure_ascii=False)


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
        if _uncorrected_weights(export):
            parts.append(
                "The corrections (see Calibration) are not in the safetensors weights: apply `logits / temperature + "
                "offset` of `export.corrections` in `model.json`, then the softmax."
                + " The logits are the logarithm of the average."
                * (len(formats["safetensors"]["files"]) > 1)
            )
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


def _uncorrected_weights(export: Json) -> bool:
    """Whether the programs correct the logits and the safetensors weights do not."""
    corrections, weights = export["corrections"], export["formats"].get("safetensors")
    return bool(
        weights and not weights["corrected"] and (corrections["temperature"] != 1 or corrections["offset"] is not None)
    )


def _use_safetensors(model: ModelRecord, about: Json) -> str:
    files = about["files"]
    if not about["torchvision"]:
        names = ", ".join(escape.markdown_code(one) for one in files)
        average = " Average the softmax of these files." * (len(files) > 1)
        return (
            f"Weights in PyTorch's layout: {names}. The backbone is {escape.markdown_code(about['backbone'])}; the "
            f"guide 'Export' of ltjax lists the names.{average}"
        )
    blocks = BLOCKS.get(about["backbone"])
    made = f"torchvision.models.{about['backbone']}(num_classes={len(model.class_counts)})"
    head = "import torch\nimport torchvision\nfrom safetensors.torch import load_file\n"
    if blocks:
        head = "import torch\nfrom safetensors.torch import load_file\n"
        head += f"from torchvision.models.resnet import {blocks.partition(',')[0]}, ResNet\n"
        made = f"ResNet({blocks}, num_classes={len(model.class_counts)})"
    if len(files) == 1:
        loaded = f'model = {made}\nmodel.load_state_dict(load_file("{files[0]}"))\nmodel.eval()\n'
        found = "model(x).softmax(1)"
    else:
        loaded = (
            f"models = [{made} for _ in range({len(files)})]\n"
            f"for model, file in zip(models, {json.dumps(files)}):\n"
            "    model.load_state_dict(load_file(file))\n"
            "    model.eval()\n"
        )
        found = "torch.stack([model(x).softmax(1) for model in models]).mean(0)"
    return (
        "PyTorch (`pip install torch torchvision safetensors`):\n\n```python\n"
        f"{head}\n"
        f"{loaded}"
        f"mean, std = torch.tensor({list(model.mean)}), torch.tensor({list(model.std)})\n"
        "x = (torch.from_numpy(images) / 255 - mean) / std  # images: uint8 [B, H, W, 3], see below\n"
        "x = x.permute(0, 3, 1, 2)\n"
        f"probabilities = {found}\n```"
    )


def _input(model: ModelRecord, export: Json) -> str:
    height, width, channels = model.image_shape
    inside = export["input"] == "uint8"
    colours = "RGB" if channels == 3 else "grey" if channels == 1 else f"{channels} channels"
    size = (
        f"The shorter side is resized to {model.resize} pixels ({model.interpolation}, antialiased, as by "
        f"Pillow), then the central {width} x {height} pixels are taken"
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
            shares = ", with the probabilities corrected to their class shares," * bool(calibration.get("corrected"))
            changed = f"the expected calibration error from {ece['before']:.4f} to {ece['after']:.4f}"
            text += f": on them{shares} it changes {changed}"
        if {"before", "after"} <= loss.keys():
            text += f", and the log loss from {loss['before']:.4f} to {loss['after']:.4f}"
        text += "."
    notes = export["corrections"]["notes"]
    done = " ".join(f"{note[:1].upper()}{note[1:]}." for note in notes) if notes else "The logits are not corrected."
    if _uncorrected_weights(export):
        done += " Not in the safetensors weights: apply logits / temperature + offset of model.json to them."
    return f"## Calibration\n\n{text} In these files: {escape.markdown(done)}"


def _training(model: ModelRecord, config: Settings, results: Json) -> str:
    optimizer = config.optimizer
    rows = {
        "method": f"`{config.method}`",
        "epochs": f"{results['epochs']}",
        "batch size": f"{config.batch_size}",
        "optimizer": _optimizer(optimizer),
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


def _optimizer(optimizer: StageOptimizer) -> str:
    rule = {"sgd": f"SGD, momentum {optimizer.momentum:g}", "adamw": f"AdamW, betas {optimizer.betas}"}[optimizer.name]
    text = f"{rule}, learning rate {optimizer.learning_rate:g}, weight decay {optimizer.weight_decay:g}"
    text += "" if optimizer.decay_norms_and_biases else " (not on norms and biases)"
    text += f", SAM with rho {optimizer.sam_rho:g}" if optimizer.sam_rho else ""
    text += f" for classes with fewer than {optimizer.sam_below} training images" if optimizer.sam_below else ""
    return text + (f"; moving average of the weights, decay {optimizer.ema_decay:g}" if optimizer.ema_decay else "")


def _limits(model: ModelRecord, results: Json, calibration: Json | None, export: Json) -> str:
    counts, per_class = model.class_counts, results["per_class"]
    names = escape.distinct(model.names)
    rare = sum(count < FEW_IMAGES for count in counts)
    tested = [label for label, value in enumerate(per_class) if value is not None]
    lines = [
        f"It knows these {len(counts)} classes only: a picture of anything else is assigned to one of them as well.",
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
