"""Decoupling (Kang et al., 2020) on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs, then 10 for the classifier.

python -m ltjax.main --config=configs/cifar100_decoupling.py --workdir=runs/cifar100_decoupling --config.data.dir=DIR

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":imbalance=50", ":short", ":tau=0.5", ":tau,tau_from=learned", ":ncm,ncm_metric=cosine", ":joint,sampler=progressive".
",cached" after ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features computed once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" compute the optimum of that training directly, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished cifar100_ce.py or cifar100_decoupling.py:joint.

The paper has no CIFAR results. Here, from cifar100_ce.py's 38.4 (seed 0, last epoch, commit f2a7a1a), many / medium /
few / all (%): crt 63.0 / 40.5 / 14.9 / 40.7 (cached 63.6 / 39.9 / 14.5 / 40.6), lws 63.5 / 40.1 / 15.4 / 40.9 (cached
63.8 / 40.2 / 15.2 / 40.9), tau 63.9 / 40.1 / 14.3 / 40.7, ncm 57.5 / 43.1 / 22.6 / 42.0.
tau is selected on the training images, or on a held-out part of them with "--config.data.validation_use=choose
--config.data.validation_fraction=0.2".
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, cifar_runs


def get_config(arg=None):
    config = new_config("decoupling", recipe="cifar100")
    cifar_runs(config)
    config.data.update(name="cifar100", imbalance=100.0, augment="pad_crop_flip")
    config.model.backbone = "resnet32"
    config.epochs = 200
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=2e-4)
    config.optimizer.schedule.update(name="step", unit="epoch", warmup_epochs=5, milestones=(160, 180), decay=0.01)
    config.evaluation.update(index_boundaries=(35, 70))
    # the second stage restarts the schedule of the learning rate; 10 epochs, LWS 5
    add_second_stage(config)
    config.second_stage_optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end", warmup_epochs=0)
    return with_words(config, arg)
