"""Decoupling (Kang et al., 2020) on iNaturalist 2018, ResNet-50, 200 epochs, then 30 of the classifier, batch 512.

python -m ltjax.main --config=configs/inat_decoupling.py --workdir=runs/inat_decoupling --config.data.dir=DIR

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":epochs=90", ":backbone=resnet152", ":mlp,mlp_layers=3" (table 11).
",cached" behind ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features made once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" find where that training goes, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished inat_ce.py or inat_decoupling.py:joint.

Any number of GPUs or TPU cores that divides 512. The paper (table 8, %): joint 65.8, NCM 63.1, cRT 68.2, tau 69.3,
LWS 69.5; ours is not measured yet. Its tau was chosen on the images that are
the test here; ours is chosen on the training images.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("inat", "decoupling", arg)
