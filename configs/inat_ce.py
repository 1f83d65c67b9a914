"""Cross-entropy on iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_ce.py --workdir=runs/inat_ce --config.data.dir=DIR

Meant for 8 GPUs of 16 GB or a v5e-16 slice in bfloat16 (batch 512); not run here yet.
Kang et al. (2020, Decoupling), table 3, "joint": 65.8 % (90 epochs 61.7; ResNet-152 69.0). Not measured here yet.
Arguments: ":backbone=resnet10", ":epochs=180", ":sampler=progressive".
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import large_runs


def get_config(arg=None):
    config = new_config("ce", recipe="inat2018")
    large_runs(config)
    config.data.update(name="inat2018", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet50"
    config.epochs = 200
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.2, momentum=0.9, weight_decay=1e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    return with_words(config, arg)
