"""CBS+RRS+SS (Zhang et al., 2019) on images from list files, ResNet-10, 25 epochs.

python -m ltjax.main --config=configs/list_auxiliary.py --workdir=runs/list_auxiliary --config.data.dir=DIR
    --config.data.train_list=train.txt --config.data.test_list=test.txt                     (one command)

Lines are 'relative/path label', paths relative to DIR. Without a test list a fifth of every class is held out
(--config.data.test_fraction); --config.data.val_list gives images for choices, --config.data.class_names a file with
the classes' names.

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4".
":image_size=128", ":backbone=resnet50", ":pretrained=FILE" (fine-tuning: 30 % of the epochs, a tenth of the rate for
the backbone), ":epochs=30", ":batch_size=128", ":short" (ten epochs).

A step has four batches of 64 where cross-entropy has one: 25 epochs see as many images as 100 of list_ce.py. The groups
in the results are those of the other methods, thirds of the classes by frequency. Not tuned on any data set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage, fine_tuned, user_runs

WORDS = {
    "pretrained": fine_tuned,
}


def get_config(arg=None):
    config = new_config("auxiliary", recipe="list")
    user_runs(config)
    config.data.update(name="list", imbalance=1.0, augment="crop224_flip")
    config.model.update(backbone="resnet10", features=512)
    config.epochs = 25
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=1)
    add_second_stage(config, epochs=17)  # for ":ft": two thirds of the first stage, as OLTR's 60 of 90
    return with_words(config, arg, WORDS)
