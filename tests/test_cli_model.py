"""MODEL.json: read, written, and refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.files.errors import InputError
from estep_xp.files.model import ModelFile, encode_model
from tests.data_files import BOM, THIRD, read

MODELS = {
    "univariate": ([0.1, -2e-300], [THIRD, 5e-324]),
    "spherical": ([[0.1, 1e300], [2.0, 3.0]], [THIRD, 7.0]),
    "diagonal": ([[0.1, 1e300], [2.0, 3.0]], [[THIRD, 7.0], [1e-9, 2.0]]),
    "tied": ([[0.1, 1e300], [2.0, 3.0]], [[THIRD, 0.1], [0.1, 2.0]]),
    "full": (
        [[0.1, 1e300], [2.0, 3.0]],
        [[[THIRD, 0.1], [0.1, 2.0]], [[1e-9, 0.0], [0.0, 1e9]]],
    ),
}


def a_record(family="full", **changes):
    means, covariances = MODELS[family]
    record = {"format": "estep_xp.mixture", "version": 1, "family": family}
    return record | {"weights": [0.1, 0.2], "means": means, "covariances": covariances} | changes


def read_model(path):
    return ModelFile(path).read()


@pytest.mark.parametrize("family", MODELS)
def test_models_round_trip_exactly(tmp_path, family):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(a_record(family)))
    model = read_model(path)
    components = model.components
    assert model.weights.tolist() == [0.1, 0.2]
    assert components.means.tolist() == MODELS[family][0]
    np.testing.assert_allclose(components.covariances, MODELS[family][1], rtol=1e-14)
    again = tmp_path / "again.json"
    again.write_bytes(encode_model(model, None))
    record = json.loads(again.read_text())
    if family in ("tied", "full"):
        assert record.pop("precision_cholesky") == components.precision_cholesky.tolist()
        assert record.pop("covariances") == components.covariances.tolist()
    else:
        assert record.pop("covariances") == MODELS[family][1]
    expected = a_record(family)
    del expected["covariances"]
    assert record == expected
    written = again.read_bytes()
    again.write_bytes(encode_model(read_model(again), None))
    assert again.read_bytes() == written


def test_format_version_and_byte_order_mark_are_optional(tmp_path):
    path = tmp_path / "model.json"
    record = a_record("diagonal", notes="other keys are for other readers")
    del record["format"], record["version"]
    for mark in ("", BOM):
        path.write_text(mark + json.dumps(record), encoding="utf-8")
        assert isinstance(read_model(path).components, ex.DiagonalGaussian)


BAD_MODELS = [
    ({"format": "other"}, ': format: is "other"; must be one of estep_xp.mixture'),
    ({"version": 2}, ": version: is 2; must be 1"),
    ({"version": "1"}, ': version: is "1"; must be 1'),
    ({"family": "fool"}, ': family: is "fool"; must be one of univariate, spherical, diagonal'),
    ({"family": ["full"]}, ": family: is a list of length 1; must be one of"),
    ({"weights": [1]}, ": weights: has length 1; must have length 2"),
    ({"weights": [1, -1]}, ": weights: value 2 is -1; must not be negative"),
    ({"weights": [0, 0]}, ": weights: value 1 is 0; at least one weight must be positive"),
    ({"weights": [1, True]}, ": weights: value 2 is true; must be a number"),
    ({"weights": [1, None]}, ": weights: value 2 is null; must be a number"),
    ({"weights": [1, "2"]}, ': weights: value 2 is "2"; must be a number'),
    ({"weights": "1, 2"}, ': weights: is "1, 2"; must be a list of length 2'),
    ({"weights": [1, math.nan]}, ": weights: value 2 is NaN; must be a finite number"),
    ({"weights": [1, 10**400]}, ": weights: value 2 is 1000000000"),
    ({"means": []}, ": means: is a list of length 0; must be a list of numbers, one at least"),
    ({"means": [[], []]}, ": means[0]: is a list of length 0; must be a list of numbers"),
    ({"means": [1, 2]}, ": means[0]: is 1; must be a list of numbers, one at least"),
    ({"means": None}, ": means: is null; must be a list of numbers"),
    ({"means": [[1, 2], [3]]}, ": means[1]: has length 1; must have length 2"),
    ({"means": [[1, 2], [3, {}]]}, ": means[1]: value 2 is an object; must be a number"),
    ({"means": [[1, 2], [3, -math.inf]]}, ": means[1]: value 2 is -Infinity; must be a finite"),
    ({"covariances": [[1, 2], [3, 4]]}, ": covariances[0][0]: is 1; must be a list of length 2"),
    ({"covariances": [[[1, 0], [0, 1]]]}, ": covariances: has length 1; must have length 2"),
    ({"covariances": [[[1, 2], [2, 1]]] * 2}, ": covariances[0] is not positive definite"),
    ({"covariances": [[[1, 0.2], [0.3, 1]]] * 2}, ": covariances[0] is not symmetric"),
    ({"family": "tied", "covariances": [[1, 2], [2, 1]]}, "not positive definite"),
    ({"family": "diagonal", "covariances": [[1, 2], [2, -1]]}, ": covariances[1]: value 2 is -1; "),
    ({"family": "spherical", "covariances": [1, 0]}, ": covariances: value 2 is 0; must be positi"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_MODELS)
def test_bad_models(tmp_path, changes, message):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(a_record() | changes))
    with pytest.raises(InputError) as error:
        read_model(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


@pytest.mark.parametrize("key", ["family", "weights", "means", "covariances"])
def test_models_need_every_part(tmp_path, key):
    path = tmp_path / "model.json"
    record = a_record()
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"{key} is missing"):
        read_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", " line 1: is not JSON: "),
        (b'{\n"family": "full"\n"weights": [1]}', " line 3: is not JSON: "),
        (b"[1, 2]", ": must hold a JSON object"),
        (b"\xff\xfe{", ": is not JSON: it must be UTF-8 text"),
        (b"[" * 100_000, ": is not a mixture: its lists are nested too deeply"),
        (b'{"means": [1], "means": [2]}', ": has means twice"),
        (b"9" * 5000, ": must hold a JSON object"),
    ],
    ids=range(7),
)
def test_files_that_are_no_model(tmp_path, content, message):
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_model(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_the_example_models_are_fits_of_the_example_data():
    folder = Path(__file__).parent.parent / "examples" / "data"
    for name, columns, expected in (
        ("faithful.json", None, -1130.264),
        ("faithful_waiting.json", "waiting", -1034.002),
    ):
        model = ex.load(folder / name)
        d = ModelFile(folder / name).n_features
        x, _ = read(folder / "faithful.csv", columns, d=d)
        data = np.asarray(x) if d > 1 else np.asarray(x)[:, 0]
        assert float(ex.log_likelihood(data, model)) == pytest.approx(expected, abs=2e-3)
