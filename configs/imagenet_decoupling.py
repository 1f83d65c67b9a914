"""Decoupling (Kang et al., 2020) on ImageNet-LT, ResNeXt-50, 90 epochs, then 10 for the classifier, batch 512.

python -m ltjax.main --config=configs/imagenet_decoupling.py --workdir=runs/imagenet_decoupling --config.data.dir=DIR

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":backbone=resnet10", ":retrain=all,backbone_rate=0.1" (table 1), ":joint,sampler=progressive" (table 5).
",cached" after ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features computed once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" compute the optimum of that training directly, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished imagenet_ce.py or imagenet_decoupling.py:joint.

Any number of GPUs or TPU cores that divides 512. The paper (table 7, %): joint 44.4, NCM 47.3, cRT 49.6, tau 49.4,
LWS 49.9; not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("decoupling", recipe="imagenet_lt")
    large_runs(config)
    config.data.update(name="imagenet_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.backbone = "resnext50_32x4d"
    config.epochs = 90
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.2, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    # tau of the paper's validation images (table 9), for tau_from=value
    config.decoupling.update(tau=0.7)
    # the second stage restarts the schedule of the learning rate; 10 epochs, LWS 5
    add_second_stage(config)
    return with_words(config, arg)
