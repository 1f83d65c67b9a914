"""LIFT on images from list files: CLIP's ViT-B/16 with AdaptFormer, ten epochs.

python -m ltjax.main --config=configs/list_lift.py --workdir=runs/list_lift --config.data.dir=DIR
    --config.data.train_list=train.txt --config.model.pretrained=FILE                       (one command)

FILE is CLIP's model.safetensors, with merges.txt and vocab.json beside it (docs/methods/lift.md).
Arguments: ":zero_shot" (nothing is trained), ":class_means" (no text), ":imagenet21k" (FILE is a ViT-B/16 of timm),
":tuning=lora" (or linear, bias, norm, last_blocks, prompts, deep_prompts), ":ensemble" (test-time ensembling).

Batches are smaller than the paper's, for a few thousand images. Not tuned on any data set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import user_runs


def get_config(arg=None):
    config = new_config("lift", recipe="list")
    user_runs(config)
    config.data.update(name="list", imbalance=1.0, augment="crop224_flip")
    config.model.update(backbone="clip_vit_b16", needs_pretrained=True)
    config.tuning.name = "adaptformer"
    config.lift.start = "text"
    config.epochs = 10
    config.batch_size = 32
    config.optimizer.update(learning_rate=0.01, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    return with_words(config, arg)
