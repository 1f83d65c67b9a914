"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on MNIST-5k-LT (imbalance 40), ResNet-8, 4 epochs.

python -m ltjax.main --config=configs/mnist5k_auxiliary.py --workdir=runs/mnist5k_auxiliary

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs).

The paper has no MNIST results. A step has four batches of 64 where cross-entropy has one. Test accuracy of the last
epoch, seeds 0, 1, 2, many / medium / few / all (%): 89.9 +- 0.8 / 80.9 +- 2.8 / 67.2 +- 5.4 / 81.8 +- 2.2.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import add_second_stage


def get_config(arg=None):
    config = new_config("auxiliary", recipe="mnist5k")
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.update(backbone="resnet8", features=512)
    config.epochs = 4
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.update(every_epochs=5)
    config.log_every_steps = 6
    add_second_stage(config, epochs=2)  # for ":ft": two thirds of the first stage, as OLTR's 60 of 90
    return with_words(config, arg)
