"""JAX's driver: the whole computation is compiled, in eager calls too."""
