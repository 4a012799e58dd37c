"""What a person should know of a fit that ended in another way than they may think."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from estep_xp.arrays.namespace import numpy_namespace, to_host
from estep_xp.arrays.nested import map_arrays
from estep_xp.arrays.quiet import quietly
from estep_xp.chain.hmm import HMM
from estep_xp.families.contract import family_of

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.em.statistics import Statistics

# Share of a variance that the floor makes up, from which on nothing but the floor holds it up. One
# that was given may be meant to be as wide as components are.
_COLLAPSED, _COLLAPSED_ON_GIVEN = 0.5, 0.99

_NAMED = 5  # components or features that are named one by one


class ConvergenceWarning(RuntimeWarning):
    """A fit ended before its log-likelihood stood still.

    Examples
    --------
    >>> import warnings
    >>> import estep_xp as ex
    >>> x = [1.0, 1.4, 1.8, 3.2, 3.6, 4.0]
    >>> start = ex.initialize(x, 2, ex.UnivariateGaussian, method="k-means++")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", ex.ConvergenceWarning)
    ...     try:
    ...         ex.fit(x, start, max_iter=1)
    ...     except ex.ConvergenceWarning as warning:
    ...         print(str(warning)[:31])
    not converged after 1 iteration
    """


class CollapseWarning(RuntimeWarning):
    """A component of a fit has collapsed onto equal rows, or has lost its rows.

    Its variance is then as good as the floor, and the log-likelihood says more about that than
    about the data.

    Examples
    --------
    >>> import warnings
    >>> import estep_xp as ex
    >>> x = [3.0, 3.0, 3.0, 8.1, 9.4, 9.9]
    >>> start = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([3.0, 9.0], [1.0, 1.0]))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", ex.CollapseWarning)
    ...     try:
    ...         ex.fit(x, start)
    ...     except ex.CollapseWarning as warning:
    ...         print(str(warning)[:25])
    component 0 has collapsed
    """


class Collapse(NamedTuple):
    """What is without variance or rows at the end of a fit, by index."""

    components: list[int]  # a variance of which is no more than the floor
    features: list[int]  # that vary within no component
    empty: list[int]  # components that have lost their rows
    is_chain: bool = False  # components are states

    def text(self) -> str:
        """What is to be said of it; nothing if all is well."""
        texts = []
        if self.features:
            texts.append(
                f"{_named('feature', self.features, 'varies', 'vary')} within no component: drop "
                "what does not vary, or give a variance_floor"
            )
        if self.components:
            texts.append(
                f"{_named('component', self.components, 'has', 'have')} collapsed: a variance is "
                "no more than the floor, as of rows that are equal, too few, or on a line"
            )
        if self.empty and self.is_chain:
            texts.append(f"{_named('state', self.empty, 'is', 'are')} never visited")
        elif self.empty:
            texts.append(
                f"{_named('component', self.empty, 'has', 'have')} lost all rows: weight 0 is left"
            )
        if self.components or self.empty:
            texts.append("try fewer components, other starts (n_init), or another variance_floor")
        return "; ".join(texts)


class Diagnosis(NamedTuple):
    """What there is to say of a fit besides its result."""

    collapse: Collapse = Collapse([], [], [])
    warning: RuntimeWarning | None = None


def find_collapse(start: Any, end: Statistics, floor: AnyArray, *, given: bool) -> Collapse:
    """What has collapsed between the start and the end of a fit, given the last statistics.

    `floor` is that of the variances at the end: one number, or one a feature; `given` by the user.
    """
    limit = _COLLAPSED_ON_GIVEN if given else _COLLAPSED
    components: Any = end.mixture.components
    components = map_arrays(to_host, components)
    is_chain = isinstance(start, HMM)
    if is_chain:
        counts = to_host(end.counts)
        nonempty = counts > float(np.finfo(counts.dtype).eps) ** 2 * counts.sum()
    else:
        nonempty = to_host(end.mixture.weights) > 0
    largest, shares = quietly(family_of(components)._floor_shares, numpy_namespace, to_host(floor))
    collapsed = largest >= limit
    flat = np.zeros(0, dtype=bool)
    if shares.ndim == 2:
        low = shares >= limit
        flat = low[nonempty].all(axis=0)
        if flat.any():
            collapsed = low[:, ~flat].any(axis=1)
    empty = ~nonempty if is_chain else ~nonempty & (to_host(start.weights) > 0)
    components, features, empty = (
        np.flatnonzero(one).tolist() for one in (collapsed & nonempty, flat, empty)
    )
    return Collapse(components, features, empty, is_chain)


def unfinished_text(n_iter: int, change: float, tol: float) -> str:
    """What is to be said of a fit that was stopped at the last iteration."""
    return (
        f"not converged after {_iterations(n_iter)}; raise max_iter or tol, or try other starts "
        f"(n_init, seed): in the last iteration the log-likelihood per row changed by "
        f"{change:.2g}, and tol is {tol:g}"
    )


def exhausted_text(n_iter: int, fall: float, dtype: Any) -> str:
    """What is to be said of a fit whose log-likelihood only goes up and down."""
    return (
        f"not converged after {_iterations(n_iter)}: the log-likelihood only goes up and down, and "
        f"is {fall:.2g} a row below its best; {dtype} has too few digits for covariances so close "
        "to singular: give x as float64, drop features that depend on each other, or give a larger "
        "variance_floor"
    )


def _iterations(n_iter: int) -> str:
    return "1 iteration" if n_iter == 1 else f"{n_iter} iterations"


def _named(kind: str, indices: list[int], verb: str, plural: str) -> str:
    """Begin a sentence: "components 0 and 2 have"."""
    if len(indices) == 1:
        return f"{kind} {indices[0]} {verb}"
    names = list(map(str, indices))
    if len(indices) > _NAMED:
        return f"{len(indices)} {kind}s ({', '.join(names[:_NAMED])} ...) {plural}"
    return f"{kind}s {', '.join(names[:-1])} and {names[-1]} {plural}"
