"""EM on the rows of a file, and the model that comes out of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.backend import array_converter, convert_mixture
from estep_xp.cli.text.numbers import format_count
from estep_xp.em.fit import Options, fitted
from estep_xp.files.components import FAMILIES
from estep_xp.files.errors import InputError, show_token


class FitOptions(NamedTuple):
    """How to fit.

    Attributes
    ----------
    family : str
        One of univariate, spherical, diagonal, tied and full.
    n_components : int
        Number of components.
    seed : int
        Seed of the first start; the others use the seeds after it.
    n_init : int
        Number of starts; the best fit is kept.
    tol : float
        Stop when the log-likelihood per row changes by less.
    max_iter : int
        Maximum number of iterations from each start.
    variance_floor : float or None
        Added to all variances; None for the library's default.
    backend : str
        "numpy" or "jax".
    """

    family: str
    n_components: int
    seed: int
    n_init: int
    tol: float
    max_iter: int
    variance_floor: float | None
    backend: str


class FitSummary(NamedTuple):
    """A fitted mixture, and figures about the fit.

    Attributes
    ----------
    family : str
        Its family, by its name in files.
    mixture : Mixture
        The mixture, on NumPy arrays.
    n_rows : int
        Number of rows.
    n_iter : int
        Number of iterations.
    converged : bool
        Whether EM converged.
    log_likelihood : float
        Log-likelihood of all rows.
    bic : float
        Bayesian information criterion; lower is better.
    warning : str
        The library's warning, in terms of options and column names; "" if there is none.
    """

    family: str
    mixture: ex.Mixture
    n_rows: int
    n_iter: int
    converged: bool
    log_likelihood: float
    bic: float
    warning: str


def fit_rows(
    rows: NDArray[np.float64],
    field: str,
    options: FitOptions,
    names: Sequence[str] | None = None,
    *,
    progress: bool,
) -> FitSummary:
    """Return the fit of a mixture to `rows`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        The observations; one column if the family is univariate.
    field : str
        What holds them, for errors.
    options : FitOptions
        How to fit.
    names : sequence of str, optional
        The names of the columns, for warnings.
    progress : bool
        Whether to show a bar with the log-likelihood on standard error.

    Raises
    ------
    InputError
        If there are fewer rows than components, or no such mixture fits them.
    SystemFailure
        If the backend is not installed.
    """
    family, k = FAMILIES[options.family], options.n_components
    if k > len(rows):
        has = f"{field} has {format_count(len(rows), 'row')}"
        raise InputError("--components", f"is {k}; {has}, and there must be one for each")
    univariate = options.family == "univariate"
    convert = array_converter(options.backend)
    x = convert(rows[:, 0] if univariate else rows)
    try:
        em_options = Options(
            tol=options.tol,
            max_iter=options.max_iter,
            variance_floor=options.variance_floor,
            n_init=options.n_init,
            seed=options.seed,
            progress=progress,
        )
        start = ex.initialize(x, k, family, seed=options.seed)
        result, diagnosis = fitted(x, start, None, em_options)
    except ValueError as error:
        raise InputError(field, _name_options(str(error))) from error
    mixture = convert_mixture(result.mixture, np.asarray)
    total = float(ex.log_likelihood(x, result.mixture))
    bic = float(result.bic(x))
    warning = "" if diagnosis.warning is None else str(diagnosis.warning)
    warning = _name_features(_name_options(warning), names)
    return FitSummary(
        options.family,
        mixture,
        len(rows),
        int(result.n_iter),
        bool(result.converged),
        total,
        bic,
        warning,
    )


def _name_options(message: str) -> str:
    """Replace argument names of the library in `message` by the command's options."""
    return re.sub(r"\b(variance_floor|max_iter|n_init|tol|seed)\b", _option_name, message)


def _name_features(warning: str, names: Sequence[str] | None) -> str:
    """Replace feature indices at the beginning of `warning` by column names."""
    found = re.match(r"(?:\d+ )?features? (.+?) var", warning)
    if names is None or found is None:
        return warning
    called = re.sub(r"\d+", lambda index: show_token(names[int(index[0])]), found[1])
    return f"{warning[: found.start(1)]}{called}{warning[found.end(1) :]}"


def _option_name(argument: re.Match[str]) -> str:
    name = "init" if argument[0] == "n_init" else argument[0]
    return "--" + name.replace("_", "-")
