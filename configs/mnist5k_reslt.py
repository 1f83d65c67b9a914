"""ResLT (Cui et al., 2022) on MNIST-5k-LT (imbalance 40), which needs no download.

python -m ltjax.main --config=configs/mnist5k_reslt.py --workdir=runs/mnist5k_reslt

Arguments: ":short" (ten epochs), ":alpha=0.9", ":groups=2" to 5, ":experts=3", ":strong" (mixup), ":variant=a" to e,
":variant=baseline", ":variant=grouped_conv" and "separate_conv".

Test accuracy of the last epoch, seeds 0, 1, 2, many / medium / few / all (%): 98.3 +- 0.1 / 95.2 +- 1.7 / 81.8 +- 4.9 /
93.8 +- 1.1.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.reslt.settings import experts_on

WORDS = {
    "experts": experts_on("ride_resnet8"),
}


def get_config(arg=None):
    config = new_config("reslt", recipe="mnist5k")
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.backbone = "resnet8"
    config.epochs = 20
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.update(every_epochs=5)
    config.log_every_steps = 6
    # 0.5 and 0.9 were compared on 30 % of the training images, seeds 0 and 1
    config.reslt.update(alpha=0.5)
    return with_words(config, arg, WORDS)
