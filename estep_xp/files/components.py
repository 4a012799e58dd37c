"""Components as a file holds them: a family by its name, its numbers by the names of its fields.

Gaussian families have means and covariances, whatever their fields; for tied and full ones
precision_cholesky stands beside the covariances, which people read, and comes back bit for bit.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from estep_xp import families
from estep_xp.arrays import linalg
from estep_xp.arrays.namespace import numpy_namespace, space_of
from estep_xp.arrays.quiet import quiet
from estep_xp.families import contract
from estep_xp.files.errors import InputError
from estep_xp.files.strict_json import Dtype, JsonObject


class _Gaussian(NamedTuple):
    """How one Gaussian family stands in a file: the axes of its means and its covariances."""

    means: str
    covariances: str
    from_covariances: str = ""  # the name of the constructor; "" if the covariances are a field


_GAUSSIANS = {
    "univariate": _Gaussian("k", "k"),
    "spherical": _Gaussian("kd", "k"),
    "diagonal": _Gaussian("kd", "kd"),
    "tied": _Gaussian("kd", "dd", "from_covariance"),
    "full": _Gaussian("kd", "kdd", "from_covariances"),
}
GAUSSIAN_FAMILIES = tuple(_GAUSSIANS)


def _name_in_file(family: str) -> str:
    """Return the name of a family in files: full of FullGaussian, student_t of StudentT."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", family.removesuffix("Gaussian")).lower()


_BY_NAME = {_name_in_file(name): getattr(families, name) for name in families.__all__}
FAMILIES = {name: _BY_NAME[name] for name in (*GAUSSIAN_FAMILIES, *sorted(_BY_NAME))}
_NAMES = {family: name for name, family in FAMILIES.items()}


def name_of_family(components: Any) -> str | None:
    """Return the name in files of the family of components; None if files know no such family."""
    return _NAMES.get(type(components))


def describe_components(components: Any) -> dict[str, Any]:
    """Return what a file holds of components on NumPy arrays: texts, arrays, lists of the same."""
    name = _NAMES[type(components)]
    if name not in _GAUSSIANS:
        return {"family": name} | {
            field: [describe_components(part) for part in value] if are_parts(value) else value
            for field, value in components._asdict().items()
        }
    means, parameters = components
    if not _GAUSSIANS[name].from_covariances:
        return {"family": name, "means": means, "covariances": parameters}
    covariances, _ = _covariances_of(parameters)
    record = {"family": name, "means": means, "covariances": covariances}
    if not _are_representable(covariances):
        del record["covariances"]
    return record | {"precision_cholesky": parameters}


def are_parts(value: Any) -> bool:
    """Whether the value of a field is a tuple of components, as a product of families has."""
    return isinstance(value, tuple) and len(value) > 0 and all(type(one) in _NAMES for one in value)


def sizes_of(record: JsonObject) -> tuple[int, int] | None:
    """Return how many components and features Gaussian components have; None for others.

    Only the keys are read, no numbers.
    """
    layout = _GAUSSIANS.get(record.choice("family", FAMILIES))
    if layout is None:
        return None
    return record.length("means"), record.length("means", 0) if "d" in layout.means else 1


def read_components(record: JsonObject, dtype: Dtype) -> Any:
    """Return the components that a file describes, on NumPy arrays.

    Raises
    ------
    InputError
        If its numbers are not in lists of the right shape.
    ValueError
        If they are no covariances. Values of other fields are left to the checks of the family.
    """
    name = record.choice("family", FAMILIES)
    family = FAMILIES[name]
    if name in _GAUSSIANS:
        return _read_gaussian(record, family, _GAUSSIANS[name], dtype)
    return family(*(_read_field(record, field, dtype) for field in family._fields))


def _read_field(record: JsonObject, field: str, dtype: Dtype) -> Any:
    """Return an array, or the tuple of components that a list of objects describes."""
    parts = record.objects(field)
    if parts is not None:
        return tuple(read_components(part, dtype) for part in parts)
    return record.array(field, record.shape(field), dtype=dtype)


def _read_gaussian(record: JsonObject, family: Any, layout: _Gaussian, dtype: Dtype) -> Any:
    k, d = record.length("means"), record.length("means", 0) if "d" in layout.means else 1
    sizes = {"k": k, "d": d}
    means = record.array("means", tuple(sizes[axis] for axis in layout.means), dtype=dtype)
    shape = tuple(sizes[axis] for axis in layout.covariances)
    if not layout.from_covariances:
        return family(means, record.array("covariances", shape, _positive, dtype))
    if "precision_cholesky" not in record:
        covariances = record.array("covariances", shape, dtype=dtype)
        return getattr(family, layout.from_covariances)(means, covariances)
    factors = record.array("precision_cholesky", shape, dtype=dtype)
    components = family(means, factors)
    components._checked(space_of(contract.arrays_of(components)))  # they must be factors at all
    if "covariances" in record:
        _check_agreement(record, factors, record.array("covariances", shape))
    return components


def _positive(number: float) -> str | None:
    return None if number > 0 else "must be positive"


@quiet
def _covariances_of(factors: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the covariances of precision Cholesky factors, and how far rounding may reach.

    In double precision. The latter (..., 1, 1) is by how many times d eps an entry of the
    covariances may be off, in standard deviations of its row times those of its column: the
    inverse X of a triangular L is off by at most d eps |X| |L| |X| (Higham 2002, section 14.2).
    """
    lower = np.swapaxes(factors.astype(np.float64), -1, -2)
    inverse = linalg.inverse_lower(numpy_namespace, lower)
    condition = np.matmul(abs(lower), abs(inverse))
    norms = [condition.sum(axis=axis).max(axis=-1) for axis in (-2, -1)]
    reach = np.maximum(*norms)[..., None, None]
    return linalg.covariances_of(numpy_namespace, factors.astype(np.float64)), reach


def _are_representable(covariances: NDArray[np.float64]) -> bool:
    """Whether covariances of good factors have neither overflowed nor vanished."""
    diagonals = np.diagonal(covariances, axis1=-2, axis2=-1)
    return bool(np.isfinite(covariances).all() and (diagonals > 0).all())


@quiet
def _check_agreement(
    record: JsonObject, factors: NDArray[Any], covariances: NDArray[np.float64]
) -> None:
    """Raise InputError unless the covariances are those of the factors, but for rounding.

    Another program, or the same on another processor, may round otherwise; by how much depends on
    the conditioning. sqrt(eps) is allowed in any case, as where a covariance must be symmetric: a
    covariance that somebody has edited, and not the factor, differs by more.
    """
    expected, reach = _covariances_of(factors)
    eps, d = float(np.finfo(factors.dtype).eps), factors.shape[-1]
    tolerance = np.maximum(np.sqrt(eps), 8 * d * eps * reach)
    deviations = np.sqrt(np.diagonal(expected, axis1=-2, axis2=-1))
    scale = deviations[..., :, None] * deviations[..., None, :]
    slack = 8 * np.finfo(np.float64).smallest_subnormal
    bad = np.argwhere(~(abs(covariances - expected) <= tolerance * scale + slack))
    if len(bad):
        index = tuple(bad[0].tolist())
        where = "".join(f"[{i}]" for i in index)
        raise InputError(
            f"{record.place}: covariances{where}",
            f"is {covariances[index]!s} but {expected[index]:.17g} by precision_cholesky; correct "
            "one of the two, or leave it out",
        )
