"""What all tests share."""

import gc

import jax

# A worker holds hundreds of compiled programs, and going through all of their objects again and again takes its time.
gc.set_threshold(200_000, 20, 100)
# Programs are compiled quickly rather than well: most of a test's time is compilation.
jax.config.update("jax_disable_most_optimizations", True)

LONGEST = ("test_kill.py", "test_sharding.py", "test_programs.py")


def pytest_collection_modifyitems(items):
    """The longest first, so that no worker waits for another one at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
