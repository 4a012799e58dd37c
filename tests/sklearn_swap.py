"""A pytest plugin: scikit-learn's own tests of its `GaussianMixture`, run on ours.

It is loaded before scikit-learn's test modules are, so that these import our class, and leaves of
their tests those that ``sklearn_must_pass.txt`` lists: all but those of private functions, of other
classes, of hardware, and those that demand a limitation.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sklearn.mixture

from estep_xp.sklearn import GaussianMixture

sklearn.mixture.GaussianMixture = GaussianMixture

MUST_PASS = Path(__file__).with_name("sklearn_must_pass.txt").read_text().split()


def without_order(node: str) -> tuple[str, ...]:
    """A test's id; the order of its parameters depends on the version of pytest."""
    test, _, parameters = node.partition("[")
    return (test, *sorted(re.split(r"[]-]", parameters)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = {without_order(node) for node in MUST_PASS}
    found = {without_order(item.nodeid): item for item in items}
    if missing := wanted - set(found):
        raise pytest.UsageError(f"scikit-learn has no tests {sorted(missing)}")
    chosen = [found[node] for node in found if node in wanted]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
