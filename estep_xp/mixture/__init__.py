"""The structure that joins components by mixing weights: E-step, kernels and their gradient."""
