"""What all tests share: the ``backend`` fixture and JAX in float64."""

from __future__ import annotations

import importlib.util

import pytest

from tests.backends import BACKENDS, Backend
from tests.commands import call

if importlib.util.find_spec("jax") is not None:
    import jax

    # Once, before any array exists: float32 tests ask for float32 by name.
    jax.config.update("jax_enable_x64", True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "backends(*names): run only on these backends")


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
