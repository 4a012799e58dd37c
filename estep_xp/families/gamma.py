"""Gamma components: positive numbers whose deviations grow with their mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from estep_xp.arrays.block import expand_like
from estep_xp.arrays.namespace import is_concrete
from estep_xp.arrays.record_repr import summarized
from estep_xp.arrays.special import (
    log1p_minus,
    log_gamma_scaled,
    log_minus_digamma,
    solve_log_minus_digamma,
)
from estep_xp.families.limits import Limit, at_least_about_zero, slack
from estep_xp.families.log_prob import log_prob
from estep_xp.families.positive_features import (
    PositiveFeatures,
    sum_by_component,
)
from estep_xp.families.row_family import rows_first, to_layout

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import FloatKd, FloatNK, RealKd, RowsLike
    from estep_xp.families.family import ObservedRows

_FEWEST = 1e-3  # of a start, the least standard deviation over the mean
_LARGE = 100.0  # shapes above which logarithms of rows cost digits
_ROUNDINGS = 4.0  # of logarithms, by which means of rows far away are off


@summarized
class GammaStatistics(NamedTuple):
    """Sums of which none cancels, however far rows lie from the means m = shape / rate.

    Parameters
    ----------
    sums : array, shape (k,) or (k, d)
        Σ_i r_ik x_i.
    logs : array, shape (k,) or (k, d)
        Σ_i r_ik log(x_i / m_k).
    excess : array, shape (k,) or (k, d)
        Σ_i r_ik (x_i / m_k − 1 − log(x_i / m_k)), at least 0.
    """

    sums: FloatKd
    logs: FloatKd
    excess: FloatKd

    def _shown_fields(self) -> dict[str, Any]:
        return self._asdict()


class _ShapesRates(NamedTuple):
    shapes: RealKd
    rates: RealKd


@summarized
class Gamma(PositiveFeatures, _ShapesRates):
    """Gamma components: positive numbers, whose deviations grow with their mean.

    Parameters
    ----------
    shapes : array, shape (k,) or (k, d)
        Shape of each component, > 0: the squared mean over the variance. (k,) for x of shape (n,),
        or one for each feature, which are independent, for x of shape (n, d).
    rates : array, shape (k,) or (k, d)
        Shape over mean, > 0: one over the scale.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.Gamma(shapes=[1.0, 9.0], rates=[2.0, 3.0])
    >>> components.log_prob([0.5, 3.0]).round(4)
    array([[-0.3069, -7.7623],
           [-5.3069, -0.9282]])
    """

    __slots__ = ()

    _record = GammaStatistics
    _support = "must be positive"

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n,) or (n, d)
            Positive numbers.

        Returns
        -------
        array, shape (n, k)
            Σ_j a_kj log b_kj + (a_kj − 1) log x_j − b_kj x_j − log Γ(a_kj), in nats, with shapes a
            and rates b.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value; x that is not positive, too.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.Gamma([[1.0, 1e8]], [[1.0, 1e8]]).log_prob([[1.0, 1.0]]).round(4)
        array([[7.2914]])
        """
        return log_prob(self, x)

    @classmethod
    def _supports(cls, x: AnyArray) -> AnyArray:
        return x > 0

    def _placeholder(self, ops: BlockOps) -> Any:
        del ops
        return 1.0

    def _log_prob_of_features(self, xp: Namespace, x: Array) -> Array:
        shapes, rates = self.shapes[None, ...], self.rates[None, ...]
        good = x > 0
        # NaN of 0 / 0 where x is not positive: a constant NaN may be lost in a compiler's hands.
        bad = (x - x) / xp.where(good, xp.ones_like(x), 0.0)
        x = xp.where(good, x, 1.0)
        log_x = (xp.log(x) + bad)[:, None, ...]
        # With v = x / mean it is shape (log v − (v − 1)) − log x and what the shape alone says:
        # large shapes cancel, where v − 1 = exp(log v) − 1 is of the size of log v.
        log_v = log_x + (xp.log(rates) - xp.log(shapes))
        near = xp.abs(log_v) < 0.5
        excess = xp.where(
            near,
            shapes * xp.expm1(xp.where(near, log_v, 0.0)),
            x[:, None, ...] * rates - shapes,
        )
        # Logarithms of rows and means have no digits left for a small log v, and v − 1 has all.
        most = _largest_share(xp, x)
        plain = (shapes > _LARGE) & (shapes < most) & (rates > 1.0 / most) & (rates < most)
        if is_concrete(plain) and not bool(xp.any(plain)):
            return (shapes * log_v - excess) - log_x - log_gamma_scaled(xp, shapes)
        means = xp.where(plain, shapes, 1.0) / xp.where(plain, rates, 1.0)
        near = near & plain
        share = (xp.where(near, x[:, None, ...], means) - means) / means
        bent = shapes * log1p_minus(xp, share)
        inner = xp.where(near, bent, shapes * log_v - excess)
        return inner - log_x - log_gamma_scaled(xp, shapes)

    def _means_of_features(self) -> Array:
        return self.shapes / self.rates

    def _variances_of_features(self) -> Array:
        return self.shapes / self.rates / self.rates

    def _statistics_of_rows(
        self, xp: Namespace, x: Array, responsibilities: Array
    ) -> GammaStatistics:
        terms = self._terms_of_features(xp, x)
        return GammaStatistics(
            xp.matmul(xp.permute_dims(responsibilities, (1, 0)), x),
            *(sum_by_component(xp, responsibilities, term) for term in terms),
        )

    def _moments_incomplete(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows, form: Any, responsibilities: Array
    ) -> tuple[Array, ...]:
        del prepared, form
        xp = ops.xp
        x, seen = (rows_first(ops, array) for array in (rows.x, rows.seen))
        shares, seen = to_layout(ops, responsibilities), seen[:, None, ...]
        # What is expected of a feature that was not observed.
        excess = log_minus_digamma(xp, self.shapes)
        expected = self._means_of_features(), -excess, excess
        terms = x[:, None, ...], *self._terms_of_features(xp, x)
        return tuple(
            sum_by_component(xp, shares, xp.where(seen, term, one[None, ...]))
            for term, one in zip(terms, expected, strict=True)
        )

    def _terms_of_features(self, xp: Namespace, x: Array) -> tuple[Array, Array]:
        """Of v = x / mean, log v and v − 1 − log v, none of them infinite.

        A responsibility of 0 would make NaN of an infinite number.
        """
        means = self._means_of_features()[None, ...]
        x = x[:, None, ...]
        most, least = _largest_share(xp, x), float(xp.finfo(x.dtype).smallest_normal)
        ratio, share = x / means, (x - means) / means
        near = xp.abs(share) < 0.5
        inside = xp.where(near, share, 0.0)
        bent = log1p_minus(xp, inside)
        plain = (ratio < most) & (ratio > least)
        logs = xp.where(plain, xp.log(xp.where(plain, ratio, 1.0)), xp.log(x) - xp.log(means))
        logs = xp.where(near, inside + bent, logs)
        share = xp.where(share < most, share, most)
        return logs, xp.where(near, -bent, share - logs)

    def _shapes_of_sums(self) -> tuple[tuple[int, ...], ...]:
        return (tuple(self.shapes.shape),) * 3

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        counts = expand_like(counts, moments.sums)
        sums, logs, excess = moments
        size = sums / self._means_of_features() + counts + xp.abs(logs)
        # Far away a row's share of the excess is cut off.
        far = ~(size < _largest_share(xp, sums))
        gap = sums / self._means_of_features() - counts - logs - excess
        alike = far | (xp.abs(gap) <= slack(xp, sums) * size)
        n = xp.where(counts > 0, counts, 1.0)
        good = xp.where(sums > 0, sums, 1.0)
        most = n * _log_ratio(xp, good / n, self._means_of_features())
        jensen = (counts <= 0) | (logs <= most + slack(xp, sums) * (n + xp.abs(most)))
        return (
            Limit("sums", (sums > 0) | ((counts <= 0) & (sums == 0)), "sums must be positive"),
            Limit("logs", jensen, "the mean of logarithms must be at most the log of the mean"),
            at_least_about_zero(xp, "excess", excess, size),
            Limit("excess", alike, "must be sums / means − counts − logs"),
        )

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: GammaStatistics, floor: Any
    ) -> Self:
        del floor
        empty = expand_like(empty, moments.sums)
        counts = expand_like(counts, moments.sums)
        sums, logs, excess = (xp.where(empty, 1.0, one / counts) for one in moments)
        old = self._means_of_features()
        # Where rows are near the old mean, v − 1 has a mean to more digits than v; from there on
        # v has one, and its logarithm, which says what rows have in common, may be large.
        near = excess < 1.0
        shift = xp.where(near, logs + excess, 0.0)
        means = xp.where(excess < 0.01, old + old * shift, sums)
        moved = _log_ratio(xp, xp.where(near, old, sums), old)
        # log(mean of x) − (mean of log x), which log a − ψ(a) of the new shape a has to be.
        gap = xp.where(near, log1p_minus(xp, shift) + excess, moved - logs)
        # Rows that are equal have no shape that is most likely: it ends at the largest number, or
        # from afar where equal rows cannot be told from others.
        size = xp.where(near, excess, xp.abs(moved) + xp.abs(logs))
        rounding = _ROUNDINGS * float(xp.finfo(gap.dtype).eps) * size
        least = 0.5 / _largest_shape(xp, gap) + rounding
        inside = xp.where(gap > least, gap, xp.where(gap <= least, least, gap))
        shapes = solve_log_minus_digamma(xp, inside)
        return type(self)(
            xp.where(empty, self.shapes, shapes), xp.where(empty, self.rates, shapes / means)
        )

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[AnyArray, AnyArray]:
        del floor
        shares = self.shapes / _largest_shape(xp, self.shapes)
        largest = shares if shares.ndim == 1 else xp.max(shares, axis=1)
        return largest, shares

    def _recentered(self, xp: Namespace, counts: Array, moments: Any, new: Any) -> Any:
        old, means = self._means_of_features(), new._means_of_features()
        sums, logs, excess = moments
        counts = expand_like(counts, sums)
        turn = (old - means) / means  # of old / new − 1, to all digits
        near = xp.abs(turn) < 0.5
        inside = xp.where(near, turn, 0.0)
        far = _log_ratio(xp, old, means)
        bent = xp.where(near, log1p_minus(xp, inside), far - turn)
        shifted = logs + counts * xp.where(near, inside + bent, far)
        # Near the old mean from Σ r (x / old − 1) = logs + excess, elsewhere from the rows.
        close = excess + (logs + excess) * turn - counts * bent
        excess = xp.where(excess < counts, close, sums / means - counts - shifted)
        return GammaStatistics(sums, shifted, excess)

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        shapes, rates = (xp.take(a, labels, axis=0) for a in (self.shapes, self.rates))
        drawn = random.gamma(shapes) / rates
        least = float(xp.finfo(drawn.dtype).smallest_normal)  # a small shape draws less
        return xp.where(drawn < least, least, drawn)

    @classmethod
    def _spread_rows(cls, xp: Namespace, means: Array, variances: Array, n_axes: int) -> Self:
        shares = variances[None, :] / means / means  # squared deviations over means
        if n_axes == 1:
            means, shares = means[:, 0], shares[:, 0]
        return cls._of_means(xp, means, shares)

    @classmethod
    def _from_shares(cls, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        counts = xp.sum(responsibilities, axis=0)
        by_row = xp.sum(responsibilities, axis=1)
        shares = expand_like(by_row, x)
        overall = xp.sum(shares * x, axis=0) / xp.sum(by_row)
        whole = xp.sum(shares * (x / overall - 1.0) ** 2, axis=0) / xp.sum(by_row)
        # One more row, that is and varies like all rows.
        sums = xp.matmul(xp.permute_dims(responsibilities, (1, 0)), x)
        counts = expand_like(counts + 1.0, sums)
        means = (sums + overall) / counts
        squares = (x[:, None, ...] / means[None, ...] - 1.0) ** 2
        shares = (sum_by_component(xp, responsibilities, squares) + whole) / counts
        return cls._of_means(xp, means, shares)

    @classmethod
    def _of_means(cls, xp: Namespace, means: Array, shares: Array) -> Self:
        """Components by their means, and their variances over the squares of these."""
        shares = xp.where(shares < _FEWEST**2, _FEWEST**2, shares)
        return cls(1.0 / shares, 1.0 / shares / means)


def _log_ratio(xp: Namespace, x: Array, y: Array) -> Array:
    """log(x / y), also where the ratio overflows."""
    ratio = x / y
    good = (ratio < _largest_share(xp, x)) & (ratio > 1.0 / _largest_share(xp, x))
    return xp.where(good, xp.log(xp.where(good, ratio, 1.0)), xp.log(x) - xp.log(y))


def _largest_shape(xp: Namespace, like: Array) -> float:
    """Where rows are as equal as their dtype can tell."""
    return 1e-3 / float(xp.finfo(like.dtype).eps) ** 2


def _largest_share(xp: Namespace, like: Array) -> float:
    return float(xp.finfo(like.dtype).max) ** 0.5
