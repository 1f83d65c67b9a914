"""Long-tailed image recognition in JAX. Importing this costs nothing: import the rooms you need."""

__version__ = "0.1.0"
