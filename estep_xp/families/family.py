"""What a family of components answers: the E-step and EM ask these questions and no others.

The package's own families subclass `Family`, or `RowFamily` (`row_family.py`) where a density is
written row by row. A user's class meets the open protocol instead (`open_family.py`).
"""

from __future__ import annotations

import abc
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from estep_xp.arrays.namespace import to_host
from estep_xp.arrays.validation import are_finite, check_array

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Components, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.arrays.random import Random
    from estep_xp.families.limits import Limit


class Evaluated(NamedTuple):
    """A block of rows and their log-joint under each component.

    `form` is what the family wants to know of the evaluation when it takes statistics.
    """

    x: Array
    log_joint: Array
    bound: float = math.inf  # of absolute values of the log-joint
    form: Any = None


class ObservedRows(NamedTuple):
    """A block of rows of which a part may be missing, or known with an error.

    In the layout of the block, features first or rows first.
    """

    x: Array  # some number where nothing was observed
    seen: Array  # flags of what was observed, shaped like x
    noise: Array | None  # variances, shaped like x, or covariances; 0 where nothing was observed


class Family(abc.ABC):
    """The questions to a family. Components are a NamedTuple of arrays with a leading axis k.

    The abstract methods have to be answered. The others have defaults, which suit a family whose
    parameters have no variances and which EM neither accelerates nor regularises.
    """

    __slots__ = ()

    _triangular_fields: ClassVar[tuple[str, ...]] = ()  # of which only the upper triangle counts
    _n_axes: ClassVar[int | None] = 2  # of observations: (n,) or (n, d); None where both will do
    _starts_from_centres: ClassVar[bool] = False  # `_spread` builds components around centres
    # Variances of features can differ, so that features have units of their own.
    _has_own_units: ClassVar[bool] = True
    _is_builtin: ClassVar[bool] = True  # no code by users computes the densities
    # Any finite row has a density that is a number.
    _has_full_support: ClassVar[bool] = True
    # The density has a second form, which is faster and may be off by a small absolute error.
    _has_two_forms: ClassVar[bool] = False
    # Sums over rows give the derivatives of the log-likelihood (`_expected_log_prob`).
    _has_expected_log_prob: ClassVar[bool] = False
    # Parameters have a form that may take any value (`_to_unconstrained`).
    _is_unconstrainable: ClassVar[bool] = False
    # Some features of a row have a distribution of the same family.
    _has_marginals: ClassVar[bool] = False
    # Sums over rows are known under other components, too (`_recentered`).
    _is_recenterable: ClassVar[bool] = False
    # Features that are missing can be integrated out, and errors of the others, too.
    _takes_missing: ClassVar[bool] = False
    _takes_noise: ClassVar[bool] = False
    # Probabilities of values are kept off 0 and 1 by counts of imagined rows.
    _takes_prior_counts: ClassVar[bool] = False
    # Shapes that no class and no rows tell: a start is made of components as a template.
    _needs_template: ClassVar[bool] = False
    _support: ClassVar[str] = "must be finite"  # what rows must be, in messages
    _record: ClassVar[type[Any]]  # the NamedTuple of the sums from which the family is estimated

    # --- parameters and rows ---------------------------------------------------------------------

    @abc.abstractmethod
    def _checked(self, space: Space) -> Components:
        """Return the components as arrays of `space`, their shapes and values checked."""

    @abc.abstractmethod
    def _n_components(self) -> int | None:
        """Number of components k; None if they do not say."""

    @abc.abstractmethod
    def _rows_shape(self) -> tuple[int | str, ...] | None:
        """Shape of the observations, as ("n", d); None for any with rows along the first axis."""

    @classmethod
    def _supports(cls, x: AnyArray) -> AnyArray:
        """Whether entries of finite observations, of any library, are inside the support."""
        return abs(x) < math.inf

    def _static_support(self) -> Any:
        """Return what answers `_supports` and `_support` for these components, and has a hash."""
        return type(self)

    def _n_parameters(self) -> int:
        """Number of free parameters; by default all numbers of all fields."""
        return sum(math.prod(array.shape) for array in self._parameters().values())

    def _parameters(self) -> dict[str, AnyArray]:
        """Return the components' arrays by the names of their fields."""
        record: Any = self
        return dict(zip(record._fields, record, strict=True))

    def _triangular_names(self) -> frozenset[str]:
        """Names of those parameters of which only the upper triangle counts."""
        return frozenset(self._triangular_fields)

    def _normalized_names(self) -> frozenset[str]:
        """Names of those parameters whose rows are normalised wherever they are used."""
        return frozenset()

    # --- a block of rows -------------------------------------------------------------------------

    @abc.abstractmethod
    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> Any:
        """Compute what all rows share; `log_weights` (k,) are part of all densities."""

    def _width(self, ops: BlockOps) -> int:
        """Scratch elements per row, beyond the row itself and its densities."""
        del ops
        return 0

    @abc.abstractmethod
    def _evaluate(self, ops: BlockOps, prepared: Any, x: Array) -> Evaluated:
        """Evaluate the log-joint of a block in the layout of `ops`."""

    # --- a block of incomplete rows --------------------------------------------------------------

    def _without_holes(self, ops: BlockOps, x: Array) -> Array:
        """Return a block with numbers in place of the NaN that may stand in it."""
        del ops
        return x

    def _placeholder(self, ops: BlockOps) -> Any:
        """Return an observation that is no bad input, to stand where nothing was observed."""
        del ops
        return 0.0

    def _row_order(self, x: Array) -> AnyArray | None:
        """Return an order of NumPy rows with holes in which blocks take less time, or None."""
        del x
        return None

    def _width_incomplete(self, ops: BlockOps) -> int:
        """Scratch elements per incomplete row, beyond those of a complete one."""
        raise NotImplementedError

    def _prepare_incomplete(self, ops: BlockOps, log_weights: Array | None) -> Any:
        """Compute what all incomplete rows share."""
        raise NotImplementedError

    def _evaluate_incomplete(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows
    ) -> tuple[Array, Any]:
        """Log-joints of what was observed, in the layout of `ops`, and the form for moments."""
        raise NotImplementedError

    def _moments_incomplete(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows, form: Any, responsibilities: Array
    ) -> tuple[Array, ...]:
        """Return expectations of what `_moments_block` returns, given what was observed.

        `form` is that of the evaluation, or None.
        """
        raise NotImplementedError

    def _conditional_moments(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows
    ) -> tuple[Array, Array]:
        """Means (rows, k, d) and covariances (rows, k, d, d) given what was observed."""
        raise NotImplementedError

    # --- estimation ------------------------------------------------------------------------------

    def _missing_method(self) -> str | None:
        """Name a method without which the family has no M-step; None if there is an M-step."""
        return None

    @abc.abstractmethod
    def _moments_block(
        self, ops: BlockOps, prepared: Any, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        """Return what a block adds to the sums from which the family is estimated."""

    def _moments(self, *sums: Array) -> Any:
        """Return the record of those sums."""
        return self._record(*sums)

    def _n_sums(self) -> int:
        """How many arrays those sums are."""
        record: Any = self._record
        return len(record._fields)

    def _shapes_of_sums(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of those sums; by default the parameters'."""
        return tuple(tuple(array.shape) for array in self._parameters().values())

    def _check_moments(self, name: str, moments: Any) -> None:
        """Raise unless this is the record of such sums."""
        expected = self._record
        if not isinstance(moments, expected):
            raise TypeError(f"{name} is a {type(moments).__name__}; expected {expected.__name__}")
        shapes = self._shapes_of_sums()
        for (field, array), shape in zip(moments._asdict().items(), shapes, strict=True):
            check_array(f"{name}.{field}", array, shape)

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        """Say which sums are none of any rows, given counts (k,); by default all may be some."""
        del xp, counts, moments
        return ()

    @abc.abstractmethod
    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: Any, floor: Any
    ) -> Components:
        """Return the components that maximise the expected log-likelihood.

        `counts` (k,) are positive, `floor` is added to variances; `empty` (k,) flags components
        without rows, which keep their parameters.
        """

    def _maximize_with_prior(
        self,
        xp: Namespace,
        counts: Array,
        empty: Array,
        moments: Any,
        floor: Any,
        prior: Any,
    ) -> Components:
        """Return what `_maximize` does, as if each value had been seen so many times more.

        A family without probabilities of values takes no notice.
        """
        del prior
        return self._maximize(xp, counts, empty, moments, floor)

    def _recentered(self, xp: Namespace, counts: Array, moments: Any, new: Any) -> Any:
        """Return the record of the same sums taken under new components."""
        raise NotImplementedError

    def _raise_if_degenerate(
        self, space: Space, counts: Array, empty: Array, moments: Any, floor: Any
    ) -> None:
        """Raise ValueError for the first parameter that this M-step cannot make usable."""
        new: Any = self._maximize(space.xp, counts, empty, moments, floor)
        for name, array in new._parameters().items():
            host = to_host(array)
            bad = np.argwhere(~np.isfinite(host))
            if len(bad):
                index = ", ".join(map(str, bad[0]))
                raise ValueError(
                    f"{name}[{index}] of the M-step is {host[tuple(bad[0])]}; {name} must be "
                    "finite: the rows of a component determine no such parameter"
                )

    def _is_usable(self) -> bool:
        """Whether these concrete NumPy parameters, of an M-step, can be used by an E-step.

        Floating-point warnings are on.
        """
        return all(are_finite(np.asarray(array)) for array in self._parameters().values())

    def _expected_log_prob(
        self, ops: BlockOps, old: Any, counts: Array, moments: tuple[Array, ...]
    ) -> Array:
        """Sum of expected log-densities (), given counts (k,) and moments about old components."""
        raise NotImplementedError

    # --- other uses of a distribution ------------------------------------------------------------

    def _cannot_sample(self) -> str | None:
        """Say what is missing to draw rows; None if nothing is."""
        return None

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        """Draw one row of the component of each label (n,)."""
        raise NotImplementedError

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Components:
        """Return the components' distribution of some features alone, in this order."""
        raise NotImplementedError

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Components:
        """Return the components' distribution of the other features, given values (f,)."""
        raise NotImplementedError

    # --- starts, floors and free parameters ------------------------------------------------------

    @classmethod
    def _as_points(cls, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows as points whose distances say how much rows differ, for starts by k-means."""
        return x

    @classmethod
    def _from_shares(cls, xp: Namespace, x: Array, responsibilities: Array) -> Any:
        """Return components that EM may start from, given rows and responsibilities (n, k).

        An E-step must be able to use the components whatever the rows are: all equal, say. Only
        families that start from centres are not asked.
        """
        raise NotImplementedError

    def _start_like(self, xp: Namespace, x: Array, responsibilities: Array) -> Any:
        """Return components of the shapes of these that EM may start from, as `_from_shares`.

        Only families that need a template are asked.
        """
        raise NotImplementedError

    def _starts_any_number(self) -> bool:
        """Whether a start like these may have another number of components."""
        return False

    def _start_parts(self) -> tuple[tuple[Any, Any], ...]:
        """Return parts to start one by one, each a class or a template, and their columns."""
        return ()

    @classmethod
    def _spread_rows(cls, xp: Namespace, means: Array, variances: Array, n_axes: int) -> Any:
        """Return components around means (k, d), given the variance of each feature (d,).

        `n_axes` is that of the rows: 1 for rows (n,), whose single feature is in column 0.
        """
        raise NotImplementedError

    def _floor(self, xp: Namespace, counts: Array, empty: Array, moments: Any) -> Array:
        """Return the default floor of variances: of each feature (d,), or of all ()."""
        del empty, moments
        return 0.0 * xp.sum(counts)

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[AnyArray, AnyArray]:
        """Return how large a share of the variances the floor is.

        Of each component the largest, in whatever direction (k,); and of each feature, (k, d), or
        of all features, (k,).
        """
        del xp, floor
        nothing = np.zeros(1)
        return nothing, nothing

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        """Return arrays that may take any value, from which `_from_unconstrained` builds."""
        raise NotImplementedError

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Any:
        """Return components with these free parameters."""
        raise NotImplementedError

    def _step_scales(self, xp: Namespace) -> tuple[Any, ...]:
        """Return factors that make steps of the free parameters free of units."""
        free = self._to_unconstrained(xp)
        return (1.0,) * len(free)

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        """Return the size of each number of each field, by which a linear solver scales it."""
        return tuple(xp.ones_like(array) for array in self._parameters().values())

    def _stays_above(self, xp: Namespace, floor: Any) -> Array | bool:
        """Whether all variances are at least at the floor."""
        del xp, floor
        return True
