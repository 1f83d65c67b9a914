"""LIFT on ImageNet-LT: CLIP's ViT-B/16 with AdaptFormer, ten epochs.

python -m ltjax.main --config=configs/imagenet_lift.py --workdir=runs/imagenet_lift --config.data.dir=DIR
    --config.model.pretrained=FILE                                                          (one command)

FILE is CLIP's model.safetensors, with merges.txt and vocab.json beside it (docs/methods/lift.md).
Arguments: ":zero_shot" (nothing is trained), ":class_means" (no text), ":imagenet21k" (FILE is a ViT-B/16 of timm),
":tuning=lora" (or linear, bias, norm, last_blocks, prompts, deep_prompts), ":ensemble" (test-time ensembling).

Published, with test-time ensembling: 78.3 %. Not measured here.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import large_runs


def get_config(arg=None):
    config = new_config("lift", recipe="imagenet_lt")
    large_runs(config)
    config.data.update(name="imagenet_lt", imbalance=1.0, augment="crop224_flip")
    config.model.update(backbone="clip_vit_b16", needs_pretrained=True)
    config.tuning.name = "adaptformer"
    config.lift.start = "text"
    config.epochs = 10
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.01, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    return with_words(config, arg)
