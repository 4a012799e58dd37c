"""Criteria by which models of different sizes are compared on the same rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from estep_xp import execution
from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.quiet import quiet
from estep_xp.chain.hmm import HMM
from estep_xp.chain.model import n_parameters as n_parameters_of_chain
from estep_xp.chain.model import n_rows as n_rows_of_chain
from estep_xp.chain.sequences import refuse_lengths
from estep_xp.families import contract
from estep_xp.mixture.call import Call, prepare_call, prepare_mixture, run_kernel
from estep_xp.mixture.estep import log_likelihood_of
from estep_xp.mixture.kernels import Entropy
from estep_xp.mixture.mixture import Mixture, check_mixture
from estep_xp.verbs.estep import log_likelihood

if TYPE_CHECKING:
    from estep_xp.arrays.shapes import FloatScalar, LikeN, LikeNoise, LikeS, RowsLike


def n_parameters(model: Mixture[Any] | HMM[Any]) -> int:
    """Number of parameters of a model that may be chosen freely.

    Parameters
    ----------
    model : Mixture or HMM
        Weights and components; or a chain of states, with one matrix of transitions, and a
        component of each.

    Returns
    -------
    int
        Those of the components, and k - 1 weights, since weights sum to 1; of an HMM as many
        initial probabilities and transitions as are not 0, but for one in each row.

    Raises
    ------
    ValueError, TypeError
        If this is no mixture, or one of its parameters has a wrong shape or value.

    Examples
    --------
    >>> import estep_xp as ex
    >>> ex.n_parameters(ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5])))
    5
    """
    if isinstance(model, HMM):
        count: int = n_parameters_of_chain(model)
        return count
    _, (weights, components) = prepare_mixture(model, name="model")
    return int(weights.shape[0]) - 1 + contract.family_of(components)._n_parameters()


@quiet
def aic(
    x: RowsLike,
    model: Mixture[Any] | HMM[Any],
    *,
    sample_weight: LikeN | LikeS | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> FloatScalar:
    """Akaike's information criterion of a model on observations; lower is better.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    model : Mixture or HMM
        Weights and components; or a chain of states, and a component of each.
    sample_weight : array, shape (n,) or (s,), optional
        Non-negative weight of each row; with an HMM of each sequence.
    missing, noise : optional
        As for `e_step`.
    lengths : array of int, shape (s,), optional
        Only with an HMM: the length of each sequence in `x`, as for `e_step`.

    Returns
    -------
    array, shape ()
        2 p − 2 log L, with p free parameters (Akaike 1974).

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> round(float(ex.aic([1.0, 2.5, 7.0, 5.5], mixture)), 4)
    25.7535
    """
    _check_model(model, x)
    seen: Any = {"missing": missing, "noise": noise}
    total = log_likelihood(x, model, sample_weight=sample_weight, lengths=lengths, **seen)
    return 2.0 * n_parameters(model) - 2.0 * total


@quiet
def bic(
    x: RowsLike,
    model: Mixture[Any] | HMM[Any],
    *,
    sample_weight: LikeN | LikeS | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
    lengths: LikeS | None = None,
) -> FloatScalar:
    """Bayesian information criterion of a model on observations; lower is better.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    model : Mixture or HMM
        Weights and components; or a chain of states, and a component of each.
    sample_weight : array, shape (n,) or (s,), optional
        Non-negative weight of each row, or with an HMM of each sequence; the number n of rows is
        counted by it.
    missing, noise : optional
        As for `e_step`.
    lengths : array of int, shape (s,), optional
        Only with an HMM: the length of each sequence in `x`, as for `e_step`.

    Returns
    -------
    array, shape ()
        p log n − 2 log L, with p free parameters (Schwarz 1978).

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> round(float(ex.bic([1.0, 2.5, 7.0, 5.5], mixture)), 4)
    22.685
    """
    seen: Any = {"missing": missing, "noise": noise}
    if isinstance(model, HMM):
        total = log_likelihood(x, model, sample_weight=sample_weight, lengths=lengths, **seen)
        n = n_rows_of_chain(x, model, lengths, sample_weight, total)
        return _bic(model, total, n)
    check_mixture(model, x, name="model")
    refuse_lengths(lengths)
    return _bic_of(prepare_call(x, model, sample_weight=sample_weight, **seen))


@quiet
def icl(
    x: RowsLike,
    model: Mixture,
    *,
    sample_weight: LikeN | None = None,
    missing: bool = False,
    noise: LikeNoise | None = None,
) -> FloatScalar:
    """Integrated completed likelihood of a model on observations; lower is better.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    model : Mixture
        Weights and components.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row.
    missing, noise : optional
        As for `e_step`.

    Returns
    -------
    array, shape ()
        The BIC plus twice the entropy of the responsibilities (Biernacki, Celeux and Govaert
        2000): components that overlap count against a mixture.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value.

    Examples
    --------
    >>> import estep_xp as ex
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> round(float(ex.icl([1.0, 2.5, 7.0, 5.5], mixture)), 4)
    22.8894
    """
    check_mixture(model, x, name="model")
    call = prepare_call(x, model, sample_weight=sample_weight, missing=missing, noise=noise)
    return _bic_of(call) + 2.0 * _entropy_of(call)


@quiet
def criteria_of(
    x: Any, fitted: Any, statistics: Any, *, sample_weight: Any = None, **seen: Any
) -> dict[str, Any]:
    """All criteria of a model on the rows that it was fitted to; the ICL of a mixture alone.

    The fit's `statistics` have the total and the number of rows, so that the ICL takes the only
    pass over the rows.
    """
    total = statistics.log_likelihood
    bic = _bic(fitted, total, statistics.n_rows)
    found = {"aic": 2.0 * n_parameters(fitted) - 2.0 * total, "bic": bic, "icl": math.nan}
    if not isinstance(fitted, HMM):
        call = prepare_call(x, fitted, sample_weight=sample_weight, **seen)
        found["icl"] = bic + 2.0 * _entropy_of(call)
    return found


def _entropy_of(call: Call) -> Array:
    """The entropy of all rows' responsibilities, an array ()."""
    kernel = Entropy(call.k, call.zeros, call.space.lazy, call.masks)
    (entropies,) = run_kernel(call, kernel, None, None)
    return execution.driver_for(call.space).sum_values(entropies)


def _bic_of(call: Call) -> Array:
    total = log_likelihood_of(call)
    return _bic(call.mixture, total, _n_rows(call, total))


def _bic(model: Any, total: Array, n: Array) -> Array:
    return n_parameters(model) * namespace_of(total).log(n) - 2.0 * total


def _check_model(model: Any, x: Any) -> None:
    if not isinstance(model, HMM):
        check_mixture(model, x, name="model")


def _n_rows(call: Call, like: Array) -> Array:
    """The weighted number of rows, as an array () like another."""
    xp = call.space.xp
    rows, *weight = call.rows
    if weight:
        return execution.driver_of(weight[0]).sum_values(weight[0])
    n = rows.shape[0]
    if math.isnan(n):  # Dask has yet to count them
        ones = xp.ones_like(rows[(..., *(0,) * (len(rows.shape) - 1))], dtype=like.dtype)
        return xp.sum(ones)
    return xp.full_like(like, n)
