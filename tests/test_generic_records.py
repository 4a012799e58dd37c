"""Records that are generic in their components are plain tuples all the same."""

from __future__ import annotations

import copy
import pickle

import pytest

import estep_xp as ex

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
