"""How any family is run on a block of rows: the package's own, a user's, or given log-densities.

A user's family is an object with `log_prob(x) -> (n, k)`. The package's own also check their
parameters, prepare what all rows share, follow the layout of a block, and can be estimated.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from estep_xp.arrays.array_types import Array, Components, Namespace
from estep_xp.arrays.block import BlockOps, expand_components, expand_rows
from estep_xp.arrays.namespace import Space, library_of
from estep_xp.arrays.validation import check_shape, shape_text


class Evaluated(NamedTuple):
    """A block of rows and their log-densities under each component, weights included.

    `form` is what the family that made it wants to know of it later.
    """

    x: Array
    log_joint: Array
    bound: float = math.inf  # of their absolute values
    form: Any = None


class Forms(NamedTuple):
    """What all rows share, for two forms of the densities of a block."""

    exact: Array  # (): whether the quicker one is
    quick: Any
    sure: Any


class BlockFamily:
    """What one of the package's own families answers."""

    __slots__ = ()

    _is_univariate: ClassVar[bool] = False  # observations are numbers, not rows of features

    def _checked(self, space: Space) -> Self:
        """Return the components as arrays of `space`, their shapes and values checked."""
        raise NotImplementedError

    def _n_components(self) -> int:
        raise NotImplementedError

    def _rows_shape(self) -> tuple[int | str, ...]:
        """Shape of the observations, as ("n", d)."""
        raise NotImplementedError

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> Any:
        """What all rows share; `log_weights` (k,) are part of all densities."""
        raise NotImplementedError

    def _width(self, ops: BlockOps) -> int:
        """Numbers that a row needs meanwhile, beyond itself and its densities."""
        del ops
        return 0

    def _evaluated(self, ops: BlockOps, prepared: Any, x: Array) -> Evaluated:
        """Log-densities of a block in the layout of `ops`."""
        raise NotImplementedError

    def _moments_block(
        self, ops: BlockOps, prepared: Any, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        """What a block adds to the sums from which the family is estimated."""
        raise NotImplementedError

    def _forms(self, ops: BlockOps, prepared: Any, x: Array) -> Forms | None:
        """Two ways to evaluate a block and to take its moments, where there is a quicker one."""
        del ops, prepared, x
        return None

    def _expected(
        self, ops: BlockOps, old: Self, counts: Array, moments: tuple[Array, ...]
    ) -> Array:
        """Sum of expected log-densities (), given counts (k,) and moments about old components."""
        raise NotImplementedError

    @staticmethod
    def _moments(*sums: Array) -> Any:
        """Return the record of those sums, a NamedTuple."""
        raise NotImplementedError

    def _check_moments(self, name: str, moments: Any) -> None:
        """Raise unless this is such a record, of the shapes of these components."""
        raise NotImplementedError

    def _maximized(
        self, xp: Namespace, counts: Array, lost: Array, moments: Any, floor: Any
    ) -> Self:
        """Return the components that maximise the expected log-likelihood.

        `counts` (k,) are positive, `floor` is added to variances; components that are `lost` (k,)
        keep their parameters.
        """
        raise NotImplementedError

    def _estimated(
        self, xp: Namespace, counts: Array, lost: Array, moments: Any, floor: Any
    ) -> tuple[Array, Array]:
        """Return their means and covariances, before anything is factorised."""
        raise NotImplementedError

    def _floor(self, xp: Namespace, counts: Array, lost: Array, moments: Any) -> Array:
        """Return the floor of variances for want of another: of each feature (d,), or of all ()."""
        raise NotImplementedError

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[Array, Array]:
        """Return how large a share of variances the floor makes up.

        Of each component the largest, in whatever direction (k,); and of each feature, (k, d), or
        of all of them, (k,).
        """
        raise NotImplementedError

    @staticmethod
    def _refuse(covariances: np.ndarray[Any, Any], remedy: str) -> None:
        """Raise ValueError for the first of these covariances that has no usable factor."""
        raise NotImplementedError

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        """Return components at `means` (k, d), all with the same variances (d,) of features."""
        raise NotImplementedError

    def _n_parameters(self) -> int:
        """How many numbers may be chosen freely."""
        raise NotImplementedError

    def _free(self, xp: Namespace) -> tuple[Array, ...]:
        """Return the means and numbers that may take any value, from which `_from_free` builds."""
        raise NotImplementedError

    @classmethod
    def _from_free(cls, xp: Namespace, *free: Array) -> Self:
        raise NotImplementedError

    def _scales(self, xp: Namespace) -> Array:
        """Return the reciprocal of the deviation of each mean's features, shaped like means."""
        raise NotImplementedError


class Given(NamedTuple):
    """The family of `posterior`: its rows are log-densities already."""

    def log_prob(self, x: Array) -> Array:
        """Return the rows."""
        return x


def arrays_of(components: Components) -> dict[str, Any]:
    """The named arrays of a family that is a NamedTuple; other objects keep theirs private."""
    fields: tuple[str, ...] = getattr(components, "_fields", ())
    values = {name: getattr(components, name) for name in fields}
    if isinstance(components, BlockFamily):
        return values
    return {f"components.{name}": v for name, v in values.items() if library_of(v)}


def check_components(space: Space, components: Components, k: int) -> Components:
    """Components with everything checked that can be, and as many as there are weights."""
    if not isinstance(components, BlockFamily):
        return components
    checked = components._checked(space)
    if checked._n_components() != k:
        raise ValueError(
            f"weights has shape ({k},) but means describe {checked._n_components()} components; "
            "expected one weight a component"
        )
    return checked


def check_rows_shape(name: str, components: Components, x: Array) -> None:
    """Raise unless `x` has the shape of observations that `components` describe."""
    if not isinstance(components, BlockFamily):
        if len(x.shape) == 0:
            raise ValueError(f"{name} has shape (); expected (n, ...), one row an observation")
        return
    expected = components._rows_shape()
    if len(expected) == len(x.shape) == 1:
        return
    hint = hint_for_rows(name, tuple(x.shape), len(expected), expected[-1])
    check_shape(name, x, expected, f" for {type(components).__name__} components{hint}")


def hint_for_rows(name: str, shape: tuple[Any, ...], n_axes: int, d: Any = None) -> str:
    """What to give for rows that are to have so many axes, and d features if that is known."""
    if n_axes == 1 and len(shape) == 2 and shape[1] == 1:
        return f"; give {name}[:, 0]"
    if n_axes == 2 and len(shape) == 1:
        rows, row = f"{name}[:, None] for n rows of one feature", f"{name}[None, :] for one row"
        hints = [rows] if d in (None, 1) else []
        hints += [row] if d is None or d == shape[0] else []
        return f"; give {', '.join(hints)}" if hints else ""
    return ""


def prepare(ops: BlockOps, components: Components, log_weights: Array | None) -> Any:
    """What all blocks share; without `log_weights` they are those of densities alone."""
    return components._prepare(ops, log_weights) if isinstance(components, BlockFamily) else None


def width(ops: BlockOps, components: Components) -> int:
    """Numbers that a row needs meanwhile, beyond itself and its densities."""
    return components._width(ops) if isinstance(components, BlockFamily) else 0


def evaluated(
    ops: BlockOps, components: Components, prepared: Any, log_weights: Array, x: Array
) -> Evaluated:
    """Log-joints of a block, in the layout of `ops`."""
    if isinstance(components, BlockFamily):
        return components._evaluated(ops, prepared, x)
    log_prob = _log_prob_of(ops, components, x, log_weights.shape[0])
    return Evaluated(x, log_prob + expand_components(log_weights, ops.axis))


def forms(ops: BlockOps, components: Components, prepared: Any, x: Array) -> Forms | None:
    """Two ways to evaluate a block and to take its moments, where one has to be chosen."""
    if not ops.decides_per_block or not isinstance(components, BlockFamily):
        return None
    return components._forms(ops, prepared, x)


def _log_prob_of(ops: BlockOps, components: Components, x: Array, k: int) -> Array:
    """Log-densities by another family than the package's."""
    if isinstance(components, Given):
        return x
    xp = ops.xp
    rows = x if ops.axis == 1 else xp.moveaxis(x, -1, 0)
    log_prob = components.log_prob(rows)
    expected = (rows.shape[0], k)
    actual = getattr(log_prob, "shape", None)
    if actual is None or tuple(actual) != expected:
        got = type(log_prob).__name__ if actual is None else f"shape {shape_text(tuple(actual))}"
        raise ValueError(
            f"components.log_prob(x) gives {got}; expected shape {shape_text(expected)}: one row "
            "an observation, one column a weight"
        )
    log_prob = xp.astype(log_prob, x.dtype, copy=False)
    return log_prob if ops.axis == 1 else xp.permute_dims(log_prob, (1, 0))


def moments_block(
    ops: BlockOps,
    components: Components,
    prepared: Any,
    block: Evaluated,
    responsibilities: Array,
) -> tuple[Array, ...]:
    """What a block adds to the sums from which the family is estimated."""
    return estimable(components)._moments_block(ops, prepared, block, responsibilities)


def expected(
    ops: BlockOps,
    components: Components,
    old: Components,
    counts: Array,
    moments: tuple[Array, ...],
) -> Array:
    """Sum of expected log-densities (), given counts (k,) and moments about old components."""
    return estimable(components)._expected(ops, estimable(old), counts, moments)


def estimable(components: Components) -> BlockFamily:
    """Return `components`, of a family that can be estimated; TypeError for any other."""
    if not isinstance(components, BlockFamily):
        raise TypeError(
            f"components are a {type(components).__name__}, which has a density but no M-step; "
            "expected one of the package's families, such as FullGaussian"
        )
    return components


def is_estimable(components: Components) -> bool:
    """Whether components are of a family that can be estimated."""
    return isinstance(components, BlockFamily)


def is_own(components: Components) -> bool:
    """Whether no code by others computes the densities."""
    return isinstance(components, (BlockFamily, Given))


def takes_any_row(components: Components) -> bool:
    """Whether any finite row has a density that is a number; a user's family may have a support."""
    return isinstance(components, BlockFamily)


def nan_where_infinite(ops: BlockOps, x: Array) -> Array:
    """Zeros (rows,), but NaN for rows that are not finite, where no one can check the results.

    An infinite observation is infinitely far from every mean, which looks like any other outlier.
    """
    nothing = 0.0 * x
    if x.ndim > 1:
        others = tuple(range(x.ndim - 1)) if ops.axis == 0 else tuple(range(1, x.ndim))
        nothing = ops.xp.sum(nothing, axis=others)
    # It has no derivative, or one that is NaN further on would come back to x.
    return ops.xp.where(nothing == 0, ops.xp.zeros_like(nothing), math.nan)


def marked(ops: BlockOps, x: Array, values: Array) -> Array:
    """Values of a block (components by rows), but NaN for rows that are not finite."""
    return values + expand_rows(nan_where_infinite(ops, x), ops.axis)
