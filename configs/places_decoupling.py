"""Decoupling (Kang et al., 2020) on Places-LT, ResNet-152 from ImageNet weights, then 10 epochs for the classifier.

python -m ltjax.main --config=configs/places_decoupling.py --workdir=runs/places_decoupling --config.data.dir=DIR \\
    --config.model.pretrained=FILE

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":tau,tau_from=value". The first stage trains the last block and the classifier, as the authors did;
":from_scratch" trains all of the network from random weights.
",cached" after ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features computed once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" compute the optimum of that training directly, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished places_ce.py or places_decoupling.py:joint.

Any number of GPUs or TPU cores that divides 256. The paper (table 4, %): joint 30.2, NCM 36.4, cRT 36.7, tau 37.9,
LWS 37.6; not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, large_runs


def get_config(arg=None):
    config = new_config("decoupling", recipe="places_lt")
    large_runs(config)
    config.data.update(name="places_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.update(backbone="resnet152", needs_pretrained=True)
    config.epochs = 30
    config.batch_size = 256
    # section 5.1 gives momentum 0.9, cosine to 0 and 224 x 224; the head's rate is 0.05, the backbone's 5e-4
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4, backbone_rate=0.01)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    # the authors trained only the last block (according to their public issues); tau: table 9, for tau_from=value
    config.decoupling.update(representation="last_block", tau=0.8)
    # the second stage restarts the schedule of the learning rate; 10 epochs, LWS 5
    add_second_stage(config, learning_rate=0.1, backbone_rate=1.0)
    return with_words(config, arg)
