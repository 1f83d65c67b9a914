"""What all tests share."""

import gc

import jax
import pytest

# A worker holds hundreds of compiled programs, and going through all of their objects again and again takes its time.
gc.set_threshold(200_000, 20, 100)

LONGEST = ("test_kill.py", "test_sharding.py", "test_programs.py")
TOYS = ("methods", "models", "training")  # folders whose networks are so small that compiling them is all that takes time


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker waits for another one at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Programs of toys are compiled quickly rather than well."""
    jax.config.update("jax_disable_most_optimizations", request.path.parent.name in TOYS)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
