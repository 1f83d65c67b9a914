"""Images as the published weights of a backbone take them: config.data.preprocessing."""

import dataclasses

from ltjax.models.preprocessing import PREPROCESSING, Preprocessing
from ltjax.settings import DataSettings, Settings


def preprocessing_of(config: Settings) -> Preprocessing | None:
    """What the run's images are made like instead of what config.data says; None where config.data holds."""
    return PREPROCESSING.get(config.model.backbone) if config.data.preprocessing == "backbone" else None


def data_settings(config: Settings) -> DataSettings:
    """config.data, with the resize and the interpolation of the backbone's published weights."""
    weights = preprocessing_of(config)
    if weights is None:
        return config.data
    resize = weights.resize(config.data.image_size)
    return dataclasses.replace(config.data, resize=resize, interpolation=weights.interpolation)
