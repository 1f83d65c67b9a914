"""Asynchronous modelling (anonymous, under review) on images from list files, ResNet-10, 100 epochs per phase.

python -m ltjax.main --config=configs/list_asynchronous.py --workdir=runs/list_asynchronous --config.data.dir=DIR
    --config.data.train_list=train.txt --config.data.test_list=test.txt                     (one command)

Lines are 'relative/path label', paths relative to DIR. Without a test list a fifth of every class is held out
(--config.data.test_fraction); --config.data.val_list gives images for choices, --config.data.class_names a file with
the classes' names.

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars per class), ":split=20" (classes in the
first phase; by default those with 20 images or more, which has to leave some for the second), ":lambda=2" or
":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes, raw features), ":one_rate"
(the second phase at the first's rate, as printed). ":image_size=128", ":backbone=resnet50", ":pretrained=FILE"
(fine-tuning: 30 % of the epochs, a tenth of the rate for the backbone), ":epochs=30", ":batch_size=128", ":short" (ten
epochs).

The second phase has the exemplars and the rare classes alone, so that its epochs are short. Not tuned on any data set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, fine_tuned, user_runs

WORDS = {
    "pretrained": fine_tuned,
}


def get_config(arg=None):
    config = new_config("asynchronous", recipe="list")
    user_runs(config)
    config.data.update(name="list", imbalance=1.0, augment="crop224_flip", sampler="progressive")
    config.model.backbone = "resnet10"
    config.epochs = 100
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    # algorithm 1 has one T and one learning rate; a tenth forgets less (docs/methods/asynchronous.md)
    add_second_stage(config, learning_rate=0.005)
    return with_words(config, arg, WORDS)
