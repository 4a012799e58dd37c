"""What comes in: rows of any array library, and initial parameters. In scikit-learn's words."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, validate_data

from estep_xp.arrays.array_types import Array
from estep_xp.arrays.namespace import is_concrete, library_of, space_of, to_host
from estep_xp.arrays.suspects import all_finite
from estep_xp.em.arguments import check_sample_weight
from estep_xp.sklearn.covariance_types import COVARIANCE_TYPES


def check_rows(estimator: Any, x: Any, *, reset: bool, least: int = 1) -> Array:
    """Rows (n, d): what is no array of another library goes scikit-learn's way to NumPy.

    With `reset` the estimator keeps the number of features and their names, else they are compared.
    """
    if _is_good(estimator, x, reset=reset, least=least):
        if reset:
            estimator.n_features_in_ = x.shape[1]
        plain: Array = x
        return plain
    if library_of(x) in ("", "numpy"):
        rows: Array = validate_data(
            estimator, x, reset=reset, dtype=[np.float64, np.float32], ensure_min_samples=least
        )
        return rows
    name = type(estimator).__name__
    if len(x.shape) != 2:
        raise ValueError(f"Expected 2D array, got array of shape {tuple(x.shape)} instead.")
    n, d = x.shape
    for size, what, smallest in ((n, "sample", least), (d, "feature", 1)):
        if size < smallest:
            raise ValueError(
                f"Found array with {size} {what}(s) (shape={tuple(x.shape)}) while a minimum of "
                f"{smallest} is required by {name}."
            )
    if reset:
        estimator.n_features_in_ = int(d)
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif getattr(estimator, "n_features_in_", d) != d:
        raise ValueError(
            f"X has {d} features, but {name} is expecting {estimator.n_features_in_} features "
            "as input."
        )
    return space_of({"X": x}).rows("X", x)


def _is_good(estimator: Any, x: Any, *, reset: bool, least: int) -> bool:
    """Whether these are plain rows about which scikit-learn's checks have nothing to say.

    It takes them longer to find that out than all else takes in a small call.
    """
    if type(x) is not np.ndarray or x.ndim != 2 or x.dtype not in (np.float64, np.float32):
        return False
    n, d = x.shape
    if n < least or d < 1 or hasattr(estimator, "feature_names_in_"):
        return False
    if not (reset or getattr(estimator, "n_features_in_", None) == d):
        return False
    return all_finite(np, x)


def without_gradient(rows: Array) -> Array:
    """Rows of PyTorch that remember nothing: no graph of a whole fit is kept."""
    if library_of(rows) != "torch":
        return rows
    tensor: Any = rows
    detached: Array = tensor.detach()
    return detached


def check_same_library(estimator: Any, x: Any, rows: Array, method: str) -> None:
    """Raise unless rows, given as `x`, are of the library and on the device of the parameters."""
    ours, theirs = library_of(estimator.means_), library_of(x) or "numpy"
    if not ours or (ours == "numpy" and theirs == "dask"):
        return
    if ours != theirs:
        differ = f"Array namespaces used during fit ({ours}) and {method} ({theirs}) differ."
    else:
        own, other = (space_of({"X": a}).device for a in (estimator.means_, rows))
        if own == other:
            return
        differ = f"Devices used during fit ({own}) and {method} ({other}) differ."
    raise ValueError(
        f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and "
        f"the same device as those passed to fit(). {differ}"
    )


def check_weight(rows: Array, sample_weight: Any) -> Array | None:
    """Weights of rows as an array of their library, whichever they come from."""
    if sample_weight is None:
        return None
    if library_of(sample_weight) not in ("", "numpy", "dask", library_of(rows)):
        sample_weight = to_host(sample_weight)
    space = space_of({"X": rows})
    weight = space.parameter("sample_weight", sample_weight)
    if is_concrete(weight) and weight.shape[0] and not to_host(weight).any():
        raise ValueError("sample_weight is zero for all rows; at least one must be positive")
    return check_sample_weight(space, weight, rows.shape[0])


def is_finite(x: Any) -> bool:
    """Whether rows are known to be finite."""
    return is_concrete(x) and bool(np.isfinite(to_host(x)).all())


def check_initial_parameters(estimator: Any, d: int) -> dict[str, Any]:
    """The initial parameters that the estimator was given, by their names without ``_init``.

    They come from any library, and go to that of the rows.
    """
    k, kind = estimator.n_components, estimator.covariance_type
    given = {}
    for name, shape, allow_nd in (
        ("weights", (k,), False),
        ("means", (k, d), False),
        ("precisions", COVARIANCE_TYPES[kind].shape(k, d), kind == "full"),
    ):
        value = getattr(estimator, f"{name}_init")
        if value is None:
            continue
        host = check_array(
            value if library_of(value) in ("", "numpy", "dask") else to_host(value),
            dtype=[np.float64, np.float32],
            ensure_2d=False,
            allow_nd=allow_nd,
        )
        title = name if name != "precisions" else f"{kind} precision"
        if host.shape != shape:
            raise ValueError(
                f"The parameter '{title}' should have the shape of {shape}, but got {host.shape}"
            )
        if name == "weights":
            _check_weights(host)
        elif name == "precisions":
            _check_precisions(kind, host)
        given[name] = host
    return given


def _check_weights(weights: np.ndarray[Any, Any]) -> None:
    if (weights < 0.0).any() or (weights > 1.0).any():
        # The two numbers stand in this order in scikit-learn's message.
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{weights.min():.5f}, min value {weights.max():.5f}"
        )
    if abs(1.0 - float(weights.sum())) > (1e-6 if weights.dtype == np.float32 else 1e-8):
        raise ValueError(
            "The parameter 'weights' should be normalized, but got sum(weights) = "
            f"{weights.sum():.5f}"
        )


def _check_precisions(kind: str, precisions: np.ndarray[Any, Any]) -> None:
    if kind in ("diag", "spherical"):
        if (precisions <= 0.0).any():
            raise ValueError(f"'{kind} precision' should be positive")
        return
    symmetric = np.allclose(precisions, np.swapaxes(precisions, -1, -2))
    if not symmetric or (np.linalg.eigvalsh(precisions) <= 0.0).any():
        raise ValueError(f"'{kind} precision' should be symmetric, positive-definite")
