"""Decoupling (Kang et al., 2020) on any folder of class folders, ResNet-10: then the classifier is retrained.

python -m ltjax.main --config=configs/folder_decoupling.py --workdir=runs/folder_decoupling --config.data.dir=DIR

DIR holds class folders (DIR/rose/1.jpg), or train/ and test/ (or val/) of class folders; without test images a fifth of
every class is held out (--config.data.test_fraction).

Arguments: ":crt" (the default), ":lws", ":tau", ":ncm", ":mlp", ":cosine", ":cosine_norelu", ":joint" (one stage).
",cached" after ":crt", ":lws", ":mlp", ":cosine" or ":tau,tau_from=learned" trains on features computed once.
":crt,solver=lbfgs" and ":lws,solver=lbfgs" compute the optimum of that training directly, on the same features.
":tau" is chosen on validation images where there are some (--config.data.validation_fraction=0.1
--config.data.validation_use=choose), else on the training images.
"--config.init_from=WORKDIR" takes the first stage from a finished folder_ce.py or folder_decoupling.py:joint.
":image_size=128", ":backbone=resnet50", ":pretrained=FILE" (fine-tuning: 30 % of the epochs, a tenth of the rate for
the backbone), ":epochs=30", ":batch_size=128", ":short" (ten epochs).

100 epochs of 64 images as folder_ce.py, then the paper's 10 epochs (LWS 5) at the first stage's rate. Not tuned on any
data set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, fine_tuned, user_runs

WORDS = {
    "pretrained": fine_tuned,
}


def get_config(arg=None):
    config = new_config("decoupling", recipe="folder")
    user_runs(config)
    config.data.update(name="folder", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet10"
    config.epochs = 100
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    # the second stage restarts the schedule of the learning rate; 10 epochs, LWS 5. Both anneal per step
    add_second_stage(config)
    config.second_stage_optimizer.schedule.update(warmup_epochs=0)
    return with_words(config, arg, WORDS)
