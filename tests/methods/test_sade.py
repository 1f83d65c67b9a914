"""SADE: each expert has its own loss, their mean is what predicts, and its class distribution is known."""

import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.losses import balanced_softmax_loss, cross_entropy, inverse_softmax_loss
from ltjax.methods import METHODS
from ltjax.methods.sade import mean_adjustment
from tests.methods.expert_toys import BACKBONES, Step
from tests.training import toy


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)


def config_of(backbone="ride_toy", **settings):
    own = {f"sade__{name}": value for name, value in settings.items()}
    return toy.config("sade", model__backbone=backbone, **own)


def test_each_expert_has_its_own_loss_and_their_mean_predicts():
    step = Step(config_of(tau=1.5))
    logits = np.asarray(step.logits())
    assert logits.shape == (3, 6, 3) and np.abs(logits).max() <= 30.001  # cosines times 30
    expected = {
        "forward": cross_entropy(logits[0], step.labels),
        "uniform": balanced_softmax_loss(logits[1], step.labels, class_counts=toy.COUNTS),
        "backward": inverse_softmax_loss(logits[2], step.labels, class_counts=toy.COUNTS, tau=1.5),
    }
    made = step.outcome().terms
    assert set(made) == set(expected)
    for name, losses in expected.items():
        np.testing.assert_allclose(made[name].values, losses, rtol=1e-4)
    each = [np.asarray(step.stage.views[f"expert_{e}"](step.variables, step.images)) for e in range(3)]
    np.testing.assert_allclose(step.stage.predict(step.variables, step.images), np.mean(each, 0), rtol=1e-4, atol=1e-4)


def test_the_mean_of_optimal_experts_has_the_prior_of_the_stage():
    """Experts whose adjusted softmax is the training posterior: their mean less the log prior has no class bias."""
    likelihood = np.log(np.array([0.2, 0.5, 0.3]))  # log p(x | y) of one image
    log_share = np.log(np.array(toy.COUNTS) / sum(toy.COUNTS))
    log_inverse = log_share[::-1]
    posterior = likelihood + log_share
    experts = [posterior, posterior - log_share, posterior - log_share + 2 * log_inverse]
    prior = METHODS["sade"](config_of(), toy.build(None))[-1].prior
    plain = np.mean(experts, 0) - np.log(prior)
    np.testing.assert_allclose(plain - plain[0], likelihood - likelihood[0], rtol=1e-12, atol=1e-12)


def test_tau_1_on_exponential_counts_is_unbiased():
    counts = np.array([1000.0, 100.0, 10.0, 1.0])
    added = np.log(counts / counts.sum()) - mean_adjustment(counts, tau=1.0)
    np.testing.assert_allclose(added, added[0], rtol=1e-12)


def test_it_takes_a_network_of_experts():
    with pytest.raises(InputError, match=r"config.model.backbone: 'toy' does not fit here.*ride_resnet32"):
        METHODS["sade"](config_of(backbone="toy"), toy.build(None))
