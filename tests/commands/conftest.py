"""The commands read the same small data sets as the tests of ``ltjax.data``."""

from tests.data.conftest import fields, image_settings, settings, small_cifar

__all__ = ["fields", "image_settings", "settings", "small_cifar"]
