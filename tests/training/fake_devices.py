"""A mesh of devices that are not there, for functions that only ask what they are."""

import types
from typing import Any

import numpy as np


def mesh_of(platform: str, count: int = 1, platform_version: str = "cuda 12090") -> Any:
    client = types.SimpleNamespace(platform_version=platform_version)
    device = types.SimpleNamespace(platform=platform, client=client)
    return types.SimpleNamespace(size=count, devices=np.array([device] * count), axis_names=("data",))
