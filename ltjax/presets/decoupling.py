"""Decoupling's settings and schedules (Kang et al., 2020, section 5.1 and appendix B, and the authors' public code)."""

from collections.abc import Callable

from ml_collections.config_dict import ConfigDict, placeholder

from ltjax.presets.family import Family, setting

SECOND_STAGES = ("crt", "lws", "tau", "ncm", "mlp", "cosine", "joint")
TAU = {
    # the paper chose them on each data set's validation images (table 9)
    "imagenet": 0.7,
    "inat": 0.3,
    "places": 0.8,
    # ours: best of the grid on 30 % of the training images that were set aside, mean of the seeds 0 and 1; the images
    # trained on choose nothing here, for every tau up to 0.7 classifies 99 to 100 % of them
    "mnist5k": 0.4,
}


def settings(dataset: str) -> ConfigDict:
    """Decoupling's own settings."""
    return ConfigDict(
        {
            "second_stage": "crt",  # crt, lws, tau, ncm, mlp, cosine, or joint: no second stage
            # what the first stage trains: all, or last_block or last_stage with the classifier. On Places-LT the
            # authors trained no more than the last block (said in their public issues)
            "representation": "last_block" if dataset == "places" else "all",
            # of the second stage's batch normalisation: frozen (the first stage's statistics are used and stay), batch
            # (the batches' are used and the stored ones drift, as in the authors' code), auto: batch if the backbone is
            # trained, frozen otherwise
            "norm": "auto",
            # the classifier is trained on features of the images without augmentation, made once, and not through the
            # network on augmented images (the paper's way): seconds, and another result
            "cached": False,
            # crt and lws on features: sgd (the paper's steps), or lbfgs: where these steps go, by all images at once
            "solver": "sgd",
            "images_per_class": 4,  # that a visit to a class takes, of class-aware sampling (authors' code)
            # crt: what is trained: classifier, and with it last_block, last_stage or all (table 1); the backbone's own
            # learning rate is config.second_stage_optimizer.backbone_rate
            "retrain": "classifier",
            # how tau is found: train (by class-averaged accuracy on the training images, B.5), validation (likewise),
            # auto (validation where there are such images, else train), learned (trained on balanced batches, B.5) or
            # value
            "tau_from": "value" if dataset == "mnist5k" else "auto",
            "tau": TAU.get(dataset, 1.0),  # for tau_from=value
            "ncm_features": "centered_l2",  # raw, l2 or centered_l2: less the mean of all, length 1 (authors' default)
            "ncm_metric": "euclidean",  # euclidean (the authors' default), cosine or dot
            "mlp_layers": 2,  # 2 or 3 (B.6)
            "mlp_hidden": 2048,  # or 512 (B.6)
            "cosine_relu": True,  # False leaves out the last ReLU of the backbone (B.7)
            "cosine_scale": 10.0,  # where the learned scale starts (Gidaris and Komodakis, 2018, section 3.2)
        }
    )


def configure(config: ConfigDict, dataset: str) -> None:
    """The second stage restarts the learning rate and has a cosine of its own (section 5.1)."""
    config.decoupling = settings(dataset)
    config.second_stage_epochs = placeholder(int)  # None: 10 (on iNaturalist 30), LWS 5
    config.second_stage_optimizer = ConfigDict(config.optimizer.to_dict())
    config.second_stage_optimizer.backbone_rate = 1.0
    config.second_stage_optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=0)
    if dataset == "places":
        config.second_stage_optimizer.learning_rate = 0.1


def short(config: ConfigDict) -> None:
    same = {name: config.optimizer[name] for name in ("nesterov", "weight_decay")}
    config.second_stage_optimizer.update(same)


def resolve(config: ConfigDict) -> None:
    if config.second_stage_epochs is None:
        longest = 30 if config.data.name == "inat2018" else 10
        config.second_stage_epochs = 5 if config.decoupling.second_stage == "lws" else longest


def _second_stage(name: str, **more: object) -> Callable[[ConfigDict, str], None]:
    def apply(config: ConfigDict, value: str) -> None:
        if value:
            raise ValueError(f"{name} takes no value")
        config.decoupling.update(second_stage=name, **more)

    return apply


def _cached(config: ConfigDict, value: str) -> None:
    if value:
        raise ValueError("cached takes no value")
    config.decoupling.cached = True


def _solver(config: ConfigDict, value: str) -> None:
    config.decoupling.update(solver=value, cached=True)


def _tau(config: ConfigDict, value: str) -> None:
    """The bare word is the second stage; with a value it is the value of tau, too."""
    config.decoupling.second_stage = "tau"
    if value:
        config.decoupling.update(tau_from="value", tau=float(value))


ARGUMENTS = {
    **{name: _second_stage(name) for name in SECOND_STAGES},
    "cosine_norelu": _second_stage("cosine", cosine_relu=False),
    **{key: setting(f"decoupling.{key}", str) for key in ("tau_from", "ncm_features", "ncm_metric", "norm", "retrain")},
    **{key: setting(f"decoupling.{key}", int) for key in ("mlp_layers", "mlp_hidden", "images_per_class")},
    "tau": _tau,
    "cached": _cached,
    "solver": _solver,
    "backbone_rate": setting("second_stage_optimizer.backbone_rate"),
    "second_stage_epochs": setting("second_stage_epochs", int),
}

FAMILY = Family(configure, ARGUMENTS, resolve, short)
