"""What all tests share: the ``backend`` fixture and JAX in float64."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections import defaultdict
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.backends import BACKENDS, Backend
from tests.browsing import browser, page_address, visit  # noqa: F401, fixtures
from tests.commands import call
from tests.quick_xla import start_jax

if importlib.util.find_spec("jax") is not None:
    start_jax()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): run only on these backends")
    config.addinivalue_line("markers", "one_program(*parameters): see is_compiled_elsewhere")
    config.addinivalue_line("markers", "few_families_on_jax(*backends): see is_left_to_other_laws")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would have JAX compile programs that other tests have it compile, too."""
    if os.environ.get("ESTEP_XP_ALL_ON_JAX"):
        return
    places = places_of_parameters(items)
    left_out = {
        item
        for item in items
        if is_compiled_elsewhere(item, places[item]) or is_left_to_other_laws(item, places[item])
    }
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


Places = dict[str, tuple[int, list[Any]]]  # by parameter: its place in the list of its values


def places_of_parameters(items: list[pytest.Item]) -> dict[pytest.Item, Places]:
    """Say of the parameters that markers ask for where in their lists they stand, by test.

    pytest's own indices count combinations, not values.
    """
    values: dict[tuple[Any, str], list[Any]] = defaultdict(list)
    places: dict[pytest.Item, Places] = {}
    for item in items:
        marker = item.get_closest_marker("one_program")
        names = ["family", "record", *(marker.args if marker else ())]
        given = item.callspec.params if hasattr(item, "callspec") else {}
        places[item] = {}
        for name in filter(given.__contains__, names):
            value = getattr(given[name], "name", given[name])
            known = values[item.function, name]
            # By identity: arrays, which components may hold, can not be compared like this.
            if not any(one is value for one in known):
                known.append(value)
            place = next(i for i, one in enumerate(known) if one is value)
            places[item][name] = place, known
    return places


def is_compiled_elsewhere(item: pytest.Item, places: Places) -> bool:
    """Whether this combination of the parameters named by `one_program` is the other backend's.

    Called eagerly or compiled by a caller, JAX has the same program compiled, and that is what
    takes time: each family, say, runs in one precision eagerly and in the other one under `jit`.
    """
    marker = item.get_closest_marker("one_program")
    if marker is None or item.callspec.params["backend"] not in ("jax", "jax_jit"):
        return False
    odd = sum(places[name][0] for name in marker.args) % 2 == 1
    return odd != (item.callspec.params["backend"] == "jax_jit")


def is_left_to_other_laws(item: pytest.Item, places: Places) -> bool:
    """Whether a law marked `few_families_on_jax` holds for this family on JAX if others do.

    Each family's numbers are compared with references on JAX, and each law holds for each family on
    NumPy. Then JAX itself is what a law is about: two families are enough, far from each other in
    the list, and which ones depends on the law. Where it runs eagerly and under `jit`, either has
    one of them; and both the same, if `one_program` chooses the backend.
    """
    marker = item.get_closest_marker("few_families_on_jax")
    if marker is None or not places:
        return False
    if item.callspec.params.get("backend", "jax") not in (marker.args or ("jax", "jax_jit")):
        return False
    place, families = places.get("record") or places["family"]
    n = len(families)
    distance = (place - sum(map(ord, item.originalname))) % n
    if item.get_closest_marker("one_program") is not None:
        return distance != 0
    only = item.get_closest_marker("backends")
    either = "backend" in item.callspec.params and (
        only is None or {"jax", "jax_jit"}.issubset(only.args)
    )
    if either and not marker.args:
        return distance != (n // 2 if item.callspec.params["backend"] == "jax_jit" else 0)
    return distance not in (0, n // 2)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker one stretch of the tests, and what others leave over when it has done them.

    Tests of a file share what JAX has compiled, references and module fixtures. The default deals
    the tests out one by one, so that each worker makes all of these for itself.
    """
    if config.getvalue("dist") != "load":
        return None  # another way was asked for
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the garbage collector leave alone what stays, and look less often at the rest.

    It would go through all tests and modules again and again: about 4 % of the time.
    """
    del session
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


MAPS = Path("/proc/self/maps")
MOST_MAPS = 30_000  # of the 65,530 areas of memory that Linux gives a process
finished = count(1)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Forget what JAX has compiled before it takes too many areas of memory, and XLA crashes."""
    del item
    jax = sys.modules.get("jax")
    if jax is None or next(finished) % 50 or not MAPS.exists():
        return
    with MAPS.open() as maps:
        if sum(1 for _ in maps) > MOST_MAPS:
            jax.clear_caches()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("backends")
        names = list(marker.args) if marker is not None else list(BACKENDS)
        metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    """One array library and the way it is called; see ``backends.py``."""
    chosen = BACKENDS[request.param]
    chosen.require()
    return chosen


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """The command, run in an empty folder within this process: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(capsys, monkeypatch, *arguments)
