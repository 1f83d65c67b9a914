"""Decoupling (Kang et al., 2020) on ImageNet-LT, ResNeXt-50, 90 epochs, then 10 of the classifier, batch 512.

python -m ltjax.main --config=configs/imagenet_decoupling.py --workdir=runs/imagenet_decoupling --config.data.dir=DIR

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":backbone=resnet10", ":retrain=all,backbone_rate=0.1" (table 1), ":joint,sampler=progressive" (table 5).
",cached" behind ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features made once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" find where that training goes, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished imagenet_ce.py or imagenet_decoupling.py:joint.

Any number of GPUs or TPU cores that divides 512. The paper (table 7, %): joint 44.4, NCM 47.3, cRT 49.6, tau 49.4,
LWS 49.9; ours is not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("imagenet", "decoupling", arg)
