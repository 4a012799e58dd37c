"""What all tests share: the ``backend`` fixture and JAX in float64."""

from __future__ import annotations

import importlib.util
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.backends import BACKENDS, Backend
from tests.commands import call

if importlib.util.find_spec("jax") is not None:
    import jax

    # Once, before any array exists: float32 tests ask for float32 by name.
    jax.config.update("jax_enable_x64", True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): run only on these backends")
    config.addinivalue_line(
        "markers", "one_program(*parameters): see pytest_collection_modifyitems"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave each combination of the parameters named by `one_program` to one JAX backend.

    Called eagerly or compiled by a caller, JAX has the same program compiled, and that is what
    takes time: each family, say, runs in one precision eagerly and in the other one under `jit`.
    """
    left_out = [item for item in items if _is_compiled_elsewhere(item)]
    config.hook.pytest_deselected(items=left_out)
    others = set(items) - set(left_out)
    items[:] = [item for item in items if item in others]


def _is_compiled_elsewhere(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("one_program")
    if marker is None or item.callspec.params["backend"] not in ("jax", "jax_jit"):
        return False
    odd = sum(item.callspec.indices[name] for name in marker.args) % 2 == 1
    return odd != (item.callspec.params["backend"] == "jax_jit")


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
