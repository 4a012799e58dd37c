"""One line of a table: ours beside its peers, checked, timed and recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tests.benchmarks.peers import Peer, built, verify_all
from tests.benchmarks.problems import Case, Problem, draw
from tests.benchmarks.timing import Call, Pace, interleaved


class Bench(NamedTuple):
    """pytest-benchmark's fixture and how thoroughly to measure: the fixture ``bench``."""

    fixture: Any
    pace: Pace

    def case(self, problem: Problem) -> Case:
        """The numbers of a problem, or of a tiny one in its place."""
        return draw(problem.tiny() if self.pace.quick else problem)

    def note(self, section: str, line: str, **facts: Any) -> None:
        """Record what the table needs."""
        self.fixture.extra_info.update(section=section, line=line, **facts)


class Contest(NamedTuple):
    """Who runs against whom."""

    ours: Call
    peers: dict[str, Call]
    also: dict[str, Call]  # other ways to call ours
    absent: list[str]  # peers that are not installed


def contest(
    case: Case,
    peers: tuple[Peer, ...],
    ours: Call,
    also: dict[str, Call] | None = None,
    shown: Callable[[Any], Any] = lambda result: result,
) -> Contest:
    """Build the peers and hold all to our result, of which `shown` is what they compute, too."""
    calls, absent = built(peers, case)
    also = also or {}
    verify_all(calls, lambda: shown(ours()), case.problem.dtype)
    verify_all(
        {name: lambda call=call: shown(call()) for name, call in also.items()},
        lambda: shown(ours()),
        case.problem.dtype,
    )
    return Contest(ours, calls, also, absent)


def compare(
    bench: Bench,
    section: str,
    problem: Problem,
    contest: Contest,
    floor: float | None = None,
    against: str | None = None,
    repeats: int = 1,
    **facts: Any,
) -> None:
    """Time all and record it; `against` is the peer that the goal speaks of, or else the best."""
    calls = contest.also | contest.peers
    repeats = 2 if bench.pace.quick else repeats
    ours, medians = interleaved(bench.fixture, bench.pace, contest.ours, calls, repeats)
    times = {name: medians[name] for name in contest.peers}
    rival = against if against in times else min(times, key=times.__getitem__, default=None)
    bench.note(
        section,
        problem.name,
        dtype=problem.dtype,
        ours=ours,
        also={name: medians[name] for name in contest.also},
        times=times,
        against=rival,
        ratio=times[rival] / ours if rival else None,
        goal=problem.goal,
        floor=floor,
        absent=contest.absent,
        **facts,
    )
