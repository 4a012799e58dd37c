"""Mixtures and hidden Markov models on any array: one exact E-step, for NumPy, JAX and others.

The E-step
    e_step, posterior, chain_posterior, log_joint, log_likelihood, log_density, predict
Fitting
    fit, initialize, estimate, select
Statistics of rows
    expected_statistics, merge, m_step, recenter, scale
What to do with a mixture
    sample, marginal, condition, impute, n_parameters, aic, bic, icl
Chains
    filtered, decode, forecast
Files
    save, load, feature_names
Records
    Mixture, HMM, EStep, ChainEStep, Filtered, Decoded, EMResult, Statistics, ChainStatistics,
    Sample, Selection, Imputed
Families of components
    UnivariateGaussian, SphericalGaussian, DiagonalGaussian, TiedGaussian, FullGaussian, Poisson,
    Bernoulli, Categorical, Exponential, Gamma, VonMises, StudentT, FactorAnalyzer, Product (columns
    of several kinds), and classes of your own

``estep_xp.jax`` has what JAX adds: differentiable fits, scores, standard errors, free parameters.
"""

# First of all, before what takes time.
from estep_xp.cli.system import startup as _startup  # noqa: F401

# isort: split

from estep_xp.chain.decode import Decoded, decode
from estep_xp.chain.estep import ChainEStep, chain_posterior
from estep_xp.chain.filtered import Filtered, filtered
from estep_xp.chain.forecast import forecast
from estep_xp.chain.hmm import HMM
from estep_xp.em.adjust import recenter, scale
from estep_xp.em.chain_statistics import ChainStatistics
from estep_xp.em.criteria import aic, bic, icl, n_parameters
from estep_xp.em.estimate import estimate
from estep_xp.em.fit import fit
from estep_xp.em.fit_warnings import CollapseWarning, ConvergenceWarning
from estep_xp.em.initialize import initialize
from estep_xp.em.m_step import m_step
from estep_xp.em.merge import merge
from estep_xp.em.result import EMResult
from estep_xp.em.select import Selection, select
from estep_xp.em.statistics import Statistics, expected_statistics
from estep_xp.families import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Exponential,
    FactorAnalyzer,
    FullGaussian,
    Gamma,
    Poisson,
    Product,
    SphericalGaussian,
    StudentT,
    TiedGaussian,
    UnivariateGaussian,
    VonMises,
)
from estep_xp.files.save import feature_names, load, save
from estep_xp.mixture.estep import EStep, log_joint, posterior
from estep_xp.mixture.features import condition, marginal
from estep_xp.mixture.impute import Imputed, impute
from estep_xp.mixture.mixture import Mixture
from estep_xp.mixture.sample import Sample
from estep_xp.verbs.estep import e_step, log_density, log_likelihood
from estep_xp.verbs.predict import predict
from estep_xp.verbs.sample import sample

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - which takes HMM for a constant
    "Bernoulli",
    "Categorical",
    "ChainEStep",
    "ChainStatistics",
    "CollapseWarning",
    "ConvergenceWarning",
    "Decoded",
    "DiagonalGaussian",
    "EMResult",
    "EStep",
    "Exponential",
    "FactorAnalyzer",
    "Filtered",
    "FullGaussian",
    "Gamma",
    "HMM",
    "Imputed",
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
    "VonMises",
    "aic",
    "bic",
    "chain_posterior",
    "condition",
    "decode",
    "e_step",
    "estimate",
    "expected_statistics",
    "feature_names",
    "filtered",
    "fit",
    "forecast",
    "icl",
    "impute",
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
