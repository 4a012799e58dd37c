"""Families by their names on the command line: the rows that they take, and how they start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.families.categorical import Kinds
from estep_xp.families.contract import n_axes_of_rows, with_support
from estep_xp.files.components import FAMILIES

# More kinds than these are no kinds: numbers of customers, say, or amounts.
_MAX_KINDS = 10_000
_DEGREES = 10.0  # of a template, of which nothing but its shapes counts


class Part(NamedTuple):
    """A part of a product: a family, and the columns that it takes.

    Attributes
    ----------
    family : str
        Its name in files.
    columns : tuple of int
        Their places among the columns that are fitted.
    """

    family: str
    columns: tuple[int, ...]


class Wish(NamedTuple):
    """What is to be fitted.

    Attributes
    ----------
    family : str
        The name of a family in files.
    n_factors : int
        Number of factors of factor analysers.
    parts : tuple of Part
        The parts of a product.
    """

    family: str
    n_factors: int = 1
    parts: tuple[Part, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """The names of the families, of all parts."""
        return tuple(part.family for part in self.parts) or (self.family,)

    def shape(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return rows (n, d) as the family takes them: (n,) if it can be of one column."""
        n_axes = n_axes_of_rows(FAMILIES[self.family])
        return rows[:, 0] if n_axes == 1 or (n_axes is None and rows.shape[1] == 1) else rows

    def start_from(self, rows: NDArray[np.float64]) -> Any:
        """Return what `initialize` takes for these rows (n, d): a class, or a template."""
        family = FAMILIES[self.family]
        return self._template(rows) if family._needs_template else family

    def supports(self, n_columns: int) -> list[tuple[Any, slice]]:
        """Return what answers for the support of which columns, of so many."""
        if self.parts:
            return [
                (support, slice(part.columns[0], part.columns[-1] + 1))
                for part in self.parts
                for support, _ in Wish(part.family).supports(len(part.columns))
            ]
        if self.family == "categorical":
            return [(Kinds(_MAX_KINDS), slice(n_columns))]
        return [(with_support(FAMILIES[self.family]), slice(n_columns))]

    def _template(self, rows: NDArray[np.float64]) -> Any:
        """Return one component of the shapes that suit the columns."""
        if self.parts:
            parts = (
                Wish(part.family, self.n_factors)._template(rows[:, list(part.columns)])
                for part in self.parts
            )
            return ex.Product(tuple(parts))
        d = rows.shape[1]
        if self.family == "categorical":
            n_kinds = int(np.nanmax(rows, initial=0.0)) + 1
            return ex.Categorical(np.ones((1, n_kinds)))
        if self.family == "factor_analyzer":
            ones = np.ones((1, d))
            return ex.FactorAnalyzer(0.0 * ones, np.zeros((1, d, self.n_factors)), ones)
        return _component(self.family, d)


def takes_one_column(family: str) -> bool:
    """Whether rows of a family are single numbers."""
    return n_axes_of_rows(FAMILIES[family]) == 1


def default_family(n_columns: int) -> str:
    """Return the family that is fitted where none was asked for."""
    return "univariate" if n_columns == 1 else "full"


def _component(family: str, d: int) -> Any:
    """Return one component of a family that needs no template, over `d` columns."""
    means, ones, unit = np.zeros((1, d)), np.ones((1, d)), np.eye(d)
    single = ones[:, 0] if d == 1 else ones
    fields: dict[str, Sequence[Any]] = {
        "univariate": (means[:, 0], ones[:, 0]),
        "spherical": (means, ones[:, 0]),
        "diagonal": (means, ones),
        "tied": (means, unit),
        "full": (means, unit[None]),
        "student_t": (means, unit[None], np.full(1, _DEGREES)),
        "von_mises": (means[:, 0], ones[:, 0]),
        "bernoulli": (0.5 * ones,),
        "poisson": (single,),
        "exponential": (single,),
        "gamma": (single, single),
    }
    return FAMILIES[family](*fields[family])
