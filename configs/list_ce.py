"""Cross-entropy on images from list files, ResNet-10 at 224 pixels, 100 epochs, batch 64.

python -m ltjax.main --config=configs/list_ce.py --workdir=runs/list_ce --config.data.dir=DIR
    --config.data.train_list=train.txt --config.data.test_list=test.txt                     (one command)

Lines are 'relative/path label', paths relative to DIR. Without a test list a fifth of every class is held out
(--config.data.test_fraction); --config.data.val_list gives images for selecting hyper-parameters,
--config.data.class_names a file with the classes' names.

Arguments: ":epochs=30", ":backbone=resnet50", ":image_size=128", ":batch_size=128", ":sampler=square_root",
":pretrained=FILE" (fine-tuning: 30 epochs, a tenth of the rate for the backbone), ":short" (ten epochs).
Not tuned on any data set; for one GPU, or hours of CPU for a few thousand images.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import fine_tuned, user_runs

WORDS = {
    "pretrained": fine_tuned,
}


def get_config(arg=None):
    config = new_config("ce", recipe="list")
    user_runs(config)
    config.data.update(name="list", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet10"
    config.epochs = 100
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    return with_words(config, arg, WORDS)
