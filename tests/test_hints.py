"""What is likely a slip gets a hint: another record, a family's name, a column for a vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import estep_xp as ex

X = np.array([[0.0, 1.0], [1.0, 3.0], [4.0, 4.0], [5.0, 7.0]])
START = ex.initialize(X, 2, ex.FullGaussian, method="k-means++")
FITTED = ex.fit(X, START, tol=1e9)  # one iteration
FACTORS = np.stack([np.eye(2), [[1.0, 0.5], [0.0, 1.0]]])


def functions() -> dict[str, Callable[[Any, Any], Any]]:
    """Every function of rows and a mixture."""
    taken: dict[str, Callable[[Any, Any], Any]] = {
        "e_step": ex.e_step,
        "log_joint": ex.log_joint,
        "log_likelihood": ex.log_likelihood,
        "expected_statistics": ex.expected_statistics,
        "fit": ex.fit,
    }
    try:
        import estep_xp.jax as exj
    except ImportError:
        return taken
    return taken | {
        "jax.fit": exj.fit,
        "jax.scores": exj.scores,
        "jax.observed_information": exj.observed_information,
        "jax.standard_errors": exj.standard_errors,
        "jax.em_step": lambda x, mixture: exj.em_step(mixture, x),
        "jax.unconstrain": lambda x, mixture: exj.unconstrain(mixture),
    }


def message_of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        call(*args, **kwargs)
    assert len(str(caught.value)) < 400
    return str(caught.value)


INSTEAD = {
    "EMResult": (FITTED, "an EMResult", "did you mean .mixture?"),
    "Statistics": (
        ex.expected_statistics(X, START),
        "a Statistics",
        "did you mean .mixture, or m_step of it?",
    ),
    "EStep": (ex.e_step(X, START), "an EStep", "what fit returns as .mixture"),
    "components": (START.components, "a FullGaussian", "Mixture(weights, components)"),
    "class": (ex.FullGaussian, "the class FullGaussian", "initialize"),
    "name": ("FullGaussian", "'FullGaussian'", "initialize"),
    "short name": ("full", "'full'", "initialize"),
    "tuple": (tuple(START), "a tuple", "Mixture(*mixture)"),
    "None": (None, "a NoneType;", "expected an estep_xp.Mixture"),
    "array": (X, "a ndarray", "expected an estep_xp.Mixture"),
}


@pytest.mark.parametrize("instead", INSTEAD)
@pytest.mark.parametrize("function", functions())
def test_what_stands_for_a_mixture(function, instead):
    value, *words = INSTEAD[instead]
    message = message_of(functions()[function], X, value)
    for word in ("mixture is ", *words):
        assert word in message, message


@pytest.mark.parametrize("function", functions())
def test_swapped_arguments(function):
    if function != "jax.unconstrain":
        assert "did you swap x and mixture?" in message_of(functions()[function], START, X)


class Laplace(NamedTuple):
    """A family of one's own."""

    means: Any

    def log_prob(self, x: Any) -> Any:
        return x - self.means


@pytest.mark.parametrize("function", functions())
def test_what_stands_for_components(function):
    for components, *words in (
        (ex.FullGaussian, "the class FullGaussian", "FullGaussian(means, precision_cholesky)?"),
        (Laplace, "the class Laplace", "Laplace(means)?"),
        ("FullGaussian", "'FullGaussian'", "did you mean FullGaussian(means, precision_cholesky)?"),
        ("diag", "'diag'", "did you mean DiagonalGaussian(means, variances)?"),
        ("gamma", "'gamma'", "log_prob(x)"),
        (START, "a Mixture", "log_prob(x)"),
        (None, "a NoneType;", "log_prob(x)"),
    ):
        mixture = ex.Mixture([0.5, 0.5], components)
        message = message_of(functions()[function], X, mixture)
        for word in ("components are ", *words):
            assert word in message, message


def test_what_stands_for_statistics():
    result = FITTED
    for value in (START, result, ex.e_step(X, START), START.components, X, None):
        for call in (ex.m_step, lambda one: ex.merge(one, one)):
            message = message_of(call, value)
            assert "; expected an estep_xp.Statistics" in message
            assert "expected_statistics(x, mixture)" in message


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("FullGaussian", "'FullGaussian'; .*did you mean estep_xp.FullGaussian?"),
        ("full", "did you mean estep_xp.FullGaussian?"),
        ("Diag", "did you mean estep_xp.DiagonalGaussian?"),
        ("tied", "did you mean estep_xp.TiedGaussian?"),
        ("gamma", "did you mean estep_xp.Gamma?"),
        ("beta", "expected the class of a family, such as FullGaussian itself$"),
        (START, "family is a Mixture; expected the class"),
        (None, "family is None; expected the class"),
        (int, "family is <class 'int'>; expected the class"),
    ],
    ids=range(9),
)
def test_what_stands_for_a_family(family, words):
    with pytest.raises(TypeError, match=words.replace("?", r"\?")):
        ex.initialize(X, 2, family, seed=0)


@pytest.mark.parametrize("family", [ex.SphericalGaussian, ex.TiedGaussian, ex.FullGaussian])
def test_rows_of_the_wrong_number_of_axes(family):
    univariate = ex.initialize(X[:, 0], 2, ex.UnivariateGaussian, seed=0)
    several = ex.initialize(X[:, :1], 2, family, seed=0)
    for name, function in functions().items():
        if name == "jax.unconstrain":
            continue
        assert "give x[:, 0]" in message_of(function, X[:, :1], univariate), name
        assert "give x[:, None] for n rows" in message_of(function, X[:, 0], several), name
    assert "give x[:, 0]" in message_of(univariate.components.log_prob, X[:, :1])
    assert "give x[:, None]" in message_of(several.components.log_prob, X[:, 0])
    initialize = ex.initialize
    message = message_of(initialize, X[:, :1], 2, ex.UnivariateGaussian, seed=0)
    assert "give x[:, 0]" in message
    assert "give x[:, None]" in message_of(initialize, X[:, 0], 2, family, seed=0)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_covariances_where_factors_are_meant(backend):
    covariance = np.array([[2.0, 0.8], [0.8, 1.0]])
    means = backend.asarray(X[:2])
    tied = ex.TiedGaussian(means, backend.asarray(covariance))
    full = ex.FullGaussian(means, backend.asarray(np.stack([np.eye(2), covariance])))
    x, weights = backend.data(X), backend.asarray([0.5, 0.5])
    for components, maker in (
        (tied, "TiedGaussian.from_covariance"),
        (full, "FullGaussian.from_covariances"),
    ):
        for call in (
            lambda c: ex.e_step(x, ex.Mixture(weights, c)),
            lambda c: ex.fit(x, ex.Mixture(weights, c)),
            lambda c: c.log_prob(x),
            lambda c: c.covariances,
        ):
            message = message_of(call, components)
            assert message.endswith(f"call {maker}"), message
            assert "upper triangular" in message


def test_one_row_without_its_axis():
    """Of as many numbers as there are features, and of another number."""
    two = ex.initialize(X[:, :2], 2, ex.FullGaussian, seed=0)
    one = ex.initialize(X[:, :1], 2, ex.FullGaussian, seed=0)
    assert message_of(ex.e_step, np.zeros(2), two).endswith("; give x[None, :] for one row")
    assert "; give" not in message_of(ex.e_step, np.zeros(3), two)
    assert message_of(ex.e_step, np.zeros(3), one).endswith(
        "; give x[:, None] for n rows of one feature"
    )
