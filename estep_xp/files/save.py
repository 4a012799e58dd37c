"""Models saved and loaded: `save`, `load` and `feature_names`."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Set
from pathlib import Path
from typing import Any

from estep_xp.arrays.namespace import is_tracer, is_within_reach, space_of, to_host
from estep_xp.arrays.text import shown
from estep_xp.families import contract
from estep_xp.families.hints import described, hint_for_components, hint_for_mixture
from estep_xp.files.atomic_write import replace_when_whole
from estep_xp.files.components import FAMILIES, are_parts, name_of_family
from estep_xp.files.model import STRUCTURES, ModelFile, encode_model


def save(
    path: str | os.PathLike[str], model: Any, *, feature_names: Iterable[str] | None = None
) -> None:
    """Write a model to a file, from which `load` reads it back bit for bit.

    The file is JSON, the MODEL.json of the command line, whatever its name ends in. It is written
    whole or not at all: until it is whole, an existing file stays as it was; then it is replaced.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    model : Mixture or HMM
        A model of the package's families, on arrays of any library whose numbers exist: not
        under ``jit``. Dask arrays are computed.
    feature_names : sequence of str, optional
        Names of the columns of its data, one for each feature and all different, such as
        ``frame.columns``. The command line finds columns by them.

    Returns
    -------
    None
        The file is the result.

    Raises
    ------
    TypeError
        If this is no model, or one of components that no file describes: of a class of your own.
    ValueError
        If parameters or names have a wrong shape or value, as in `e_step`.
    OSError
        If the file cannot be written, for example FileNotFoundError where there is no such folder.

    Notes
    -----
    Weights and probabilities are written as they are given, not normalised. Single precision is
    kept; numbers of several dtypes get the one in which a call would compute. For `FullGaussian`
    and `TiedGaussian` covariances stand beside precision_cholesky, for people and other programs to
    read, unless a 64-bit float cannot hold them.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import estep_xp as ex
    >>> path = Path(tempfile.mkdtemp()) / "model.json"
    >>> mixture = ex.Mixture([0.45, 0.55], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> ex.save(path, mixture, feature_names=["waiting"])
    >>> print(path.read_text())
    {
      "format": "estep_xp.mixture",
      "version": 1,
      "feature_names": ["waiting"],
      "family": "univariate",
      "weights": [0.45, 0.55],
      "means": [2.0, 6.0],
      "covariances": [1.0, 1.5]
    }
    <BLANKLINE>
    """
    place = _as_path(path)
    checked = _on_host(model)
    names = None if feature_names is None else _check_names(feature_names, checked)
    content = encode_model(checked, names)
    _refuse_other_than_files(place)
    with replace_when_whole(place) as file:
        file.write(content)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model from a file that `save`, the command line or a person has written.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    Mixture or HMM
        The model, on NumPy arrays.

    Raises
    ------
    ValueError
        If the file holds no model: the message names the value that is wrong.
    OSError
        If it cannot be read, for example FileNotFoundError where there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import estep_xp as ex
    >>> path = Path(tempfile.mkdtemp()) / "model.json"
    >>> ex.save(path, ex.Mixture([0.45, 0.55], ex.Poisson([2.0, 9.0])))
    >>> ex.load(path)
    Mixture(weights=[0.45, 0.55], components=Poisson(rates=[2, 9]))
    """
    return ModelFile(_as_path(path)).read()


def feature_names(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """Read from a model's file the names of the columns of its data.

    Parameters
    ----------
    path : str or os.PathLike
        The file.

    Returns
    -------
    tuple of str or None
        The names, one for each feature; None if the file has none.

    Raises
    ------
    ValueError
        If the file holds no model.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import estep_xp as ex
    >>> path = Path(tempfile.mkdtemp()) / "model.json"
    >>> mixture = ex.Mixture([1.0], ex.DiagonalGaussian([[2.0, 6.0]], [[1.0, 1.5]]))
    >>> ex.save(path, mixture, feature_names=["eruptions", "waiting"])
    >>> ex.feature_names(path)
    ('eruptions', 'waiting')
    """
    return ModelFile(_as_path(path)).feature_names


def _as_path(path: Any) -> Path:
    """Return a path of text, or TypeError."""
    text = path
    if isinstance(path, os.PathLike):
        text = os.fspath(path)
    if not isinstance(text, str):
        swapped = type(path) in [structure.record for structure in STRUCTURES]
        hint = "; did you swap path and model?" if swapped else ""
        raise TypeError(f"path is {shown(path)}; expected a str or an os.PathLike of text{hint}")
    return Path(text)


def _on_host(model: Any) -> Any:
    """Return a model with everything checked, on NumPy arrays of one dtype."""
    structure = next((one for one in STRUCTURES if one.record is type(model)), None)
    if structure is None:
        hint = hint_for_mixture(model)
        raise TypeError(f"model is {described(model)}; expected an estep_xp.Mixture or HMM{hint}")
    components = model.components
    if name_of_family(components) is None:
        known = ", ".join(family.__name__ for family in FAMILIES.values())
        hint = hint_for_components(components) or (
            ". Save the arrays of others with numpy.savez, or the whole model with pickle"
        )
        raise TypeError(
            f"components are {described(components)}; a file can hold those of {known}{hint}"
        )
    named: dict[str, Any] = {}
    _map_arrays(named.setdefault, model)
    for name, value in named.items():
        _require_numbers(name, value)
    space = space_of(named)
    return structure.check(
        _map_arrays(lambda name, value: to_host(space.parameter(name, value)), model)
    )


def _map_arrays(function: Callable[[str, Any], Any], record: Any, prefix: str = "") -> Any:
    """Return a record of arrays and components, with a function of name and array applied."""
    return type(record)(
        *(
            tuple(
                _map_arrays(function, part, f"{prefix}{name}[{i}].") for i, part in enumerate(value)
            )
            if are_parts(value)
            else _map_arrays(function, value, prefix)
            if name_of_family(value) is not None
            else function(f"{prefix}{name}", value)
            for name, value in record._asdict().items()
        )
    )


def _require_numbers(name: str, value: Any) -> None:
    """Raise TypeError unless the numbers of an array exist, or can be computed here."""
    if is_tracer(value):
        raise TypeError(
            f"{name} is a {type(value).__name__}, which has no numbers yet; save outside of jit, "
            "grad and vmap"
        )
    if not is_within_reach(value):
        raise TypeError(f"{name} is a {type(value).__name__} whose numbers are not all here")


def _check_names(names: Any, model: Any) -> tuple[str, ...]:
    """Return names of features as texts: all different, and as many as the model has features."""
    if isinstance(names, (str, bytes, Set)) or not isinstance(names, Iterable):
        raise TypeError(f"feature_names is {shown(names)}; expected a sequence of texts")
    names = list(names)
    rows = contract.family_of(model.components)._rows_shape() or ()
    d = int(rows[1]) if len(rows) == 2 else 1
    if len(names) != d:
        raise ValueError(f"feature_names has length {len(names)}; the model has {d} features")
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise TypeError(f"feature_names[{index}] is {shown(name)}; expected a text")
        if name in seen:
            raise ValueError(
                f"feature_names[{index}] is {shown(name)}, as feature_names[{seen[name]}] is; "
                "names must be different"
            )
        seen[name] = index
    return tuple(map(str, names))


def _refuse_other_than_files(path: Path) -> None:
    """Raise OSError if there is something at `path` that is no file, which would be replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing is there, or the write will say what is wrong
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a file that could be replaced", str(path))
