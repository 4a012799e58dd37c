"""What families of positive features share: parameters (k,) or (k, d) that are positive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from estep_xp.arrays.record_repr import parameters
from estep_xp.arrays.validation import check_not_empty, check_positive, check_shape, shape_text
from estep_xp.families.independent_features import IndependentFeatures

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space


class PositiveFeatures(IndependentFeatures):
    """Independent features with positive parameters: (k,) for rows (n,), (k, d) for (n, d)."""

    __slots__ = ()

    _n_axes = None
    _has_full_support = False
    _is_unconstrainable = True
    _is_recenterable = True
    _has_marginals = True

    @property
    def _first(self) -> AnyArray:
        return next(iter(self._parameters().values()))

    def _shown_fields(self) -> dict[str, Any]:
        axes = "kd" if getattr(self._first, "ndim", 1) == 2 else "k"
        return parameters(axes, self._parameters())

    def _checked(self, space: Space) -> Any:
        named = {name: space.parameter(name, value) for name, value in self._parameters().items()}
        (first, array), *others = named.items()
        if array.ndim not in (1, 2):
            shape = shape_text(tuple(array.shape))
            raise ValueError(f"{first} has shape {shape}; expected (k,) or (k, d)")
        check_not_empty(first, array.shape[0])
        for name, other in others:
            check_shape(name, other, tuple(array.shape), f", the shape of {first}")
        return type(self)(*(check_positive(space, name, one) for name, one in named.items()))

    def _n_components(self) -> int:
        return int(self._first.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n", *self._first.shape[1:])

    def _width(self, ops: BlockOps) -> int:
        del ops
        k, *features = self._first.shape
        return int(k * features[0]) if features else 0

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Any:
        fields = self._parameters().values()
        return type(self)(*(xp.stack([a[:, j] for j in features], axis=1) for a in fields))

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Any:
        del known, values  # features are independent
        return self._marginal(xp, others)

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return tuple(map(xp.log, self._parameters().values()))

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        return type(self)(*map(xp.exp, free))

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        del xp
        return tuple(self._parameters().values())


def sum_by_component(xp: Namespace, responsibilities: Array, terms: Array) -> Array:
    """Sums over rows of terms (n, k) or (n, k, d), by responsibilities (n, k)."""
    shares = responsibilities if terms.ndim == 2 else responsibilities[:, :, None]
    return xp.sum(shares * terms, axis=0)
