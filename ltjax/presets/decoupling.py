"""Decoupling's settings and schedules (Kang et al., 2020, section 5.1 and appendix B, and the authors' public code)."""

from ml_collections.config_dict import ConfigDict

from ltjax.presets.family import Family, setting

# the tau that the paper chose on each data set's validation images (table 9)
TAU = {"imagenet": 0.7, "inat": 0.3, "places": 0.8}


def settings(dataset: str) -> ConfigDict:
    """Decoupling's own settings."""
    return ConfigDict(
        {
            "second_stage": "tau",  # tau, ncm, or joint: no second stage
            # how tau is found: train (by class-averaged accuracy on the training images, B.5) or value
            "tau_from": "train",
            "tau": TAU.get(dataset, 1.0),  # for tau_from=value
            "ncm_features": "centered_l2",  # raw, l2 or centered_l2: less the mean of all, length 1 (authors' default)
            "ncm_metric": "euclidean",  # euclidean (the authors' default), cosine or dot
        }
    )


def configure(config: ConfigDict, dataset: str) -> None:
    config.decoupling = settings(dataset)


def _second_stage(name: str):
    def apply(config: ConfigDict, _: str) -> None:
        config.decoupling.second_stage = name

    return apply


ARGUMENTS = {
    **{name: _second_stage(name) for name in ("tau", "ncm", "joint")},
    "tau_from": setting("decoupling.tau_from", str),
    "ncm_features": setting("decoupling.ncm_features", str),
    "ncm_metric": setting("decoupling.ncm_metric", str),
}

FAMILY = Family(configure, ARGUMENTS)
