"""Special functions that the Array API standard lacks, for all libraries, differentiable."""

from estep_xp.arrays.special.bessel import bessel_ratio, inverse_bessel_ratio, log_i0_scaled
from estep_xp.arrays.special.digamma import (
    digamma,
    log_minus_digamma,
    solve_log_minus_digamma,
    trigamma,
)
from estep_xp.arrays.special.elementary import log1p_minus, polynomial, x_log_y
from estep_xp.arrays.special.log_gamma import log_gamma, log_gamma_ratio, log_gamma_scaled

__all__ = [
    "bessel_ratio",
    "digamma",
    "inverse_bessel_ratio",
    "log1p_minus",
    "log_gamma",
    "log_gamma_ratio",
    "log_gamma_scaled",
    "log_i0_scaled",
    "log_minus_digamma",
    "polynomial",
    "solve_log_minus_digamma",
    "trigamma",
    "x_log_y",
]
