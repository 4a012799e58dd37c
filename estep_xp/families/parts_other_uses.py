"""Products of families: draws, marginals, starts and free parameters, each part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from estep_xp.families import contract
from estep_xp.families.family import Family
from estep_xp.families.parts import Columns, group_features, split_arrays, start_of

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.random import Random


class OtherUsesOfParts(Family):
    """What a product answers beside densities and estimation."""

    __slots__ = ()

    parts: tuple[Any, ...]

    def _families(self) -> tuple[Family, ...]:
        """What answers for each part."""
        raise NotImplementedError

    def _columns(self) -> tuple[Columns, ...]:
        """The columns of each part."""
        raise NotImplementedError

    def _of(self, parts: tuple[Any, ...]) -> Self:
        """Return a product of these parts."""
        family: Any = type(self)
        product: Self = family(parts)
        return product

    def _cannot_sample(self) -> str | None:
        for i, family in enumerate(self._families()):
            if missing := family._cannot_sample():
                return f"has parts[{i}], a {type(self.parts[i]).__name__}, which {missing}"
        return None

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        drawn = [family._sample(xp, random, labels) for family in self._families()]
        return xp.concat([a[:, None] if a.ndim == 1 else a for a in drawn], axis=1)

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Any:
        groups = group_features(self._columns(), features)
        return self._of(tuple(self._some(xp, i, own) for i, own in groups))

    def _some(self, xp: Namespace, i: int, features: tuple[int, ...]) -> Any:
        """Part i for some of its features."""
        part = self.parts[i]
        if features == tuple(range(self._columns()[i].width)):
            return part
        return contract.with_marginals(part)._marginal(xp, features)

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Any:
        parts = []
        for i, columns in enumerate(self._columns()):
            given = [(j, place) for place, j in enumerate(known) if columns.has(j)]
            rest = tuple(j - columns.start for j in others if columns.has(j))
            if not given:
                parts.append(self.parts[i])
            elif rest:
                own = tuple(j - columns.start for j, _ in given)
                numbers = xp.stack([values[place] for _, place in given])
                family = contract.with_marginals(self.parts[i])
                parts.append(family._conditional(xp, own, rest, numbers))
        return self._of(tuple(parts))

    def _start_parts(self) -> tuple[tuple[Any, Columns], ...]:
        pairs = zip(self.parts, self._columns(), strict=True)
        return tuple((start_of(part), columns) for part, columns in pairs)

    def _starts_any_number(self) -> bool:
        starts = (part for part, _ in self._start_parts())
        return all(
            isinstance(one, type) or contract.family_of(one)._starts_any_number() for one in starts
        )

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return tuple(one for family in self._families() for one in family._to_unconstrained(xp))

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        families = self._families()
        own = split_arrays(free, [len(family._parameters()) for family in families])
        pairs = zip(families, own, strict=True)
        return self._of(tuple(family._from_unconstrained(xp, *one) for family, one in pairs))

    def _step_scales(self, xp: Namespace) -> tuple[Any, ...]:
        return tuple(one for family in self._families() for one in family._step_scales(xp))

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        return tuple(one for family in self._families() for one in family._parameter_units(xp))

    def _triangular_names(self) -> frozenset[str]:
        return self._names([family._triangular_names() for family in self._families()])

    def _normalized_names(self) -> frozenset[str]:
        return self._names([family._normalized_names() for family in self._families()])

    def _names(self, of_parts: list[frozenset[str]]) -> frozenset[str]:
        return frozenset(f"parts[{i}].{name}" for i, own in enumerate(of_parts) for name in own)
