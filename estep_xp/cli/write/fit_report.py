"""What the command `fit` prints: how the fit went, and its components as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from estep_xp.cli.compute.fitting import FitSummary
from estep_xp.files.model import Model
from estep_xp.files.errors import show_token
from estep_xp.cli.text.numbers import format_decimal
from estep_xp.cli.write.layout import GAP, Style, TableColumn, figure_lines, table_lines
from estep_xp.cli.write.report import encode_json

_MAX_FEATURE_LENGTH = 40


def fit_warning(fit: FitSummary, data: str) -> str | None:
    """Return the warning about a fit that has not converged, or has collapsed."""
    return f"warning: {data}: {fit.warning}" if fit.warning else None


def fit_json(fit: FitSummary, names: Sequence[str] | None, output: str) -> str:
    """Return a fit as one JSON object."""
    model = fit.model
    return encode_json(
        {
            "n_observations": fit.n_rows,
            "n_components": model.n_components,
            "n_features": model.n_features,
            "features": None if names is None else list(names),
            "family": model.family,
            "n_iter": fit.n_iter,
            "converged": fit.converged,
            "log_likelihood": fit.log_likelihood,
            "bic": fit.bic,
            "weights": model.weights.tolist(),
            "means": model.means.tolist(),
            "standard_deviations": _standard_deviations(model).reshape(model.means.shape).tolist(),
            "output": output,
        }
    )


def fit_text(
    fit: FitSummary, names: Sequence[str] | None, output: str, style: Style
) -> Iterator[str]:
    """Yield the lines of a fit, for a person: figures, and a row a component and feature."""
    model = fit.model
    figures = {
        "Rows": str(fit.n_rows),
        "Components": f"{model.n_components} {model.family}",
        "Iterations": f"{fit.n_iter}, {'converged' if fit.converged else 'not converged'}",
        "Log-likelihood": format_decimal(fit.log_likelihood),
        "BIC": format_decimal(fit.bic),
        "Output": output,
    }
    yield from figure_lines(figures, style)
    yield "\n"
    yield from _table(model, names, style)


def _table(model: Model, names: Sequence[str] | None, style: Style) -> Iterator[str]:
    """Yield weights, means and standard deviations, one row a component and feature."""
    k, d = model.means.reshape(model.n_components, -1).shape
    cells = {
        "component": _pad_below(map(str, range(k)), d),
        "weight": _pad_below(map(format_decimal, model.weights.tolist()), d),
        "feature": [],
        "mean": [f"{mean:.6g}" for mean in model.means.reshape(-1).tolist()],
        "standard deviation": [
            f"{value:.6g}" for value in _standard_deviations(model).reshape(-1).tolist()
        ],
    }
    widths = {heading: max(map(len, [heading, *column])) for heading, column in cells.items()}
    if d > 1:
        room = _MAX_FEATURE_LENGTH
        if style.columns is not None:
            others = sum(widths.values()) - widths["feature"]
            room = max(style.columns - others - len(GAP) * (len(widths) - 1), len("feature"))
        features = names or [f"column {index}" for index in range(d)]
        cells["feature"] = [_shorten(show_token(name), room) for name in features] * k
        widths["feature"] = max(map(len, ["feature", *cells["feature"]]))
    else:
        del cells["feature"]
    columns = [
        TableColumn(heading, widths[heading], is_text=heading == "feature") for heading in cells
    ]
    return table_lines(columns, zip(*cells.values(), strict=True), style)


def _pad_below(words: Iterable[str], times: int) -> list[str]:
    """Return a column of cells: each word, then blanks for the rest of its rows."""
    return [cell for word in words for cell in (word, *[""] * (times - 1))]


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _standard_deviations(model: Model) -> NDArray[np.float64]:
    """Return the standard deviation (k, d) of each feature of each component."""
    variances = model.covariances
    if model.family in ("tied", "full"):
        variances = np.diagonal(variances, axis1=-2, axis2=-1)
    elif model.family != "diagonal":
        variances = variances[:, None]  # the same for all features
    return np.sqrt(np.broadcast_to(variances, (model.n_components, model.n_features)))
