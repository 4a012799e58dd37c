"""Which format an uploaded file has: told by its content, and by its name where that cannot."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from estep_xp.cli.read.signatures import require_text
from estep_xp.files.errors import InputError

_SIGNATURES = {b"\x93NUMPY": ".npy", b"PAR1": ".parquet"}
_SAMPLE_SIZE = 1000  # bytes that tell whether a file is text
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x19\x1b-\x1f]")


def recognise_format(path: Path, place: Path) -> str:
    """Return the ending that the name of a file should have.

    Parameters
    ----------
    path : Path
        The name that it was sent under.
    place : Path
        Where it lies.

    Raises
    ------
    InputError
        If it has a format that is not read; the error says which.
    """
    with place.open("rb") as file:
        sample = file.read(_SAMPLE_SIZE)
    for signature, suffix in _SIGNATURES.items():
        if sample.startswith(signature):
            return suffix
    if list_arrays(place):
        return ".npz"
    require_text(path, sample)
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz", ".parquet"):
        return suffix
    n_control = len(_CONTROL.findall(sample))
    if n_control > 2 and n_control > len(sample) / 20:
        raise InputError(str(path), "is not text, nor of another format that is read")
    return ".tsv" if suffix == ".tsv" else ".csv"


def list_arrays(place: Path) -> list[str]:
    """Return the names of the arrays in a .npz archive; none if it is something else."""
    try:
        with zipfile.ZipFile(place) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
