"""Decoupling (Kang et al., 2020) on Places-LT, ResNet-152 that ImageNet has trained, then 10 epochs of the classifier.

python -m ltjax.main --config=configs/places_decoupling.py --workdir=runs/places_decoupling --config.data.dir=DIR \\
    --config.model.pretrained=FILE.npz

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":tau,tau_from=value". The first stage trains the last block and the classifier, as the authors did.
",cached" behind ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features made once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" find where that training goes, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished places_ce.py or places_decoupling.py:joint.

Any number of GPUs or TPU cores that divides 256. The paper (table 4, %): joint 30.2, NCM 36.4, cRT 36.7, tau 37.9,
LWS 37.6; ours is not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("places", "decoupling", arg)
