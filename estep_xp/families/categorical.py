"""Categorical components: one of m kinds, each with its probability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp.arrays.namespace import is_concrete, namespace_of, to_host
from estep_xp.arrays.record_repr import parameters, sizes, summarized
from estep_xp.arrays.summation import sum_pairwise
from estep_xp.arrays.validation import check_non_negative, check_not_empty, check_shape
from estep_xp.families.independent_features import IndependentFeatures
from estep_xp.families.limits import Limit, at_least_zero, slack
from estep_xp.families.log_prob import log_prob
from estep_xp.families.row_family import rows_first, to_layout

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import FloatKM, FloatNK, LikeN, RealKM
    from estep_xp.families.family import ObservedRows


@summarized
class CategoricalStatistics(NamedTuple):
    """Counts of kinds under each component.

    Parameters
    ----------
    kinds : array, shape (k, m)
        Σ_i r_ik where x_i is j.
    """

    kinds: FloatKM

    def _shown_fields(self) -> dict[str, Any]:
        return sizes("km", "kinds", self.kinds)


class Kinds(NamedTuple):
    """The support of rows of m kinds."""

    m: int

    def _supports(self, x: AnyArray) -> AnyArray:
        """Whether entries of finite observations, of any library, are kinds."""
        return (x >= 0) & (x < self.m) & (x == namespace_of(x).floor(x))

    @property
    def _support(self) -> str:
        return f"must be a kind: a whole number from 0 to {self.m - 1}"


class _Probabilities(NamedTuple):
    probabilities: RealKM


@summarized
class Categorical(IndependentFeatures, _Probabilities):
    """Categorical components: rows of one of m kinds, each component with its probabilities.

    Parameters
    ----------
    probabilities : array, shape (k, m)
        Of each component and kind, >= 0; rows are normalised wherever they are used. One of 0 makes
        the kind impossible.

    Notes
    -----
    A start (`initialize`, `select`) needs components of the wished shape as a template: rows do not
    say how many kinds there are.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.Categorical([[0.7, 0.2, 0.1], [1.0, 1.0, 2.0]])
    >>> components.log_prob([0, 2]).round(4)
    array([[-0.3567, -1.3863],
           [-2.3026, -0.6931]])
    """

    __slots__ = ()

    _record = CategoricalStatistics
    _n_axes = 1
    _has_full_support = False
    _is_unconstrainable = True
    _is_recenterable = True
    _needs_template = True
    _takes_prior_counts = True
    _normalized_fields = ("probabilities",)

    def log_prob(self, x: LikeN) -> FloatNK:
        """Log-probability of each row under each component.

        Parameters
        ----------
        x : array, shape (n,)
            Kinds: whole numbers from 0 to m − 1.

        Returns
        -------
        array, shape (n, k)
            The logarithm of p_kj / Σ_l p_kl at j = x_i, in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value; x that is no such number, too.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.Categorical([[1.0, 0.0]]).log_prob([0, 1])
        array([[  0.],
               [-inf]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        return parameters("km", self._asdict())

    def _checked(self, space: Space) -> Self:
        name = "probabilities"
        probabilities = space.parameter(name, self.probabilities)
        check_shape(name, probabilities, ("k", "m"))
        check_not_empty(name, probabilities.shape[0])
        if probabilities.shape[1] == 0:
            raise ValueError(f"{name} has no columns; expected one for each kind")
        probabilities = check_non_negative(space, name, probabilities)
        if is_concrete(probabilities):
            none = np.flatnonzero(~to_host(probabilities).any(axis=1))
            if len(none):
                raise ValueError(f"{name}[{none[0]}] sums to 0; at least one must be positive")
        return type(self)(probabilities)

    def _n_components(self) -> int:
        return int(self.probabilities.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n",)

    def _static_support(self) -> Kinds:
        return Kinds(int(self.probabilities.shape[1]))

    def _normalized_names(self) -> frozenset[str]:
        return frozenset(["probabilities"])

    def _n_parameters(self) -> int:
        k, m = self.probabilities.shape
        return int(k * (m - 1))

    def _width(self, ops: BlockOps) -> int:
        del ops
        return int(self.probabilities.shape[1])

    def _log_table(self, xp: Namespace) -> Array:
        """Logarithms (k, m) of normalised probabilities."""
        p = self.probabilities
        largest = xp.max(p, axis=1, keepdims=True)
        # A row of zeros is 0 / 0; any other sum lies between 1 and m.
        total = _sum_kinds(xp, p / largest)
        some = p != 0  # no derivative passes through log 0
        logs = xp.where(some, xp.log(xp.where(some, p, 1.0)), -xp.inf)
        return logs - (xp.log(largest) + xp.log(total))

    def _log_prob_of_features(self, xp: Namespace, x: Array) -> Array:
        good = self._static_support()._supports(x)
        # NaN of 0 / 0 where x is no kind: a constant NaN may be lost in a compiler's hands.
        bad = (x - x) / xp.where(good, xp.ones_like(x), 0.0)
        kinds = xp.astype(xp.where(good, x, 0.0), xp.int32)
        by_kind = xp.permute_dims(self._log_table(xp), (1, 0))
        return xp.take(by_kind, kinds, axis=0) + bad[:, None]

    def _means_of_features(self) -> Array:
        return _mean_and_variance(self.probabilities)[0]

    def _variances_of_features(self) -> Array:
        return _mean_and_variance(self.probabilities)[1]

    def _statistics_of_rows(
        self, xp: Namespace, x: Array, responsibilities: Array
    ) -> CategoricalStatistics:
        by_component = xp.permute_dims(responsibilities, (1, 0))
        return CategoricalStatistics(xp.matmul(by_component, self._indicators(xp, x)))

    def _moments_incomplete(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows, form: Any, responsibilities: Array
    ) -> tuple[Array, ...]:
        del prepared, form
        xp = ops.xp
        x, seen = (rows_first(ops, array) for array in (rows.x, rows.seen))
        shares = to_layout(ops, responsibilities)
        (kinds,) = self._statistics_of_rows(xp, x, xp.where(seen[:, None], shares, 0.0))
        unseen = xp.sum(xp.where(seen[:, None], 0.0, shares), axis=0)
        return (kinds + unseen[:, None] * _normalized(xp, self.probabilities),)

    def _indicators(self, xp: Namespace, x: Array) -> Array:
        """1 where row i is of kind j, shape (n, m)."""
        return xp.astype(x[:, None] == _numbers(xp, self.probabilities), x.dtype)

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        kinds = moments.kinds
        alike = xp.abs(xp.sum(kinds, axis=1) - counts) <= slack(xp, kinds) * counts
        alike = xp.broadcast_to(alike[:, None], kinds.shape)
        words = "the kinds of a component must sum to its count"
        return at_least_zero("kinds", kinds), Limit("kinds", alike, words)

    def _maximize(
        self,
        xp: Namespace,
        counts: Array,
        empty: Array,
        moments: CategoricalStatistics,
        floor: Any,
    ) -> Self:
        del floor
        places = empty[:, None]
        shares = xp.where(places, self.probabilities, moments.kinds / counts[:, None])
        return type(self)(xp.where(places, shares, _normalized(xp, shares)))

    def _maximize_with_prior(
        self,
        xp: Namespace,
        counts: Array,
        empty: Array,
        moments: CategoricalStatistics,
        floor: Any,
        prior: Any,
    ) -> Self:
        more = CategoricalStatistics(moments.kinds + prior)
        # Shares are divided by their sum, so that counts (k,) need not grow with them.
        return self._maximize(xp, counts, empty, more, floor)

    def _recentered(self, xp: Namespace, counts: Array, moments: Any, new: Any) -> Any:
        del xp, counts, new  # counts of the rows themselves
        return moments

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        chosen = xp.take(_normalized(xp, self.probabilities), labels, axis=0)
        sums = xp.cumulative_sum(chosen, axis=1)
        total = sums[:, -1]
        place = random.uniform(tuple(total.shape)) * total
        place = xp.where(place < total, place, 0.0)  # rounding may reach the total
        passed = xp.astype(sums <= place[:, None], chosen.dtype)
        return xp.sum(passed, axis=1) + 0.0 * total  # a NaN stays one

    @classmethod
    def _as_points(cls, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (x[:, None] == np.unique(x)).astype(np.float64)

    def _starts_any_number(self) -> bool:
        return True

    def _start_like(self, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        (kinds,) = self._statistics_of_rows(xp, x, responsibilities)
        overall = xp.sum(kinds, axis=0) / xp.sum(responsibilities)
        # Two more rows, one of all rows' kinds and one of any kind: nothing begins as impossible.
        more = overall + 1.0 / float(self.probabilities.shape[1])
        return type(self)(_normalized(xp, kinds + more))

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return (self._log_table(xp),)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        (logits,) = free
        return type(self)(_normalized(xp, xp.exp(logits - xp.max(logits, axis=1, keepdims=True))))


def _sum_kinds(xp: Namespace, terms: Array) -> Array:
    """Sums (k, 1) over kinds."""
    total = sum_pairwise(lambda terms, axis: xp.sum(terms, axis=axis), terms, 1)
    return total[:, None]


def _numbers(xp: Namespace, like: Array) -> Array:
    """The kinds 0, 1, ... (1, m), on the device of probabilities."""
    return xp.cumulative_sum(xp.ones_like(like[:1, :]), axis=1) - 1.0


def _normalized(xp: Namespace, p: Array) -> Array:
    """Rows (k, m) that sum to 1."""
    shares = p / xp.max(p, axis=1, keepdims=True)
    return shares / _sum_kinds(xp, shares)


def _mean_and_variance(probabilities: Array) -> tuple[Array, Array]:
    """Mean and variance (k,) of the kinds as numbers."""
    xp = namespace_of(probabilities)
    p, numbers = _normalized(xp, probabilities), _numbers(xp, probabilities)
    means = xp.sum(numbers * p, axis=1)
    deviations = numbers - means[:, None]
    return means, xp.sum(deviations * deviations * p, axis=1)
