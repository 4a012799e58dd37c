"""JAX: the whole computation is compiled, in eager calls too, and every transformation sees it.

Derivatives come about in five ways, each in one file:

=============================  ==========================================  ======================
derivative of                  mechanism                                   file
=============================  ==========================================  ======================
e_step, log_joint, posterior,  automatic differentiation of the traced     rows.py
log_prob                       block
log_likelihood                 Fisher's identity: `custom_jvp` that runs   gradient.py, and
                               a kernel of the gradient, which sums        mixture/
                               expected statistics, and differentiates     gradient_kernel.py
                               the family's expected log-density
                               (`Family._expected_log_prob`)
expected_statistics, second    automatic differentiation block by block:   blocks.py
derivatives of log_likelihood  `custom_jvp` that reads blocks by a scan
                               instead of slices
fit                            `custom_jvp` that repeats the loop as a     while_loop.py
                               scan of known length
jax.fit                        implicit function theorem at the fixed      estep_xp/jax/
                               point, solved by GMRES                      implicit_fit.py
=============================  ==========================================  ======================

Padding and cutting rows (sizes.py) are primitives with derivatives of their own. `driver.py` has
what the rest of the package calls; `ops.py` the arithmetic on a block.
"""
