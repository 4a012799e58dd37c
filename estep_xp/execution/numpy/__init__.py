"""NumPy's driver: blocks of rows in the cache, several threads, one BLAS thread each."""
