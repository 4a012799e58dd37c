"""Derivatives of the log-likelihood that statistics needs: scores, information, errors."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular

from estep_xp.arrays.namespace import is_concrete
from estep_xp.arrays.nested import named_arrays
from estep_xp.arrays.validation import check_whole
from estep_xp.execution.jax.sizes import run_padded
from estep_xp.families.contract import family_of
from estep_xp.mixture.call import pad_call, warn_of_impossible_rows
from estep_xp.mixture.estep import log_likelihood
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.shapes import FloatPP, LikeN, RowsLike
from estep_xp.jax.arguments import eps_of, prepare_jax_call, run_statistics

# Rows, and directions of derivatives, that are worked on at a time.
_ROWS, _DIRECTIONS = 1024, 16


def scores(x: RowsLike, mixture: Mixture, *, block_size: int = _ROWS) -> Mixture:
    """Gradient of each row's log-likelihood with respect to the mixture.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    mixture : Mixture
        Weights and components, of a family of your own, too, if it is a pytree.
    block_size : int, optional
        Rows worked on at a time.

    Returns
    -------
    Mixture
        Its arrays have a leading axis of n rows. The sum over it is the gradient of
        `estep_xp.log_likelihood`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Notes
    -----
    By Fisher's identity a row's score is the gradient of its expected complete-data log-density,
    responsibilities held fixed.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> for row in ex.jax.scores([1.0, 4.0, 7.0], mixture).components.means:
    ...     print("{:.4f} {:.4f}".format(*row))
    -0.9997 -0.0011
    0.7721 -0.8186
    0.0000 0.6667
    """
    block_size = check_whole("block_size", block_size, 1)
    call = prepare_jax_call(x, mixture)
    mixture = call.mixture

    def of_rows(x: AnyArray) -> tuple[AnyArray, ...]:
        return tuple(jax.tree.leaves(_scores(block_size, x, mixture)))

    totals, *slopes = run_padded(of_rows, call.rows)
    warn_of_impossible_rows(call, totals)
    scores: Mixture = jax.tree.unflatten(jax.tree.structure(mixture), slopes)
    return scores


@functools.partial(jax.jit, static_argnums=0)
def _scores(block_size: int, x: AnyArray, mixture: Mixture) -> tuple[AnyArray, Mixture]:
    def of_row(row: AnyArray) -> Any:
        return jax.value_and_grad(lambda mixture: log_likelihood(row[None], mixture))(mixture)

    results: tuple[AnyArray, Mixture] = jax.lax.map(of_row, x, batch_size=block_size)
    return results


def observed_information(
    x: RowsLike, mixture: Mixture, *, sample_weight: LikeN | None = None
) -> FloatPP:
    """Minus the second derivatives of the log-likelihood: how sharply it singles out parameters.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
    mixture : Mixture
        Of one of the package's families; for standard errors, the fitted one.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row.

    Returns
    -------
    array, shape (p, p)
        Symmetric, by the p free parameters in this order: all weights but the last, which is one
        minus their sum; the means; variances, or the upper triangles of precision Cholesky factors
        row by row.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Notes
    -----
    Louis (1982) writes it as expected complete-data information minus the variance of scores; here
    it is the derivative of Fisher's identity, direction by direction, in blocks of rows.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([1.0], ex.UnivariateGaussian([2.0], [4.0]))
    >>> information = ex.jax.observed_information([0.0, 2.0, 4.0], mixture)
    >>> for row in information:  # by mean and variance
    ...     print("{:.4f} {:.4f}".format(*row + 0.0))
    0.7500 0.0000
    0.0000 0.0312
    """
    call = prepare_jax_call(x, mixture, sample_weight)
    run_statistics(call)  # raises for bad rows
    information: AnyArray = _information(pad_call(call).rows, call.mixture)
    return information


@jax.jit
def _information(rows: tuple[AnyArray, ...], mixture: Mixture) -> AnyArray:
    x, *weight = rows
    vector, mixture_of = _free(mixture)

    def total(vector: AnyArray) -> AnyArray:
        return log_likelihood(x, mixture_of(vector), sample_weight=weight[0] if weight else None)

    def column(direction: AnyArray) -> AnyArray:
        return jax.jvp(jax.grad(total), (vector,), (direction,))[1]

    basis = jnp.eye(vector.size, dtype=vector.dtype)
    columns = jax.lax.map(column, basis, batch_size=min(_DIRECTIONS, max(1, vector.size)))
    return -0.5 * (columns + columns.T)


def standard_errors(
    x: RowsLike,
    mixture: Mixture,
    *,
    sample_weight: LikeN | None = None,
    of: Callable[[Mixture], Any] | None = None,
) -> Any:
    """Standard errors of a mixture fitted by maximum likelihood, from the observed information.

    Parameters
    ----------
    x : array, shape (n, d)
        The observations of the fit.
    mixture : Mixture
        The fitted mixture, of one of the package's families.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row.
    of : callable, optional
        A function of a mixture that gives arrays, to have the standard errors of these instead
        (the delta method): ``lambda mixture: mixture.components.covariances``.

    Returns
    -------
    Mixture, or arrays as `of` gives them
        The standard error of each number. Weights sum to 1, so the last has one, too.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, or the information is not positive
        definite: then the likelihood has no maximum here. Under ``jit`` the result is NaN instead.

    Notes
    -----
    Square roots of the diagonal of the inverse observed information (McLachlan and Peel 2000,
    section 2.16), which holds for many rows and components that are well apart.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([1.0], ex.UnivariateGaussian([2.0], [4.0]))
    >>> errors = ex.jax.standard_errors([0.0, 2.0, 4.0], mixture)
    >>> print(f"{errors.components.means[0]:.4f}")  # the root of 4 / 3
    1.1547
    """
    call = prepare_jax_call(x, mixture, sample_weight)
    run_statistics(call)  # raises for bad rows
    errors, definite = _standard_errors(of or _itself, pad_call(call).rows, call.mixture)
    if is_concrete(definite) and not bool(definite):
        raise ValueError(
            "the observed information at this mixture is not positive definite, so there are no "
            "standard errors; give a mixture that maximises the likelihood of these rows, with no "
            "more components than they tell apart (estep_xp.fit with variance_floor=0, tol=1e-10)"
        )
    return errors


def _itself(mixture: Mixture) -> Mixture:
    return mixture


@functools.partial(jax.jit, static_argnums=0)
def _standard_errors(
    of: Callable[[Mixture], Any], rows: tuple[AnyArray, ...], mixture: Mixture
) -> tuple[Any, AnyArray]:
    information = _information(rows, mixture)
    vector, mixture_of = _free(mixture)
    # In units in which its diagonal is 1: parameters may differ in theirs by many powers of ten.
    scale = 1.0 / jnp.sqrt(jnp.diagonal(information))
    lower = jnp.linalg.cholesky(information * scale[:, None] * scale[None, :])
    noise = vector.size * eps_of(vector)
    definite = jnp.all(jnp.diagonal(lower) ** 2 > noise)  # not so for NaN
    lower = jnp.where(definite, lower, math.nan)
    identity = jnp.eye(vector.size, dtype=vector.dtype)
    # The inverse is rootsᵀ roots.
    roots = solve_triangular(lower, identity, lower=True) * scale[None, :]

    def derivative(root: AnyArray) -> Any:
        return jax.jvp(lambda vector: of(mixture_of(vector)), (vector,), (root,))[1]

    def length(columns: AnyArray) -> AnyArray:
        return jnp.sqrt(jnp.sum(columns * columns, axis=0))

    return jax.tree.map(length, jax.vmap(derivative)(roots)), definite


def _free(mixture: Mixture) -> tuple[AnyArray, Callable[[AnyArray], Mixture]]:
    """The free parameters of a mixture as a vector, and the way back."""
    weights = mixture.weights
    components: Any = mixture.components
    family = family_of(components)
    triangular, normalized = family._triangular_names(), family._normalized_names()
    arrays, structure = jax.tree.flatten(components)
    names = list(named_arrays(components))
    places: list[tuple[Any, ...]] = []
    for i, name in enumerate(names):
        place: tuple[Any, ...] = (...,)
        if name in triangular:
            place = (..., *np.triu_indices(arrays[i].shape[-1]))
        elif name in normalized:
            place = (..., slice(None, -1))
            arrays[i] = arrays[i] / jnp.sum(arrays[i], axis=-1, keepdims=True)
        places.append(place)
    shares = weights / jnp.sum(weights)
    entries = [array[place] for array, place in zip(arrays, places, strict=True)]
    vector, unravel = ravel_pytree((shares[:-1], entries))

    def mixture_of(vector: AnyArray) -> Mixture:
        shares, entries = unravel(vector)
        last = 1.0 - jnp.sum(shares)
        fields = [
            jnp.zeros_like(array).at[place].set(entry)
            for array, place, entry in zip(arrays, places, entries, strict=True)
        ]
        for i, name in enumerate(names):
            if name in normalized:
                fields[i] = fields[i].at[..., -1].set(1.0 - jnp.sum(entries[i], axis=-1))
        return Mixture(jnp.append(shares, last), jax.tree.unflatten(structure, fields))

    return vector, mixture_of
