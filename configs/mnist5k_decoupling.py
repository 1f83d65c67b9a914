"""Decoupling (Kang et al., 2020) on MNIST-5k-LT (imbalance 40): cross-entropy, then the classifier re-trained.

python -m ltjax.main --config=configs/mnist5k_decoupling.py --workdir=runs/mnist5k_decoupling

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":tau=0.5", ":tau,tau_from=learned", ":ncm,ncm_metric=cosine", ":joint,sampler=square_root",
":retrain=all,backbone_rate=0.1".
",cached" behind ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features made once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" find where that training goes, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished mnist5k_ce.py or mnist5k_decoupling.py:joint.

The paper has no such data set. Test accuracy of the last epoch on the representations of mnist5k_ce.py, seeds 0, 1, 2,
many / medium / few / all (%): cRT 96.8 +- 1.0 / 94.2 +- 1.2 / 86.3 +- 4.6 / 93.7 +- 1.6; README has the others.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "decoupling", arg)
