"""Products of families: columns of different kinds, independent within a component."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from estep_xp.arrays.block import expand_components
from estep_xp.arrays.nested import is_nested
from estep_xp.arrays.record_repr import summarized
from estep_xp.arrays.summation import add_pairwise
from estep_xp.families import contract
from estep_xp.families.family import Evaluated, Family
from estep_xp.families.log_prob import log_prob
from estep_xp.families.parts import (
    Columns,
    ColumnSupport,
    ProductStatistics,
    check_part,
    given_parts,
    n_components_of,
    split_arrays,
)
from estep_xp.families.parts_other_uses import OtherUsesOfParts
from estep_xp.families.parts_with_holes import PartsWithHoles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from estep_xp.arrays.array_types import AnyArray, Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.namespace import Space
    from estep_xp.arrays.shapes import FloatNK, RowsLike
    from estep_xp.families.limits import Limit


class _Parts(NamedTuple):
    parts: tuple[Any, ...]


@summarized
class Product(PartsWithHoles, OtherUsesOfParts, _Parts):
    """Components of several kinds side by side, independent within a component.

    Parameters
    ----------
    parts : tuple of families
        Components over consecutive columns of x, each of the same number k. A univariate part,
        such as ``Poisson([1.0, 2.0])``, takes one column; others take as many as their shapes say,
        and a class of your own as many as its method ``features()`` says. One without that method
        takes one column, given as (n,), if all its fields are of shape (k,).

    Notes
    -----
    A start (`initialize`, `select`) is made for components of the wished parts as a template, of
    which nothing but classes and shapes counts where a class can start by itself.

    Examples
    --------
    >>> import estep_xp as ex
    >>> gaussian = ex.DiagonalGaussian([[1.7, 70.0], [1.8, 80.0]], [[0.01, 90.0], [0.01, 90.0]])
    >>> components = ex.Product((gaussian, ex.Bernoulli([[0.2], [0.7]]), ex.Poisson([1.0, 3.0])))
    >>> components.log_prob([[1.75, 75.0, 1.0, 2.0]]).round(4)
    array([[-5.3517, -3.9017]])
    """

    __slots__ = ()

    _needs_template = True

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n, d)
            The columns of the first part, then those of the next.

        Returns
        -------
        array, shape (n, k)
            The sum of the parts' log-densities, in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value; x outside the support of a part, too.

        Examples
        --------
        >>> import estep_xp as ex
        >>> components = ex.Product((ex.Poisson([1.0]), ex.Bernoulli([[0.5]])))
        >>> components.log_prob([[2.0, 1.0]]).round(4)
        array([[-2.3863]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        return {f"parts[{i}]": part for i, part in enumerate(given_parts(self.parts))}

    # --- parts -----------------------------------------------------------------------------------

    def _families(self) -> tuple[Family, ...]:
        """What answers for each part."""
        return tuple(contract.family_of(part, n_components_of(part)) for part in self.parts)

    def _columns(self) -> tuple[Columns, ...]:
        """The columns of each part."""
        columns, start = [], 0
        for i, part in enumerate(self.parts):
            width = contract.n_columns_of(part, f"parts[{i}]")
            columns.append(Columns(start, start + (width or 1), width == 0))
            start = columns[-1].stop
        return tuple(columns)

    def _each(self, *others: tuple[Any, ...]) -> Iterator[Any]:
        """For each part what answers for it, its columns, and its item of others."""
        return zip(self._families(), self._columns(), *others, strict=True)

    def _all(self, name: str) -> bool:
        return all(getattr(family, name) for family in self._families())

    # What is so of all parts: these are questions to components here, not to the class.
    _is_builtin = property(lambda self: self._all("_is_builtin"))
    _has_full_support = property(lambda self: self._all("_has_full_support"))
    _is_unconstrainable = property(lambda self: self._all("_is_unconstrainable"))
    _is_recenterable = property(lambda self: self._all("_is_recenterable"))
    _takes_missing = property(lambda self: self._all("_takes_missing"))
    _takes_prior_counts = property(
        lambda self: any(f._takes_prior_counts for f in self._families())
    )
    _has_two_forms = property(lambda self: any(f._has_two_forms for f in self._families()))
    _has_marginals = True

    # --- parameters and rows ---------------------------------------------------------------------

    def _checked(self, space: Space) -> Self:
        parts: Any = self.parts
        if not isinstance(parts, (list, tuple)) or hasattr(parts, "_fields"):
            raise TypeError(
                f"parts is of type {type(parts).__name__}; expected a tuple of families"
            )
        if not parts:
            raise ValueError("parts is empty; expected at least one family")
        checked = tuple(check_part(space, i, part) for i, part in enumerate(parts))
        k = n_components_of(checked[0])
        for i, part in enumerate(checked):
            if (found := n_components_of(part)) != k:
                raise ValueError(
                    f"parts[{i}] describes {found} components but parts[0] {k}; expected parts of "
                    "the same components"
                )
        return type(self)(checked)

    def _n_components(self) -> int:
        return n_components_of(self.parts[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n", self._columns()[-1].stop)

    def _static_support(self) -> ColumnSupport:
        supports = (family._static_support() for family in self._families())
        return ColumnSupport(self._columns(), tuple(supports))

    def _n_parameters(self) -> int:
        return sum(family._n_parameters() for family in self._families())

    def _parameters(self) -> dict[str, AnyArray]:
        named: dict[str, AnyArray] = {}
        for i, part in enumerate(given_parts(self.parts)):
            if is_nested(part):
                arrays = contract.arrays_of(part).items()
                named |= {f"parts[{i}].{name.removeprefix('components.')}": a for name, a in arrays}
        return named

    def _placeholder(self, ops: BlockOps) -> Array:
        xp = ops.xp
        zero = 0.0 * xp.reshape(next(iter(self._parameters().values())), (-1,))[:1]
        pieces = []
        for family, columns in self._each():
            found = xp.reshape(family._placeholder(ops) + zero, (-1,))
            pieces.append(xp.broadcast_to(found, (columns.width,)))
        return expand_components(xp.concat(pieces), ops.axis)

    # --- a block of rows -------------------------------------------------------------------------

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> tuple[Any, ...]:
        ops, first, *others = self._for_parts(ops), *self._families()
        return (
            first._prepare(ops, log_weights),
            *(family._prepare(ops, None) for family in others),
        )

    def _for_parts(self, ops: BlockOps) -> BlockOps:
        """The operations for a part, whose errors add up with those of others."""
        # One part alone cannot tell which component is negligible; and the absolute error that a
        # faster form is allowed is for one part.
        several = sum(1 for family in self._families() if family._has_two_forms) > 1
        return replace(ops, only_shares=False, many_rows=ops.many_rows and not several)

    def _width(self, ops: BlockOps) -> int:
        inner = self._for_parts(ops)
        return sum(self._n_components() + family._width(inner) for family in self._families())

    def _evaluate(self, ops: BlockOps, prepared: tuple[Any, ...], x: Array) -> Evaluated:
        inner = self._for_parts(ops)
        form = tuple(
            family._evaluate(inner, own, columns.take(ops, x))
            for family, columns, own in self._each(prepared)
        )
        joint = add_pairwise([one.log_joint for one in form], operator.add)
        return Evaluated(x, joint, sum(one.bound for one in form), form)

    def _missing_method(self) -> str | None:
        for i, family in enumerate(self._families()):
            if missing := family._missing_method():
                return f"has parts[{i}], a {type(self.parts[i]).__name__}, which {missing}"
        return None

    def _moments_block(
        self, ops: BlockOps, prepared: tuple[Any, ...], block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        inner, sums = self._for_parts(ops), []
        for i, (family, columns) in enumerate(self._each()):
            if block.form is None:  # responsibilities that are known
                own = Evaluated(columns.take(ops, block.x), block.log_joint)
            else:
                own = block.form[i]
            sums += family._moments_block(inner, prepared[i], own, responsibilities)
        return tuple(sums)

    def _n_sums(self) -> int:
        return sum(family._n_sums() for family in self._families())

    def _moments(self, *sums: Array) -> ProductStatistics:
        own = split_arrays(sums, [family._n_sums() for family in self._families()])
        pairs = zip(self._families(), own, strict=True)
        return ProductStatistics(tuple(family._moments(*arrays) for family, arrays in pairs))

    def _check_moments(self, name: str, moments: Any) -> None:
        if not isinstance(moments, ProductStatistics) or len(moments.parts) != len(self.parts):
            raise TypeError(
                f"{name} is a {type(moments).__name__}; expected ProductStatistics of "
                f"{len(self.parts)} parts"
            )
        for i, (family, own) in enumerate(zip(self._families(), moments.parts, strict=True)):
            family._check_moments(f"{name}.parts[{i}]", own)

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        pairs = enumerate(zip(self._families(), moments.parts, strict=True))
        return tuple(
            limit._replace(field=f"parts[{i}].{limit.field}")
            for i, (family, own) in pairs
            for limit in family._limits(xp, counts, own)
        )

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: ProductStatistics, floor: Any
    ) -> Self:
        return self._maximize_with_prior(xp, counts, empty, moments, floor, None)

    def _maximize_with_prior(
        self, xp: Namespace, counts: Array, empty: Array, moments: Any, floor: Any, prior: Any
    ) -> Self:
        parts = []
        for family, columns, own in self._each(moments.parts):
            arguments = (xp, counts, empty, own, columns.floor_of(family, floor))
            if prior is None:
                parts.append(family._maximize(*arguments))
            else:
                parts.append(family._maximize_with_prior(*arguments, prior))
        return type(self)(tuple(parts))

    def _recentered(
        self, xp: Namespace, counts: Array, moments: ProductStatistics, new: Any
    ) -> ProductStatistics:
        triples = zip(self._families(), moments.parts, new.parts, strict=True)
        sums = (family._recentered(xp, counts, own, one) for family, own, one in triples)
        return ProductStatistics(tuple(sums))

    def _raise_if_degenerate(
        self, space: Space, counts: Array, empty: Array, moments: ProductStatistics, floor: Any
    ) -> None:
        for i, (family, columns, own) in enumerate(self._each(moments.parts)):
            share = columns.floor_of(family, floor)
            try:
                family._raise_if_degenerate(space, counts, empty, own, share)
            except ValueError as error:
                raise ValueError(f"parts[{i}]: {error}") from None

    def _is_usable(self) -> bool:
        return all(family._is_usable() for family in self._families())

    def _floor(
        self, xp: Namespace, counts: Array, empty: Array, moments: ProductStatistics
    ) -> Array:
        floors = []
        for family, columns, own in self._each(moments.parts):
            one = family._floor(xp, counts, empty, own)
            floors.append(xp.broadcast_to(one, (columns.width,)))
        return xp.concat(floors)

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[AnyArray, AnyArray]:
        k, largest, shares = self._n_components(), [], []
        for family, columns in self._each():
            most, each = family._floor_shares(xp, columns.floor_of(family, floor))
            each = each if each.ndim == 2 else each[:, None]
            largest.append(xp.broadcast_to(most, (k,)))
            shares.append(xp.broadcast_to(each, (k, columns.width)))
        return xp.max(xp.stack(largest), axis=0), xp.concat(shares, axis=1)

    def _move(self, xp: Namespace, counts: Array, empty: Array, moments: ProductStatistics) -> Self:
        return type(self)(
            tuple(
                part._move(xp, counts, empty, own) if contract.has_centres(part) else part
                for part, own in zip(self.parts, moments.parts, strict=True)
            )
        )

    def _stays_above(self, xp: Namespace, floor: Any) -> Array | bool:
        above: Array | bool = True
        for family, columns in self._each():
            above = above & family._stays_above(xp, columns.floor_of(family, floor))
        return above
