"""How fast the package is, beside its peers: ``python -m tests.benchmarks --table``."""
