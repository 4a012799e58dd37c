"""Exponential components: times between events, whose rate is that of their component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from estep_xp.arrays.block import expand_like
from estep_xp.arrays.record_repr import summarized
from estep_xp.families.limits import Limit, at_least_zero
from estep_xp.families.log_prob import log_prob
from estep_xp.families.positive_features import PositiveFeatures

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import FloatKd, FloatNK, RealKd, RowsLike


@summarized
class ExponentialStatistics(NamedTuple):
    """Sums of rows under each component.

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
class Exponential(PositiveFeatures, _Rates):
    """Exponential components: waiting times, each component with its rate.

    Parameters
    ----------
    rates : array, shape (k,) or (k, d)
        Events in one unit of x, > 0, one over the mean: (k,) for x of shape (n,), or one for each
        feature, which are independent, for x of shape (n, d).

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.Exponential([2.0, 0.5])
    >>> components.log_prob([0.0, 3.0]).round(4)
    array([[ 0.6931, -0.6931],
           [-5.3069, -2.1931]])
    """

    __slots__ = ()

    _record = ExponentialStatistics
    _support = "must not be negative"

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n,) or (n, d)
            Numbers that are not negative.

        Returns
        -------
        array, shape (n, k)
            Σ_j log λ_kj − λ_kj x_j, in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value; a negative x, too.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.Exponential([[1.0, 2.0]]).log_prob([[0.0, 0.0], [1.0, 0.5]]).round(4)
        array([[ 0.6931],
               [-1.3069]])
        """
        return log_prob(self, x)

    @classmethod
    def _supports(cls, x: AnyArray) -> AnyArray:
        return x >= 0

    def _log_prob_of_features(self, xp: Namespace, x: Array) -> Array:
        rates, x = self.rates[None, ...], x[:, None, ...]
        # NaN of 0 / 0 where x is negative: a constant NaN may be lost in a compiler's hands.
        negative = (x - x) / xp.where(x >= 0, xp.ones_like(x), 0.0)
        return xp.log(rates) - rates * x + negative

    def _means_of_features(self) -> Array:
        return 1.0 / self.rates

    def _variances_of_features(self) -> Array:
        return 1.0 / self.rates / self.rates

    def _statistics_of_rows(
        self, xp: Namespace, x: Array, responsibilities: Array
    ) -> ExponentialStatistics:
        return ExponentialStatistics(xp.matmul(xp.permute_dims(responsibilities, (1, 0)), x))

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        del xp, counts
        return (at_least_zero("sums", moments.sums),)

    def _maximize(
        self,
        xp: Namespace,
        counts: Array,
        empty: Array,
        moments: ExponentialStatistics,
        floor: Any,
    ) -> Self:
        del floor
        (sums,) = moments
        # Rows of zeros have no rate that is most likely: it ends at the largest number.
        most = _largest_rate(xp, sums)
        means = sums / expand_like(counts, sums)
        rates = xp.where(means > 1.0 / most, 1.0 / xp.where(means > 0, means, 1.0), most)
        rates = xp.where(means >= 0, rates, xp.nan + means)
        return type(self)(xp.where(expand_like(empty, sums), self.rates, rates))

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[AnyArray, AnyArray]:
        del floor
        shares = xp.astype(self.rates >= _largest_rate(xp, self.rates), self.rates.dtype)
        largest = shares if shares.ndim == 1 else xp.max(shares, axis=1)
        return largest, shares

    def _recentered(self, xp: Namespace, counts: Array, moments: Any, new: Any) -> Any:
        del xp, counts, new  # sums of the rows themselves
        return moments

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        rates = xp.take(self.rates, labels, axis=0)
        return -xp.log1p(-random.uniform(tuple(rates.shape))) / rates

    @classmethod
    def _spread_rows(cls, xp: Namespace, means: Array, variances: Array, n_axes: int) -> Self:
        del variances
        means = means if n_axes == 2 else means[:, 0]
        return cls(1.0 / xp.where(means == 0, 1.0, means))

    @classmethod
    def _from_shares(cls, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        sums = xp.matmul(xp.permute_dims(responsibilities, (1, 0)), x)
        counts = xp.sum(responsibilities, axis=0)
        overall = xp.sum(sums, axis=0) / xp.sum(counts)
        # One more row, of the mean of all rows: no rate begins without bounds.
        means = (sums + overall) / expand_like(counts + 1.0, sums)
        return cls(1.0 / xp.where(means == 0, 1.0, means))


def _largest_rate(xp: Namespace, like: Array) -> float:
    return 0.25 * float(xp.finfo(like.dtype).max)
