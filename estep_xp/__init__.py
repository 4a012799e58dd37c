"""One E-step for mixture models, on any array: exact in log space, on NumPy, JAX and others.

The E-step
    e_step, posterior, log_joint, log_likelihood, log_density, predict
Fitting
    fit, initialize, estimate, select
Statistics of rows
    expected_statistics, merge, m_step, recenter, scale
What to do with a mixture
    sample, marginal, condition, n_parameters, aic, bic, icl
Files
    save, load, feature_names
Records
    Mixture, EStep, EMResult, Statistics, Sample, Selection
Families of components
    UnivariateGaussian, SphericalGaussian, DiagonalGaussian, TiedGaussian, FullGaussian, Poisson,
    Bernoulli, StudentT, FactorAnalyzer, Product (columns of several kinds), and classes of your own

``estep_xp.jax`` has what JAX adds: differentiable fits, scores, standard errors, free parameters.
"""

from estep_xp.em.adjust import recenter, scale
from estep_xp.em.criteria import aic, bic, icl, n_parameters
from estep_xp.em.estimate import estimate
from estep_xp.em.fit import fit
from estep_xp.em.fit_warnings import CollapseWarning, ConvergenceWarning
from estep_xp.em.initialize import initialize
from estep_xp.em.m_step import m_step
from estep_xp.em.result import EMResult
from estep_xp.em.select import Selection, select
from estep_xp.em.statistics import Statistics, expected_statistics, merge
from estep_xp.families import (
    Bernoulli,
    DiagonalGaussian,
    FactorAnalyzer,
    FullGaussian,
    Poisson,
    Product,
    SphericalGaussian,
    StudentT,
    TiedGaussian,
    UnivariateGaussian,
)
from estep_xp.files.save import feature_names, load, save
from estep_xp.mixture.density import log_density, predict
from estep_xp.mixture.estep import EStep, e_step, log_joint, log_likelihood, posterior
from estep_xp.mixture.features import condition, marginal
from estep_xp.mixture.mixture import Mixture
from estep_xp.mixture.sample import Sample, sample

__version__ = "0.1.0"

__all__ = [
    "Bernoulli",
    "CollapseWarning",
    "ConvergenceWarning",
    "DiagonalGaussian",
    "EMResult",
    "EStep",
    "FactorAnalyzer",
    "FullGaussian",
    "Mixture",
    "Poisson",
    "Product",
    "Sample",
    "Selection",
    "SphericalGaussian",
    "Statistics",
    "StudentT",
    "TiedGaussian",
    "UnivariateGaussian",
    "aic",
    "bic",
    "condition",
    "e_step",
    "estimate",
    "expected_statistics",
    "feature_names",
    "fit",
    "icl",
    "initialize",
    "load",
    "log_density",
    "log_joint",
    "log_likelihood",
    "m_step",
    "marginal",
    "merge",
    "n_parameters",
    "posterior",
    "predict",
    "recenter",
    "sample",
    "save",
    "scale",
    "select",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
