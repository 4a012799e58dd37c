"""MODEL.json, written: the same numbers give the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from estep_xp.files.model import FORMAT, VERSION, Model
from estep_xp.files.errors import InputError


def require_model_name(path: Path) -> None:
    """Raise InputError unless the name is one for a model's file."""
    if path.suffix.lower() != ".json":
        raise InputError(str(path), "must end in .json, which is the format of models")


def encode_model(model: Model) -> bytes:
    """Return the content of a file that holds `model`: the same numbers give the same bytes."""
    record: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    if model.feature_names is not None:
        record["feature_names"] = list(model.feature_names)
    record["family"] = model.family
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    for key in ("weights", "means", "covariances"):
        # repr, which json.dumps uses, writes the shortest digits that read back as the same float.
        numbers = json.dumps(getattr(model, key).tolist(), allow_nan=False)
        lines.append(f"  {json.dumps(key)}: {numbers}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
