"""Cross-entropy on ImageNet-LT, ResNeXt-50 (32x4d), 90 epochs.

python -m ltjax.main --config=configs/imagenet_ce.py --workdir=runs/imagenet_ce --config.data.dir=DIR

Meant for 8 GPUs of 16 GB or a v5e-8 slice in bfloat16 (batch 512); not run here yet.
Kang et al. (2020, Decoupling), table 2, "joint": 44.4 % (ResNet-10 34.8, ResNeXt-152 47.8). Not measured here yet.
Arguments: ":backbone=resnet10", ":epochs=180", ":sampler=progressive".
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import large_runs


def get_config(arg=None):
    config = new_config("ce", recipe="imagenet_lt")
    large_runs(config)
    config.data.update(name="imagenet_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.backbone = "resnext50_32x4d"
    config.epochs = 90
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.2, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    return with_words(config, arg)
