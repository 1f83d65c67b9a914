"""Decoupling representation and classifier (Kang et al., ICLR 2020).

The representation is learned first, with cross-entropy and a linear classifier on the images as they are; then the
classifier alone is balanced on top of it (section 4): re-trained with as many images of every class (cRT), its class
weights re-scaled (LWS, tau-normalisation), or replaced by the class means (NCM).
"""

import dataclasses

from ltjax.data import Data
from ltjax.methods.ce import cross_entropy_method
from ltjax.methods.decoupling.classifiers import SECOND_STAGES, part
from ltjax.methods.decoupling.settings import ONE_STAGE, DecouplingSettings
from ltjax.methods.stage import AnyStage
from ltjax.settings import Settings


def decoupling(config: Settings, settings: DecouplingSettings, data: Data) -> list[AnyStage]:
    """Representation first, classifier second; config.decoupling says which classifier."""
    (joint,) = cross_entropy_method(config, settings, data)
    trainable = part(settings.representation, joint.network)
    updates = dataclasses.replace(joint.updates, trainable=trainable)
    first = dataclasses.replace(joint, name="representation", updates=updates)
    if settings.second_stage == ONE_STAGE:
        return [first]
    return [first, SECOND_STAGES[settings.second_stage](config, settings, data)]
