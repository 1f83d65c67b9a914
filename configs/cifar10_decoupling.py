"""Decoupling (Kang et al., 2020) on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs, then 10 of the classifier.

python -m ltjax.main --config=configs/cifar10_decoupling.py --workdir=runs/cifar10_decoupling --config.data.dir=DIR

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":imbalance=50", ":short", ":tau=0.5", ":tau,tau_from=learned", ":ncm,ncm_metric=cosine", ":joint,sampler=progressive".
",cached" behind ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features made once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" find where that training goes, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished cifar10_ce.py or cifar10_decoupling.py:joint.

The paper has no CIFAR; ours is not measured yet. tau is chosen on the training images; on a part of them set aside with
"--config.data.validation_use=choose --config.data.validation_fraction=0.2".
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "decoupling", arg)
