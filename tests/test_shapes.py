"""Arrays that public functions take and return have the shapes and dtypes of their annotations."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("beartype")
pytest.importorskip("jaxtyping")

from beartype.roar import BeartypeDoorHintViolation

import estep_xp as ex
from tests.check_shapes import check, check_property, checked
from tests.records import FULL, POISSON, TIED, every_family, parametrize, problem, with_m_step

pytestmark = pytest.mark.backends("numpy", "array_api_strict")


@every_family
def test_shapes_of_the_e_step(backend, record):
    x, mixture = given(backend, record)
    step = checked(ex.e_step)(x, mixture)
    for name in ("labels", "entropy", "total_log_likelihood", "mean_max_responsibility"):
        check_property(step, name)
    log_prob = checked(type(mixture.components).log_prob)(mixture.components, x)
    checked(ex.posterior)(log_prob, mixture.weights)
    for function in (ex.log_joint, ex.log_likelihood, ex.log_density, ex.predict):
        checked(function)(x, mixture)
    checked(ex.log_likelihood)(x, mixture, sample_weight=backend.asarray(np.ones(x.shape[0])))


@every_family
def test_shapes_of_rows_with_holes_and_errors(backend, record):
    x, mixture = given(backend, record)
    if not mixture.components._takes_missing:
        return
    keywords = {"noise": x * 0.0} if mixture.components._takes_noise else {}
    if record.family is not ex.VonMises:  # an angle has no mean that fills a hole
        checked(ex.impute)(x, mixture, **keywords)
    for function in (ex.e_step, ex.log_density, ex.predict, ex.log_joint, ex.expected_statistics):
        checked(function)(x, mixture, missing=True, **keywords)


@with_m_step
def test_shapes_of_em(backend, record):
    x, mixture = given(backend, record)
    statistics = checked(ex.expected_statistics)(x, mixture)
    checked(ex.merge)(statistics, checked(ex.scale)(statistics, 0.5))
    new = checked(ex.m_step)(statistics)
    if record.family._is_recenterable:
        checked(ex.recenter)(statistics, new)
    result = checked(ex.fit)(x, mixture, max_iter=2, tol=1e3)
    checked(type(result).aic)(result, x)
    family = mixture.components if record.needs_template else record.family
    checked(ex.initialize)(x, 3 if record.needs_template else 2, family, seed=0)


@parametrize(FULL, TIED, POISSON)
def test_shapes_of_samples_and_properties(backend, record):
    _, mixture = given(backend, record)
    checked(ex.sample)(mixture, 3)
    if record.is_gaussian:
        check_property(mixture.components, "covariances")
        check_property(mixture.components, "precisions")
        checked(ex.marginal)(mixture, [1, 0])


@parametrize(FULL, POISSON)
def test_shapes_of_criteria_and_of_known_responsibilities(backend, record):
    x, mixture = given(backend, record)
    weights = backend.asarray(np.ones(x.shape[0]))
    for function in (ex.aic, ex.bic, ex.icl):
        checked(function)(x, mixture, sample_weight=weights)
    step = ex.e_step(x, mixture)
    checked(ex.estimate)(x, step.responsibilities, record.family, sample_weight=weights)
    result = ex.fit(x, mixture, max_iter=1, tol=1e3)
    for function in (type(result).bic, type(result).icl):
        checked(function)(result, x)
    checked(ex.select)(x, record.family, [1], max_iter=1, tol=1e3)


def test_shapes_of_matrices_that_users_know(backend):
    means, matrices = (backend.asarray(a) for a in (np.zeros((3, 2)), np.stack([np.eye(2)] * 3)))
    full = checked(ex.FullGaussian.from_covariances)(means, matrices)
    checked(ex.FullGaussian.from_precisions)(means, matrices)
    checked(ex.TiedGaussian.from_covariance)(means, matrices[0, ...])
    checked(ex.TiedGaussian.from_precision)(means, matrices[0, ...])
    degrees = backend.asarray(np.full(3, 4.0))
    check_property(checked(ex.StudentT.from_scales)(means, matrices, degrees), "scales")
    mixture = ex.Mixture(backend.asarray(np.ones(3)), full)
    # Whose result has fewer features than what goes in.
    checked(check)(ex.condition(mixture, [0], backend.asarray(np.ones(1))), None)


@parametrize(FULL, POISSON)
def test_shapes_of_what_chains_say(backend, record):
    x, (weights, components) = given(backend, record)
    hmm = ex.HMM(weights, backend.asarray(np.ones((3, 3))), components)
    lengths = np.asarray([7, 4])
    checked(ex.decode)(x, hmm, lengths=lengths)
    last = checked(ex.filtered)(x, hmm, lengths=lengths).last
    checked(ex.filtered)(x, hmm, lengths=lengths, start=last)
    checked(ex.forecast)(hmm, last, 5)
    checked(ex.predict)(x, hmm, lengths=lengths)
    log_prob = components.log_prob(x)
    checked(ex.chain_posterior)(log_prob, weights, hmm.transitions, lengths=lengths)
    checked(ex.log_likelihood)(x, hmm, lengths=lengths)
    checked(ex.m_step)(checked(ex.expected_statistics)(x, hmm, lengths=lengths))
    check(checked(ex.HMM.from_mixture)(ex.Mixture(weights, components)), None)
    checked(ex.sample)(hmm, 3)


@pytest.mark.backends("jax")
@parametrize(FULL)
def test_shapes_of_what_jax_traces(backend, record):
    import jax

    from estep_xp import jax as of_jax

    def trace(x, mixture):  # and compile nothing, which is what takes time
        checked(ex.e_step)(x, mixture)
        checked(of_jax.constrain)(checked(of_jax.unconstrain)(mixture))
        checked(of_jax.em_step)(mixture, x)
        checked(of_jax.fit)(x, mixture, max_iter=2)
        checked(of_jax.observed_information)(x, mixture)
        checked(of_jax.standard_errors)(x, mixture)

    jax.eval_shape(trace, *given(backend, record))


@pytest.mark.backends("jax")
def test_every_public_function_is_called_here(backend):
    from estep_xp import jax as of_jax

    del backend  # where there is JAX
    here = Path(__file__).read_text()
    without_arrays = {"feature_names", "load", "n_parameters", "save"}
    without_arrays.add("scores")  # a mixture with a leading axis of rows, which no record says
    missing = [
        name
        for module in (ex, of_jax)
        for name in set(module.__all__) - without_arrays
        if inspect.isfunction(getattr(module, name))
        and not re.search(rf"\b(ex|of_jax)\.{name}\b", here)
    ]
    assert missing == []


def given(backend, record):
    # No two of n, k and d are equal: each axis must have its own.
    one = problem(record, 7, n=11, k=3, d=2)
    return backend.data(one.x, "float64"), one.mixture(backend)


STEP = ex.e_step([1.0, 4.0], ex.Mixture([1.0], ex.UnivariateGaussian([2.0], [1.0])))


@pytest.mark.parametrize(
    "wrong",
    [
        STEP._replace(log_likelihood=np.zeros(3)),
        STEP._replace(responsibilities=np.zeros(2)),
        STEP._replace(log_likelihood=np.zeros(2, dtype=int)),
        ex.Mixture(np.ones(2), ex.UnivariateGaussian(np.zeros(3), np.ones(3))),
        ex.Mixture(np.ones(3), ex.FullGaussian(np.zeros((3, 2)), np.ones((3, 3, 3)))),
    ],
    ids=["n", "axes", "dtype", "k", "d"],
)
def test_a_wrong_shape_is_found(wrong):
    with pytest.raises(BeartypeDoorHintViolation):
        checked(check)(wrong, None)
