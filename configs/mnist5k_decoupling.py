"""Decoupling (Kang et al., 2020) on MNIST-5k-LT (imbalance 40): cross-entropy, then the classifier is retrained.

python -m ltjax.main --config=configs/mnist5k_decoupling.py --workdir=runs/mnist5k_decoupling

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage);
":tau=0.5", ":tau,tau_from=learned", ":ncm,ncm_metric=cosine", ":joint,sampler=square_root",
":retrain=all,backbone_rate=0.1".
",cached" after ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features computed once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" compute the optimum of that training directly, on the same features.
"--config.init_from=WORKDIR" takes the first stage from a finished mnist5k_ce.py or mnist5k_decoupling.py:joint.

The paper does not use this data set. Test accuracy of the last epoch on the representations of mnist5k_ce.py, seeds 0,
1, 2, many / medium / few / all (%): cRT 96.8 +- 1.0 / 94.2 +- 1.2 / 86.3 +- 4.6 / 93.7 +- 1.6; docs/results.md has the
others.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage


def get_config(arg=None):
    config = new_config("decoupling", recipe="mnist5k")
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.backbone = "resnet8"
    config.epochs = 20
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.update(every_epochs=5)
    config.log_every_steps = 6
    # tau: the best of the grid on 30 % of the training images, held out, mean of seeds 0 and 1; the images
    # trained on cannot select it, because every tau up to 0.7 classifies 99 to 100 % of them correctly
    config.decoupling.update(tau=0.4, tau_from="value")
    # the second stage restarts the schedule of the learning rate; 10 epochs, LWS 5. Both anneal per step, for
    # this recipe is no paper's
    add_second_stage(config)
    config.second_stage_optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=0)
    return with_words(config, arg)
