"""Peers of `fit`, from the same start for the same number of iterations."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tests.benchmarks.jax_peers import gmmx_can, gmmx_model, in_float32
from tests.benchmarks.numpy_peers import COVARIANCE_TYPES
from tests.benchmarks.peers import Peer
from tests.benchmarks.problems import Case
from tests.benchmarks.timing import Call

N_ITER = 20
FLOOR = 1e-6  # on variances: our default, scikit-learn's and gmmx's


def displaced(case: Case) -> Case:
    """A start some way off the mixture that the rows come from."""
    shift = np.random.default_rng(1).standard_normal(case.means.shape)
    return case._replace(means=(case.means + 0.5 * shift).astype(case.means.dtype))


def scikit_learn(start: Case) -> Call:
    """GaussianMixture.fit; that it has not converged is what it should say."""
    from sklearn.mixture import GaussianMixture

    return fit_call(GaussianMixture, start)


def fit_call(class_: type[Any], start: Case) -> Call:
    """The fit of scikit-learn's class, or of ours, which has the same arguments."""
    from sklearn.exceptions import ConvergenceWarning

    model = class_(
        start.problem.k,
        covariance_type=COVARIANCE_TYPES[start.problem.family],
        tol=0.0,
        max_iter=N_ITER,
        reg_covar=FLOOR,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=_precisions(start),
    )

    def call():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(start.x)
        return model.weights_, model.means_, model.covariances_

    return call


def _precisions(case: Case) -> np.ndarray:
    if case.problem.family in ("full", "tied"):
        return case.precision_cholesky @ case.precision_cholesky.mT
    return 1.0 / case.covariances


def gmmx(start: Case) -> Call:
    """EMFitter.fit, which is compiled."""
    import jax
    from gmmx import EMFitter

    fitter = EMFitter(max_iter=N_ITER, tol=0.0, reg_covar=FLOOR)
    with jax.enable_x64(False):
        x, mixture = jax.numpy.asarray(start.x), gmmx_model(start)

    def call():
        found = jax.block_until_ready(fitter.fit(x, mixture).gmm)
        return found.weights_numpy, found.means_numpy, found.covariances.values_numpy

    return in_float32(call)


NUMPY_PEERS = (Peer("scikit-learn", "sklearn", scikit_learn),)
JAX_PEERS = (Peer("gmmx", "gmmx", gmmx, gmmx_can),)
