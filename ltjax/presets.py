"""What the config files share: every setting with its default, and the published recipes per data set.

A config file is `get_config(arg)`; `arg` is what stands behind the colon on the command line, a comma-separated
list of words and `key=value` pairs: ``configs/cifar100_reslt.py:short,imbalance=50``.
"""

from ml_collections.config_dict import ConfigDict, placeholder

from ltjax.errors import InputError, did_you_mean

# ResLT (Cui et al., 2022): alpha and branch groups of the authors' public code, by data set and imbalance factor.
RESLT_ALPHA = {
    "cifar10": {100: 0.998, 50: 0.998, 10: 0.96},
    "cifar100": {100: 0.995, 50: 0.99, 10: 0.72},
    "mnist5k": {40: 0.5},  # ours: 0.5 and 0.9 were compared on 30 % of the training images, seeds 0 and 1
}
RESLT_BOUNDARIES = {"cifar10": (2, 4), "cifar100": (35, 70)}


def base(method: str) -> ConfigDict:
    """Every setting that all methods have. Numbers here are neutral; the data sets' recipes follow below."""
    return ConfigDict(
        {
            "method": method,
            "seed": 0,  # of initialisation, data order and augmentation
            "num_seeds": 1,  # seed, seed + 1, ... trained in one program; results are their mean and deviation
            "seeds_by": "auto",  # how: vmap, unroll, or auto, what is faster on this kind of device
            "steps_per_call": 0,  # training steps of one program with the data on the device; 0 = automatic
            "epochs": 200,
            "batch_size": 128,  # over all devices; the last, smaller batch of an epoch is dropped
            "dtype": "float32",  # of the computation: float32, bfloat16 (parameters stay float32) or float64
            "data": {
                "name": "",
                "dir": "",  # where the data lies; "" = $LTJAX_DATA_DIR, or else TFDS's own directory
                "source": "auto",  # auto, npz, python (the official batches) or tfds
                "imbalance": 100.0,  # images of the largest class / images of the smallest
                "profile": "exp",  # exp or step
                "selection_seed": 0,  # which images the long-tailed set keeps
                "validation_fraction": 0.0,  # > 0: hold out this part of train, evaluate on it and not on test
                "sampler": "instance_balanced",  # how training images are drawn: a name of ltjax.data.sampling.SAMPLERS
                "augment": "none",
                "workers": 0,  # data processes, of all seeds together; 0 = a thread of this process
                "on_device": "auto",  # yes: all images lie on the device as uint8; auto: if in memory and they fit; no
            },
            "model": {"backbone": "resnet32"},
            "optimizer": {  # SGD
                "learning_rate": 0.1,
                "momentum": 0.9,
                "nesterov": False,
                "weight_decay": 5e-4,  # on every parameter
                "schedule": {
                    "name": "step",  # step, cosine or constant
                    "unit": "epoch",  # how often the rate changes: epoch or step
                    "warmup_epochs": 0,
                    "warmup_start": 0.0,  # the rate rises linearly from this part of it
                    "milestones": (160, 180),  # step: finished epochs after which the rate is multiplied by ...
                    "decay": 0.1,  # ... this
                },
            },
            "evaluation": {
                "batch_size": 500,
                "every_epochs": 0,  # 0: only after the last epoch, which is the one reported
                "shots": "strict",  # strict (many > 100, few < 20), inclusive (>= 100, <= 20) or index
                "index_boundaries": (3, 6),  # index: by frequency, before the first many, from the second few
            },
            "log_every_steps": 20,
            "checkpoint": {"every_steps": 200, "keep": 2},
        }
    )


def reslt(name: str) -> ConfigDict:
    """ResLT's own settings; None means: the authors' value for this data set and imbalance."""
    return ConfigDict(
        {
            "alpha": placeholder(float),  # weight of the branches' loss; the fusion's is 1 - alpha
            "groups": 3,
            # positions in frequency order where the next group starts; () = by count, geometrically
            "boundaries": RESLT_BOUNDARIES.get(name, ()),
            "head": "bn",  # bn (CIFAR) or conv (ImageNet-LT, iNaturalist)
            "divisor": "pooled",  # pooled (the authors' code) or subset_means (the paper's eq. 2)
            "probability_epsilon": 0.0,  # the authors add 1e-7 inside the branches' logarithms ...
            "fusion_epsilon": 0.0,  # ... and on ImageNet-LT inside the fusion's
        }
    )


def reslt_alpha(name: str, imbalance: float) -> float:
    """The alpha of the nearest imbalance factor at or above this one; 0.9 for data sets without one.

    Example:
      >>> reslt_alpha("cifar100", 100.0), reslt_alpha("cifar10", 20.0), reslt_alpha("other", 40.0)
      (0.995, 0.998, 0.9)
    """
    table = RESLT_ALPHA.get(name, {})
    above = [factor for factor in table if factor >= imbalance]
    return table[min(above)] if above else max(table.values(), default=0.9)


def mnist5k(method: str, arg: str | None = None) -> ConfigDict:
    """MNIST-5k-LT: 400 images in the largest class, 10 in the smallest; seconds on two cores."""
    config = base(method)
    config.epochs = 30
    config.batch_size = 64
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.backbone = "resnet8"
    config.optimizer.nesterov = True
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.every_epochs = 5
    config.log_every_steps = 6
    return finish(config, arg)


def cifar(name: str, method: str, arg: str | None = None) -> ConfigDict:
    """CIFAR-LT at the published 200-epoch schedule; ``:short`` is ten epochs with a cosine."""
    config = base(method)
    config.data.update(name=name, augment="pad_crop_flip")
    config.evaluation.index_boundaries = (3, 6) if name == "cifar10" else (35, 70)
    config.evaluation.every_epochs = 20
    config.evaluation.shots = "index"
    config.checkpoint.every_steps = 1000
    if method == "reslt":  # the schedule of ResLT's tables; the others have LDAM-DRW's
        config.optimizer.nesterov = True
        config.optimizer.schedule.update(warmup_epochs=5, warmup_start=1 / 3)
    else:
        config.optimizer.weight_decay = 2e-4
        config.optimizer.schedule.update(warmup_epochs=5, decay=0.01)
    return finish(config, arg)


def short(config: ConfigDict) -> None:
    """Ten epochs, nesterov, weight decay 5e-4, cosine from 0.1 to 0 per step, no warm-up."""
    config.epochs = 10
    config.evaluation.every_epochs = 0
    config.checkpoint.every_steps = 200
    config.optimizer.update(nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=0)


ARGUMENTS = ("short", "imbalance=FACTOR", "backbone=NAME", "epochs=N")


def finish(config: ConfigDict, arg: str | None) -> ConfigDict:
    """Adds the method's own settings and applies the argument behind the config file's colon."""
    if config.method == "reslt":
        config.reslt = reslt(config.data.name)
    for word in (arg or "").split(","):
        key, _, value = word.partition("=")
        try:
            if word == "short":
                short(config)
            elif key == "imbalance":
                config.data.imbalance = float(value)
            elif key == "backbone":
                config.model.backbone = value
            elif key == "epochs":
                config.epochs = int(value)
            elif word:
                hint = did_you_mean(key, [a.partition("=")[0] for a in ARGUMENTS])
                raise InputError(
                    f"--config=...:{arg}: unknown argument '{word}'; allowed: {', '.join(ARGUMENTS)}{hint}"
                )
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"--config=...:{arg}: '{value}' is no number for '{key}'") from None
    return config


def resolve(config: ConfigDict) -> None:
    """Fills in what the overrides left open: values that depend on other settings."""
    if "reslt" in config and config.reslt.alpha is None:
        config.reslt.alpha = reslt_alpha(config.data.name, config.data.imbalance)
