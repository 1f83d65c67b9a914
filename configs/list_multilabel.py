"""Images with several labels from list files: ResNet-10 at 224 pixels, 100 epochs, batch 64.

python -m ltjax.main --config=configs/list_multilabel.py --workdir=runs/list_multilabel --config.data.dir=DIR
    --config.data.train_list=train.txt --config.data.test_list=test.txt                     (one command)

Lines are 'relative/path label label ...', paths relative to DIR, labels from 0. Without a test list a fifth of the
images is held out, by the rarest class of each (--config.data.test_fraction); --config.data.val_list gives images on
which a threshold of each class is fitted, --config.data.class_names a file with the classes' names.

The word after the colon is one of: bce, cb_bce, distribution_balanced, asymmetric; the default is
distribution_balanced: list_multilabel.py:bce. Further words: ":bce,sampler=class_balanced" (an image is drawn for each
of its classes), ":epochs=30", ":backbone=resnet50", ":image_size=128", ":batch_size=128", ":pretrained=FILE"
(fine-tuning: 30 epochs, a tenth of the rate for the backbone), ":short" (ten epochs).

The numbers of the losses are those of their authors; the training is that of list_ce.py. Not tuned on any data set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.method_word import method_word
from ltjax.settings.config_file import fine_tuned, user_runs

METHODS = ("bce", "cb_bce", "distribution_balanced", "asymmetric")
WORDS = {
    **{name: method_word(name, {}, two_stages=False) for name in METHODS},
    "pretrained": fine_tuned,
}


def get_config(arg=None):
    config = new_config("distribution_balanced", recipe="list", family="multilabel")
    user_runs(config)
    config.data.update(name="multilabel_list", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet10"
    config.epochs = 100
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    return with_words(config, arg, WORDS)
