"""Parts of a product of families: what they are, and which columns of a table belong to them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.record_repr import summarized
from estep_xp.families import contract
from estep_xp.families.family import Family

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray, Array
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space


@summarized
class ProductStatistics(NamedTuple):
    """Sums of each part.

    Parameters
    ----------
    parts : tuple of NamedTuples
        What the statistics of each part are.
    """

    parts: tuple[Any, ...]

    def _shown_fields(self) -> dict[str, Any]:
        return {f"parts[{i}]": part for i, part in enumerate(self.parts)}


class Columns(NamedTuple):
    """The columns of one part, and whether it takes a single one as rows (n,)."""

    start: int
    stop: int
    is_single: bool

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.stop - self.start

    def has(self, column: int) -> bool:
        """Whether a column is among these."""
        return self.start <= column < self.stop

    def take(self, ops: BlockOps, x: Array) -> Array:
        """The columns of a block."""
        if ops.axis == 0:
            return x[self.start, :] if self.is_single else x[self.start : self.stop, :]
        return self.take_first(x)

    def take_first(self, x: AnyArray) -> AnyArray:
        """The columns of rows (n, d)."""
        return x[:, self.start] if self.is_single else x[:, self.start : self.stop]

    def floor_of(self, family: Family, floor: Any) -> Any:
        """What of a floor of variances, one number or (d,), is for a part."""
        if getattr(floor, "ndim", 0) == 0:
            return floor
        if self.is_single or not family._has_own_units:  # one for all features
            return floor[self.start]
        return floor[self.start : self.stop]


class ColumnSupport(NamedTuple):
    """The supports of all columns: what `Family._supports` is of a family with one support."""

    columns: tuple[Columns, ...]
    parts: tuple[Any, ...]  # classes of families, or supports of columns again

    def _supports(self, x: AnyArray) -> AnyArray:
        """Whether entries of finite observations (n, d), of any library, are inside."""
        pieces = [
            part._supports(x[:, one.start : one.stop])
            for one, part in zip(self.columns, self.parts, strict=True)
        ]
        return namespace_of(x).concat(pieces, axis=1)

    @property
    def _support(self) -> str:
        texts = [
            f"{_named(one)} {part._support}"
            for one, part in zip(self.columns, self.parts, strict=True)
            if not part._support.endswith("must be finite")
        ]
        return "must be inside the support of its part: " + "; ".join(texts or ["finite"])


def _named(columns: Columns) -> str:
    if columns.width == 1:
        return f"column {columns.start}"
    return f"columns {columns.start} to {columns.stop - 1}"


def group_features(
    columns: tuple[Columns, ...], features: tuple[int, ...]
) -> list[tuple[int, tuple[int, ...]]]:
    """Parts in the order of chosen features, each with its own features counted from 0.

    Raises ValueError where features of one part do not stand together.
    """
    owners = [next(i for i, one in enumerate(columns) if one.has(j)) for j in features]
    groups = [
        (owner, tuple(j - columns[owner].start for _, j in pairs))
        for owner, pairs in itertools.groupby(
            zip(owners, features, strict=True), key=lambda pair: pair[0]
        )
    ]
    seen = [owner for owner, _ in groups]
    for owner in seen:
        if seen.count(owner) > 1:
            own = [j for j in features if columns[owner].has(j)]
            raise ValueError(
                f"features {own} belong to parts[{owner}] but do not stand together; choose them "
                "one after the other"
            )
    return groups


def given_parts(parts: Any) -> tuple[Any, ...]:
    """The field as it was given, not yet checked."""
    return tuple(parts) if isinstance(parts, (list, tuple)) else (parts,)


def split_arrays(arrays: tuple[Any, ...], counts: list[int]) -> list[tuple[Any, ...]]:
    """The arrays of each part, of which there are so many."""
    ends = itertools.accumulate(counts, initial=0)
    return [arrays[a:b] for a, b in itertools.pairwise(ends)]


def n_components_of(part: Any) -> int:
    """Number of components of a part; a user's fields have them along the first axis."""
    found = contract.family_of(part)._n_components()
    if found is None:
        shapes = (getattr(array, "shape", ()) for array in contract.arrays_of(part).values())
        found = next((int(shape[0]) for shape in shapes if shape), 0)
    return found


def start_of(part: Any) -> Any:
    """What a part is started from: its class, where a class can start by itself."""
    own = type(part)
    if isinstance(part, Family):
        return part if part._needs_template else own
    return own if hasattr(own, "start") else part


def check_part(space: Space, i: int, part: Any) -> Any:
    """A part as arrays of a space, with everything checked that can be."""
    name = f"parts[{i}]"
    if isinstance(part, type) or not hasattr(part, "log_prob") or not hasattr(part, "_fields"):
        kind = f"the class {part.__name__}" if isinstance(part, type) else type(part).__name__
        raise TypeError(
            f"{name} is {kind}; expected components: of a family such as UnivariateGaussian, or a "
            "NamedTuple of arrays with a method log_prob(x)"
        )
    try:
        checked = contract.family_of(part)._checked(space)
        contract.n_columns_of(checked, name)
    except (TypeError, ValueError) as error:
        raised = TypeError if isinstance(error, TypeError) else ValueError
        text = str(error)
        raise raised(text if text.startswith(name) else f"{name}: {text}") from None
    return checked
