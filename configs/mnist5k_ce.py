"""Cross-entropy on MNIST-5k-LT (imbalance 40): the baseline of mnist5k_reslt.py.

python -m ltjax.main --config=configs/mnist5k_ce.py --workdir=runs/mnist5k_ce

Test accuracy of the last epoch, seeds 0, 1, 2, many / medium / few / all (%): 98.8 +- 0.4 / 91.9 +- 1.0 / 68.3 +- 3.4 /
89.9 +- 0.9.
"""

from ltjax.methods.configure import new_config, with_words


def get_config(arg=None):
    config = new_config("ce", recipe="mnist5k")
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.backbone = "resnet8"
    config.epochs = 20
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.update(every_epochs=5)
    config.log_every_steps = 6
    return with_words(config, arg)
