"""Gaussian components, and those made of Gaussians by latent scales; one file a family.

`base.py` has what all five share, `independent.py` and `dependent.py` what those share whose
features are independent or not. A density has two forms: `residual.py` is the reference, and
`product_form.py` is one product of matrices (of the terms in `quadratic.py`), used wherever
`error_bound.py` says that it is as exact; `strategy.py` has the sizes, measured for each driver, at
which one form becomes faster than the other. `moments.py` leads from statistics to means and
covariances, and `parameters.py` checks what users give. Rows with holes or errors have
`incomplete.py`, and what NumPy gains by many of them: `patterns.py`, `noisy_rows.py` and
`features_with_holes.py`.
"""

from estep_xp.families.gaussian.diagonal import DiagonalGaussian
from estep_xp.families.gaussian.factor_analyzer import FactorAnalyzer
from estep_xp.families.gaussian.full import FullGaussian
from estep_xp.families.gaussian.spherical import SphericalGaussian
from estep_xp.families.gaussian.student_t import StudentT
from estep_xp.families.gaussian.tied import TiedGaussian
from estep_xp.families.gaussian.univariate import UnivariateGaussian

__all__ = [
    "DiagonalGaussian",
    "FactorAnalyzer",
    "FullGaussian",
    "SphericalGaussian",
    "StudentT",
    "TiedGaussian",
    "UnivariateGaussian",
]
