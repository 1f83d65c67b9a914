"""What all tests share: programs are compiled quickly rather than well, for most of a test's time is compilation."""

import jax

jax.config.update("jax_disable_most_optimizations", True)
