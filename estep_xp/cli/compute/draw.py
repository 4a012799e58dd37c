"""Rows drawn from a model, block by block: as many as a disk holds, at constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import estep_xp as ex
from estep_xp.cli.compute.results import Field
from estep_xp.files.errors import InputError

_BLOCK_SIZE = 1 << 20  # numbers; another size draws other rows from the same seed


def sample_fields(
    d: int, univariate: bool, names: Sequence[str] | None, place: str, whole: Sequence[bool]
) -> list[Field]:
    """Return the fields of drawn rows: features, by their names, and the label.

    Features side by side are one field if all of them are whole numbers or none is, else several.

    Parameters
    ----------
    d : int
        Number of features.
    univariate : bool
        Whether rows are numbers, not vectors.
    names : sequence of str or None
        The names of the features, if the model has names.
    place : str
        What holds the model, for the error.
    whole : sequence of bool
        Which of the features are whole numbers.

    Raises
    ------
    InputError
        If a feature is called as the label is.
    """
    if names is None:
        names = ["x"] if univariate else [f"x_{feature}" for feature in range(d)]
    columns = tuple(name or f"column_{feature}" for feature, name in enumerate(names))
    if "label" in columns or len(set(columns)) < len(columns):
        raise InputError(
            f"{place}: feature_names",
            "name two columns of the output alike, of which one is called label; rename a feature",
        )
    label = Field("label", ("label",), "<i8", False)
    if len(set(whole)) == 1:
        return [Field("x", columns, _dtype(whole[0]), not univariate), label]
    kinds = zip(columns, whole, strict=True)
    return [*(Field(name, (name,), _dtype(one), False) for name, one in kinds), label]


def _dtype(whole: bool) -> str:
    return "<i8" if whole else "<f8"


def whole_features(components: Any) -> list[bool]:
    """Return of each feature of components whether it is a whole number: a count or a kind."""
    if isinstance(components, ex.Product):
        return [one for part, _ in components._each() for one in whole_features(part)]
    shape = components._rows_shape()
    d = int(shape[1]) if len(shape) == 2 else 1
    return [isinstance(components, (ex.Poisson, ex.Bernoulli, ex.Categorical))] * d


def sample_values(block: ex.Sample, fields: Sequence[Field]) -> list[NDArray[Any]]:
    """Return the values of each field of drawn rows, of shape (n,) or (n, d)."""
    x, labels = np.asarray(block.x), np.asarray(block.labels)
    features = [x] if len(fields) == 2 else list(x.T)
    return [
        value.astype(field.dtype) for value, field in zip([*features, labels], fields, strict=True)
    ]


def draw_blocks(model: Any, n: int, seed: int, width: int) -> Iterator[ex.Sample]:
    """Yield `n` rows of a mixture, or of one sequence of a chain, and their labels.

    Parameters
    ----------
    model : Mixture or HMM
        The model, on NumPy arrays.
    n : int
        Number of rows.
    seed : int
        The same rows for the same seed.
    width : int
        How many numbers a row takes while it is drawn.

    Raises
    ------
    InputError
        If the model cannot be sampled.
    """
    random = np.random.default_rng(seed)
    size = max(1, _BLOCK_SIZE // width)
    for start in range(0, n, size):
        try:
            block = ex.sample(model, min(size, n - start), seed=random)
        except (TypeError, ValueError) as error:
            raise InputError("model", str(error)) from error
        yield block
        if isinstance(model, ex.HMM):  # the chain goes on from its last state
            model = model._replace(initial=model.transitions[int(block.labels[-1])])
