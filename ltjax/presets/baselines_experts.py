"""Baselines with networks of their own: BBN, RIDE and causal norm, with the schedules of their authors' scripts."""

from ml_collections.config_dict import ConfigDict

CIFAR_LIKE = ("cifar", "mnist")  # images of about 32 pixels


def bbn(config: ConfigDict, dataset: str) -> None:
    """BBN (Zhou et al., CVPR 2020): CIFAR and iNaturalist as published, the other large sets as iNaturalist."""
    config.baseline = ConfigDict(
        {
            # T of the weight 1 - (epoch / T)^2; 0: the epochs, but 100 for 90 and 200 for 180 (the authors' code)
            "horizon": 0,
        }
    )
    _network(config, dataset, "bbn_", large="bbn_resnet50")
    if dataset.startswith("cifar"):
        config.optimizer.update(nesterov=True, weight_decay=2e-4)
        # the script says 120 and 160 and counts epochs from 1: it decays after 119 and 159 finished ones
        config.optimizer.schedule.update(warmup_epochs=5, warmup_start=1 / 3, milestones=(119, 159), decay=0.01)
    elif dataset.startswith("mnist"):
        config.epochs = 10  # a step has two batches, so this is 20 epochs' worth of images
    elif dataset.startswith("inat"):
        config.update(epochs=180, batch_size=128)
        config.optimizer.update(learning_rate=0.05, weight_decay=1e-4)
        config.optimizer.schedule.update(name="step", milestones=(120, 160), decay=0.1)


def ride(config: ConfigDict, dataset: str) -> None:
    """RIDE (Wang et al., ICLR 2021): three experts, without router and distillation."""
    config.baseline = ConfigDict(
        {
            "experts": 3,
            "reduce": True,  # three quarters of the channels in the experts' own stages
            # the factor of the divergence from the experts' mean, negative to push apart; exactly 0 is the authors'
            # collaborative loss: the experts' mean is trained in the place of each
            "diversity": -0.45 if dataset == "cifar100" else -0.2,
            "use_ldam": True,  # LDAM margins, and the re-weighting below
            "head": "cosine",  # cosine (the authors' use_norm) or linear
            "scale": 30.0,  # of the cosines and of the margins
            # how far the temperature follows the class frequencies from the re-weighted epochs on
            "reweight_factor": 0.05,
            "reweighted_from": 0.8,  # part of the epochs: 160 of 200 (CIFAR), 80 of 100
        }
    )
    large = "ride_resnet50" if dataset.startswith("inat") else "ride_resnext50_32x4d"
    _network(config, dataset, "ride_", large)
    if dataset.startswith("cifar"):
        config.optimizer.update(nesterov=True, weight_decay=5e-4)
        config.optimizer.schedule.update(warmup_epochs=5, milestones=(160, 180), decay=0.01)
    elif not dataset.startswith(CIFAR_LIKE):  # ImageNet-LT and iNaturalist as published
        inat = dataset.startswith("inat")
        config.update(epochs=100, batch_size=512 if inat else 256)
        config.optimizer.update(learning_rate=0.2 if inat else 0.1, backbone_rate=1.0, nesterov=True, weight_decay=2e-4)
        config.optimizer.schedule.update(name="step", warmup_epochs=5, milestones=(60, 80), decay=0.1)
        config.baseline.reweight_factor = 0.015 if inat else 0.02


# strength of the subtraction: CIFAR-10, CIFAR-100; ImageNet-LT and Places-LT; not published for the others
ALPHA = {"cifar100": 1.5, "imagenet": 3.0, "places": 3.0}


def causal_norm(config: ConfigDict, dataset: str) -> None:
    """Causal norm (Tang et al., NeurIPS 2020): on CIFAR with BBN's network, both branches together."""
    small = dataset.startswith(CIFAR_LIKE)
    config.baseline = ConfigDict(
        {
            "heads": 2,  # parts of the feature that are normalised each on its own
            "scale": 16.0,  # tau
            "gamma": 1 / 32,  # added to the norms of the weights
            "alpha": next((value for name, value in ALPHA.items() if dataset.startswith(name)), 1.0 if small else 3.0),
            # of the running mean feature: constant (0.9) or learning_rate (1 - 0.1 min(50 rate, 1), off CIFAR)
            "momentum": "constant" if small else "learning_rate",
        }
    )
    if small:
        _network(config, dataset, "bbn_", large="")
    if dataset.startswith("cifar"):
        config.batch_size = 256
        config.optimizer.update(learning_rate=0.2, weight_decay=5e-4)
        config.optimizer.schedule.update(warmup_epochs=5, milestones=(120, 160), decay=0.01)
    elif not small:
        config.update(epochs=90, batch_size=512)
        config.model.backbone = "resnet50" if dataset.startswith("inat") else "resnext50_32x4d"
        config.optimizer.update(learning_rate=0.2, backbone_rate=1.0)


def _network(config: ConfigDict, dataset: str, kind: str, large: str) -> None:
    """The data set's CIFAR ResNet in this kind, or the large one."""
    config.model.backbone = kind + config.model.backbone if dataset.startswith(CIFAR_LIKE) else large
