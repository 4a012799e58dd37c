"""Poisson components: counts, whose rate is that of their component."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays.block import expand_like
from estep_xp.arrays.namespace import is_concrete, namespace_of
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.arrays.special import log_gamma, x_log_y
from estep_xp.arrays.summation import sum_pairwise
from estep_xp.arrays.validation import check_non_negative, check_not_empty
from estep_xp.families.independent_features import IndependentFeatures
from estep_xp.families.limits import Limit, at_least_zero
from estep_xp.families.linear_features import LinearForm, are_tables, sum_exactly
from estep_xp.families.log_prob import log_prob

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import FloatKd, FloatNK, RealKd, RowsLike

_MANY, _ROWS_PER_ENTRY = 200, 4  # counts from which on a table of factorials is faster
_LARGEST = 1e4  # counts whose factorials a sum may hold to 1e-12


@summarized
class PoissonStatistics(NamedTuple):
    """Sums of counts under each component.

    Parameters
    ----------
    sums : array, shape (k,) or (k, d)
        Σ_i r_ik x_i.
    """

    sums: FloatKd

    def _shown_fields(self) -> dict[str, Any]:
        return self._asdict()


class _Rates(NamedTuple):
    rates: RealKd


@summarized
class Poisson(IndependentFeatures, _Rates):
    """Poisson components: counts of events, each component with its rate.

    Parameters
    ----------
    rates : array, shape (k,) or (k, d)
        Expected count of each component, >= 0: (k,) for x of shape (n,), or one for each feature,
        which are independent, for x of shape (n, d). A rate of 0 makes every count but 0
        impossible.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.Poisson([2.0, 9.0])
    >>> components.log_prob([0.0, 3.0]).round(4)
    array([[-2.    , -9.    ],
           [-1.7123, -4.2001]])
    """

    __slots__ = ()

    _record = PoissonStatistics
    _n_axes = None
    _has_full_support = False
    _has_zero_factors = True
    _is_unconstrainable = True
    _is_recenterable = True
    _has_marginals = True
    _support = "must be a count: a whole number, not negative"

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-probability of each row under each component.

        Parameters
        ----------
        x : array, shape (n,) or (n, d)
            Counts.

        Returns
        -------
        array, shape (n, k)
            Σ_j x_j log λ_kj − λ_kj − log x_j!, in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value; x that is no count, too.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.Poisson([[1.0, 0.0]]).log_prob([[2.0, 0.0], [2.0, 1.0]]).round(4)
        array([[-1.6931],
               [   -inf]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        return parameters("kd" if getattr(self.rates, "ndim", 1) == 2 else "k", self._asdict())

    def _checked(self, space: Space) -> Self:
        rates = space.parameter("rates", self.rates)
        if rates.ndim not in (1, 2):
            shape = tuple(rates.shape)
            raise ValueError(f"rates has shape {shape}; expected (k,) or (k, d)")
        check_not_empty("rates", rates.shape[0])
        return type(self)(check_non_negative(space, "rates", rates))

    def _n_components(self) -> int:
        return int(self.rates.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n", *self.rates.shape[1:])

    @classmethod
    def _supports(cls, x: Array) -> Array:
        return (x >= 0) & (x == namespace_of(x).floor(x))

    def _width(self, ops: BlockOps) -> int:
        del ops
        k, *features = self.rates.shape
        return int(k * features[0]) if features else 0

    def _linear_form(self, x: AnyArray) -> LinearForm | None:
        rates: AnyArray = self.rates
        if not (are_tables(x, rates) and (rates > 0).all()):
            return None
        if not ((x >= 0) & (x <= _LARGEST) & (x == np.floor(x))).all():
            return None
        slopes = np.log(rates)
        size = float((x @ np.abs(slopes).max(axis=0)).max())
        form = LinearForm(slopes, size, -sum_exactly(rates))
        if form.slices(x.shape[1]) is None:  # before the factorials, which would be in vain
            return None
        logs = _log_factorials(np, x)  # each is right to 2 eps
        of_rows = -sum_pairwise(lambda terms, axis: terms.sum(axis=axis), logs, 1)
        roundings = 4 + 3 + math.ceil(math.log2(x.shape[1]))
        return form._replace(of_rows=of_rows, roundings=roundings)

    def _log_prob_of_features(self, xp: Namespace, x: Array) -> Array:
        rates, x = self.rates[None, ...], x[:, None, ...]
        is_count = self._supports(x)
        x = xp.where(is_count, x, 0.0)
        less, factorials = _factorials(xp, x)
        # Less work where values can be looked at and there is no 0 log 0.
        plain = isinstance(less, float) and is_concrete(rates) and bool(xp.all(rates > 0))
        if plain:
            terms = x * xp.log(rates) - rates - factorials
        else:
            terms = x_log_y(xp, x, rates, less) - rates - factorials
        if is_concrete(is_count) and bool(xp.all(is_count)):
            return terms
        return xp.where(is_count, terms, xp.nan)

    def _zero_factors(self, xp: Namespace, x: Array) -> tuple[Array, Array]:
        rates, x = self.rates[None, ...], x[:, None, ...]
        # Rates to the power of counts.
        powers = xp.where((rates == 0) & (x > 0), xp.where(x > 1, 2.0 + 0.0 * x, x), 0.0 * x)
        return rates + 0.0 * powers, powers

    def _means_of_features(self) -> Array:
        return self.rates

    def _variances_of_features(self) -> Array:
        return self.rates

    def _statistics_of_rows(
        self, xp: Namespace, x: Array, responsibilities: Array
    ) -> PoissonStatistics:
        by_component = xp.permute_dims(responsibilities, (1, 0))
        return PoissonStatistics(xp.matmul(by_component, x))

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        del xp, counts
        return (at_least_zero("sums", moments.sums),)

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: PoissonStatistics, floor: Any
    ) -> Self:
        del floor
        (sums,) = moments
        new = sums / expand_like(counts, sums)
        return type(self)(xp.where(expand_like(empty, sums), self.rates, new))

    def _recentered(self, xp: Namespace, counts: Array, moments: Any, new: Any) -> Any:
        del xp, counts, new  # sums of the rows themselves
        return moments

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        rates = xp.take(self.rates, labels, axis=0)
        return random.poisson(rates) + 0.0 * rates  # a NaN stays one

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Self:
        return type(self)(xp.stack([self.rates[:, j] for j in features], axis=1))

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Self:
        del known, values  # features are independent
        return self._marginal(xp, others)

    @classmethod
    def _spread_rows(cls, xp: Namespace, means: Array, variances: Array, n_axes: int) -> Self:
        del xp, variances
        return cls(means if n_axes == 2 else means[:, 0])

    @classmethod
    def _from_shares(cls, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        sums = xp.matmul(xp.permute_dims(responsibilities, (1, 0)), x)
        counts = xp.sum(responsibilities, axis=0)
        overall = xp.sum(sums, axis=0) / xp.sum(counts)
        # One more row, of the mean of all rows: no rate begins at zero unless all counts are.
        return cls((sums + overall) / expand_like(counts + 1.0, sums))

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return (xp.log(self.rates),)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        return type(self)(xp.exp(free[0]))


def _log_factorials(xp: Namespace, x: Array) -> Array:
    """Log x! of concrete counts: of many that are small from a table."""
    n = math.prod(x.shape)
    if n < _MANY or not isinstance(x, np.ndarray):  # others may want a derivative
        return log_gamma(xp, x + 1.0)
    most = int(xp.max(x))
    if most * _ROWS_PER_ENTRY > n:
        return log_gamma(xp, x + 1.0)
    table = log_gamma(xp, xp.arange(1.0, most + 2.0, dtype=x.dtype))
    values: Array = table[xp.astype(x, xp.int64)]
    return values


def _factorials(xp: Namespace, x: Array) -> tuple[Array | float, Array]:
    """Logarithms of factorials as x · less + rest, since those of the largest counts overflow."""
    large = x > 1e-3 * float(xp.finfo(x.dtype).max)
    if is_concrete(large) and not bool(xp.any(large)):
        return 0.0, _log_factorials(xp, x)
    # It is x (log x − 1) there, but for what rounding takes.
    less = xp.where(large, xp.log(xp.where(large, x, 1.0)) - 1.0, 0.0)
    return less, log_gamma(xp, xp.where(large, 1.0, x) + 1.0)
