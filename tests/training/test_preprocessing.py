"""Images are made as the published weights of config.model.backbone take them, unless config.data is to hold."""

import numpy as np
import pytest
from PIL import Image

from ltjax.data.datasets.assemble import MEAN, STD
from ltjax.models import BACKBONES, VisionTransformer
from ltjax.models.preprocessing import PREPROCESSING
from ltjax.training.prepare import build_data
from ltjax.training.preprocessing import data_settings
from ltjax.training.workdir.model_record import _from_json, record_of
from tests.data.conftest import write_image
from tests.training import toy


def config(backbone, **changes):
    data = {"image_size": 16, "resize": 18, "augment": "none", "imbalance": 1.0, "test_fraction": 0.5}
    keys = {f"data__{key}": value for key, value in (data | changes).items()}
    return toy.config(model__backbone=backbone, **keys)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for name in "ab":
        for number in range(2):
            write_image(folder / name / f"{number}.jpg", 0, (40, 32))
            noise = np.random.default_rng(number).integers(0, 256, (32, 40, 3), np.uint8)
            Image.fromarray(noise).save(folder / name / f"{number}.jpg")
    return str(folder)


def test_every_vision_transformer_has_its_own():
    transformers = {name for name, make in BACKBONES.items() if isinstance(make(), VisionTransformer)}
    assert transformers <= set(PREPROCESSING) <= set(BACKBONES)


@pytest.mark.parametrize(
    ("backbone", "resize", "mean"),
    [("clip_vit_b16", 16, 0.48145466), ("vit_b16", 17, 0.5), ("dinov2_vit_s14_reg", 18, 0.485)],
)
def test_mean_std_resize_and_interpolation_are_those_of_the_weights(backbone, resize, mean, photos):
    made = build_data(config(backbone, name="folder", dir=photos))
    assert made.mean[0] == mean and made.std == PREPROCESSING[backbone].std
    bicubic = data_settings(config(backbone, name="folder", dir=photos))
    assert (bicubic.resize, bicubic.interpolation, bicubic.image_size) == (resize, "bicubic", 16)
    record = record_of(config(backbone, name="folder", dir=photos), made, "f")
    assert (record.resize, record.interpolation, record.mean) == (resize, "bicubic", made.mean)
    usual = build_data(config("resnet10", name="folder", dir=photos, resize=resize))
    assert (usual.mean, usual.std) == (MEAN, STD)
    assert np.any(made.train.read(0) != usual.train.read(0))
    asked = config("resnet10", name="folder", dir=photos, resize=resize, interpolation="bicubic")
    np.testing.assert_array_equal(made.train.read(0), build_data(asked).train.read(0))


def test_config_data_holds_where_it_is_asked_for(photos):
    asked = config("clip_vit_b16", name="folder", dir=photos, preprocessing="data")
    made = build_data(asked)
    assert (made.mean, made.std) == (MEAN, STD) and data_settings(asked) == asked.data
    assert record_of(asked, made, "f").resize == 18


def test_a_record_of_an_older_run_is_bilinear(photos):
    import dataclasses

    made = config("resnet10", name="folder", dir=photos)
    record = dataclasses.asdict(record_of(made, build_data(made), "f"))
    assert _from_json({**record, "interpolation": "bicubic"}).interpolation == "bicubic"
    record.pop("interpolation")
    assert _from_json(record).interpolation == "bilinear"
