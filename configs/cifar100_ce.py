"""Cross-entropy on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_ce.py --workdir=runs/cifar100_ce --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":short,imbalance=10".

The papers report 38.3 %. Here, seed 0, last epoch, many / medium / few / all (%): 65.6 / 37.3 / 7.8 / 38.4 (3.2 hours
on two CPU cores, commit f2a7a1a). ":short", seeds 0 to 3: 40.8 +- 3.0 / 8.7 +- 1.5 / 0.0 / 17.3 +- 1.5; in bfloat16,
seeds 0 and 1: 17.5 +- 0.1.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import cifar_runs


def get_config(arg=None):
    config = new_config("ce", recipe="cifar100")
    cifar_runs(config)
    config.data.update(name="cifar100", imbalance=100.0, augment="pad_crop_flip")
    config.model.backbone = "resnet32"
    config.epochs = 200
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=2e-4)
    config.optimizer.schedule.update(name="step", unit="epoch", warmup_epochs=5, milestones=(160, 180), decay=0.01)
    config.evaluation.update(index_boundaries=(35, 70))
    return with_words(config, arg)
