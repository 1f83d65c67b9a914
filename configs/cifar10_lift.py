"""LIFT on CIFAR-10-LT (imbalance 100): CLIP's ViT-B/16 with AdaptFormer, ten epochs.

python -m ltjax.main --config=configs/cifar10_lift.py --workdir=runs/cifar10_lift --config.data.dir=DIR
    --config.model.pretrained=FILE                                                          (one command)

FILE is CLIP's model.safetensors, with merges.txt and vocab.json beside it (docs/methods/lift.md).
Arguments: ":zero_shot" (nothing is trained), ":class_means" (no text), ":imagenet21k" (FILE is a ViT-B/16 of timm),
":tuning=lora" (or linear, bias, norm, last_blocks, prompts, deep_prompts), ":ensemble" (test-time ensembling).

The authors have no numbers for it. Not measured here.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.settings.config_file import cifar_runs


def get_config(arg=None):
    config = new_config("lift", recipe="cifar10")
    cifar_runs(config)
    config.data.update(name="cifar10", imbalance=100.0, augment="resized_crop_flip")
    config.model.update(backbone="clip_vit_b16", needs_pretrained=True, input_size=224)
    config.tuning.name = "adaptformer"
    config.lift.start = "text"
    config.epochs = 10
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.01, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch")
    config.dtype = "bfloat16"
    config.evaluation.shots = "strict"
    return with_words(config, arg)
