"""PyTorch's side of the benchmarks, written for speed as its users write it. Only calling a function imports torch."""
