"""Cross-entropy on Places-LT, ResNet-152 from ImageNet weights, 30 epochs.

python -m ltjax.main --config=configs/places_ce.py --workdir=runs/places_ce --config.data.dir=DIR \
    --config.model.pretrained=FILE

Meant for 8 GPUs of 16 GB or a v5e-8 slice in bfloat16 (batch 256); not run here yet.
Kang et al. (2020, Decoupling), table 4, "joint": 30.2 %. Not measured here yet.
Arguments: ":backbone=resnet10,from_scratch" (random weights, one rate for all), ":epochs=180",
":sampler=progressive".
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import large_runs


def get_config(arg=None):
    config = new_config("ce", recipe="places_lt")
    large_runs(config)
    config.data.update(name="places_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.update(backbone="resnet152", needs_pretrained=True)
    config.epochs = 30
    config.batch_size = 256
    # the head's rate is 0.05, the backbone's 5e-4
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4, backbone_rate=0.01)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    return with_words(config, arg)
