"""Where EM may start, one way a file; `settle.py` has the default. On the host, in NumPy.

What runs under `jit` too is `compiled.py` alone. Which family it is nobody here knows: a family
says how its components follow from shares of rows, or from their scatter.
"""
