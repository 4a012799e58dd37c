"""Options of the benchmarks, ``--quick``, ``--only`` and ``--device``, and their fixture."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.benchmarks.chain_problems import ChainProblem
from tests.benchmarks.comparison import Bench
from tests.benchmarks.problems import Gradient, Problem
from tests.benchmarks.start_problems import StartProblem
from tests.benchmarks.timing import QUICK, Pace

_PROBLEMS = (ChainProblem, Problem, StartProblem)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("estep_xp benchmarks")
    group.addoption("--quick", action="store_true", help="tiny sizes, one a family: a smoke test")
    group.addoption("--only", metavar="REGEX", default="", help="only benchmarks whose id has it")
    group.addoption("--device", choices=("cpu", "gpu"), default="cpu", help="where JAX runs")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "on_gpu: JAX alone, so it makes sense on a GPU, too")
    if config.getoption("device") == "cpu" and importlib.util.find_spec("jax"):
        import jax

        jax.config.update("jax_platforms", "cpu")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = re.compile(config.getoption("only"))
    on_gpu = config.getoption("device") == "gpu"
    chosen = [
        item
        for item in items
        if only.search(item.name) and (item.get_closest_marker("on_gpu") or not on_gpu)
    ]
    chosen = _one_a_family(chosen) if config.getoption("quick") else chosen
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
    if on_gpu and not _has_gpu():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="JAX sees no GPU here"))


def _one_a_family(items: list[pytest.Item]) -> list[pytest.Item]:
    """Leave out benchmarks whose tiny problem is that of another one, but for its dtype."""
    found: dict[tuple[object, ...], pytest.Item] = {}
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        parameters = [a.problem if isinstance(a, Gradient) else a for a in parameters]
        kinds = [a.family if isinstance(a, _PROBLEMS) else a for a in parameters]
        found.setdefault((item.function, *kinds), item)
    return list(found.values())


def _has_gpu() -> bool:
    import jax

    return any(device.platform == "gpu" for device in jax.devices())


@pytest.fixture
def bench(benchmark, request) -> Bench:
    """What a benchmark measures with."""
    return Bench(benchmark, QUICK if request.config.getoption("quick") else Pace())
