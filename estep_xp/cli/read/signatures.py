"""Files that are no text of rows, whatever their name says: told by how they begin."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from estep_xp.files.errors import InputError

_UTF_16 = "UTF-16 text; must be UTF-8, which Excel saves as CSV UTF-8"
_OTHER_FORMATS = {
    codecs.BOM_UTF16_LE: _UTF_16,
    codecs.BOM_UTF16_BE: _UTF_16,
    b"PK\x03\x04": "an Excel workbook (.xlsx) or another ZIP archive, not text; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls) or other Office file, not text; save it as CSV",
    b"PAR1": "a Parquet file, not text; its name must end in .parquet",
    b"\x93NUMPY": "a NumPy array, not text; its name must end in .npy",
    b"\x1f\x8b": "packed by gzip; unpack it first",
    b"BZh": "packed by bzip2; unpack it first",
    b"\xfd7zXZ": "packed by xz; unpack it first",
    b"(\xb5/\xfd": "packed by Zstandard; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"\x89PNG": "a picture (PNG), not text",
    b"\xff\xd8\xff": "a picture (JPEG), not text",
    b"GIF8": "a picture (GIF), not text",
    b"%PDF": "a PDF document, not text",
    b"\x89HDF": "an HDF5 file, not text; save it as CSV",
    b"ARROW1": "an Arrow or Feather file, not text; save it as CSV or Parquet",
    b"SQLite": "an SQLite database, not text; save a table as CSV",
}
_OTHER_TEXTS = {
    rb"<(!doctype html|html|head|body|table)\b": "a web page (HTML), not text in rows; save its "
    "table as CSV",
    rb"<\?xml": "XML, not text in rows; save it as CSV",
    rb'\{\s*"|\[\s*[\[{"\d-]': "JSON, not text in rows; save it as CSV",
}


def require_text(path: Path, beginning: bytes) -> None:
    """Raise InputError if a file begins as one of another format does."""
    for signature, found in _OTHER_FORMATS.items():
        if beginning.startswith(signature):
            raise InputError(str(path), f"is {found}")
    text = beginning.removeprefix(codecs.BOM_UTF8).lstrip()
    for pattern, found in _OTHER_TEXTS.items():
        if re.match(pattern, text, re.IGNORECASE):
            raise InputError(str(path), f"is {found}")
