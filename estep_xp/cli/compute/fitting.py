"""EM on the rows of a file, and the model that comes out of it."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.backend import converted, converter
from estep_xp.cli.read.model import Model, components_of
from estep_xp.cli.text.errors import InputError
from estep_xp.em.fit import Options, fitted


class Choices(NamedTuple):
    """How to fit.

    Attributes
    ----------
    family : str
        One of univariate, spherical, diagonal, tied and full.
    n_components : int
        Number of components.
    seed : int
        Seed of the first start; the others have those that follow.
    n_init : int
        Number of starts, the best of which counts.
    tol : float
        Stop when the log-likelihood per row rises by less.
    max_iter : int
        Most iterations of a start.
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


class Fit(NamedTuple):
    """A fitted mixture, in the numbers of its file, and how the fit went.

    Attributes
    ----------
    model : Model
        The mixture.
    n_rows : int
        Number of rows.
    n_iter : int
        Number of iterations.
    converged : bool
        Whether the log-likelihood stood still in the end.
    log_likelihood : float
        Log-likelihood of all rows.
    bic : float
        Bayesian information criterion; lower is better.
    complaint : str
        What the library warns of, in the names of the command's options; "" if all is well.
    """

    model: Model
    n_rows: int
    n_iter: int
    converged: bool
    log_likelihood: float
    bic: float
    complaint: str


def fit_rows(rows: NDArray[np.float64], field: str, choices: Choices, *, progress: bool) -> Fit:
    """Return the fit of a mixture to `rows`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        The observations; one column if the family is univariate.
    field : str
        What holds them, for errors.
    choices : Choices
        How to fit.
    progress : bool
        Whether to show a bar with the log-likelihood on standard error.

    Raises
    ------
    InputError
        If there are fewer rows than components, or no such mixture fits them.
    SystemFailure
        If the backend is not installed.
    """
    family, k = components_of(choices.family), choices.n_components
    if k > len(rows):
        has = f"{field} has {len(rows)} row{'s' if len(rows) > 1 else ''}"
        raise InputError("--components", f"is {k}; {has}, and there must be one for each")
    univariate = choices.family == "univariate"
    convert = converter(choices.backend)
    x = convert(rows[:, 0] if univariate else rows)
    try:
        options = Options(
            tol=choices.tol,
            max_iter=choices.max_iter,
            variance_floor=choices.variance_floor,
            n_init=choices.n_init,
            seed=choices.seed,
            progress=progress,
        )
        result, verdict = fitted(x, ex.initialize(x, k, family, seed=choices.seed), None, options)
    except ValueError as error:
        raise InputError(field, _in_options(str(error))) from error
    model = Model.from_mixture(result.mixture)
    # What is said about the fit is said about the mixture as the file has it.
    result = result._replace(mixture=converted(_reread(model, field), convert))
    total = float(ex.log_likelihood(x, result.mixture))
    bic = float(result.bic(x))
    complaint = "" if verdict.warning is None else _in_options(str(verdict.warning))
    return Fit(model, len(rows), int(result.n_iter), bool(result.converged), total, bic, complaint)


def _reread(model: Model, field: str) -> ex.Mixture:
    """Return the mixture that a reader of the model's file gets."""
    try:
        mixture: ex.Mixture = model.mixture()
    except ValueError as error:
        raise InputError(
            field,
            "covariances are too close to singular to be written down; raise --variance-floor, or "
            "drop features that depend on each other",
        ) from error
    return mixture


def _in_options(message: str) -> str:
    """Return a message of the library with the names that the command has for its arguments."""
    return re.sub(r"\b(variance_floor|max_iter|n_init|tol|seed)\b", _option, message)


def _option(argument: re.Match[str]) -> str:
    name = "init" if argument[0] == "n_init" else argument[0]
    return "--" + name.replace("_", "-")
