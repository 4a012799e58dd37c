"""Types promise what holds at run time, and cost nothing there."""

from __future__ import annotations

import copy
import pickle
from types import FunctionType

import pytest

import estep_xp as ex
from estep_xp.arrays.array_types import Array

MIXTURE = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([0.0, 3.0], [1.0, 1.0]))
RECORDS = [MIXTURE, ex.fit([1.0, 2.0, 7.0, 8.0], MIXTURE), ex.expected_statistics([1.0], MIXTURE)]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_generic_record_is_a_named_tuple(record):
    cls = type(record)
    subscripted = cls[ex.UnivariateGaussian]
    assert subscripted(*record) == record
    assert type(subscripted(*record)) is cls
    assert type(cls._make(record)) is cls
    assert type(record._replace(**record._asdict())) is cls
    assert not hasattr(record, "__dict__")


def test_a_generic_record_is_copied_and_pickled():
    for again in (copy.deepcopy(MIXTURE), pickle.loads(pickle.dumps(MIXTURE))):
        assert again == MIXTURE
        assert type(again) is ex.Mixture


def test_a_generic_record_is_a_pytree():
    jax = pytest.importorskip("jax")
    leaves, structure = jax.tree.flatten(RECORDS[1])
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is ex.EMResult
    assert type(again.mixture) is ex.Mixture
    assert type(again.mixture.components) is ex.UnivariateGaussian


def test_arrays_of_every_library_can_do_what_the_type_says(backend):
    array = backend.asarray([1.0, 2.0])
    kinds = (FunctionType, property)
    operations = [name for name, one in vars(Array).items() if isinstance(one, kinds)]
    assert "__matmul__" in operations
    missing = [name for name in operations if not hasattr(array, name)]
    assert missing == []
