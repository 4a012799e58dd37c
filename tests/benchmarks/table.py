"""Markdown tables from what pytest-benchmark has written down."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]

_FIRST = ("NumPy", "NumPy, float32 beside our float64", "Small", "JAX")  # others as they come
_SHOWN_VERSIONS = ("numpy", "scipy", "scikit-learn", "jax", "numpyro", "gmmx", "torch", "hmmlearn")


def printed(report: Record) -> str:
    """All tables, a headline above each, and a line about the machine at the top."""
    records = [b["extra_info"] for b in report["benchmarks"] if "section" in b["extra_info"]]
    sections = dict.fromkeys((*_FIRST, *(record["section"] for record in records)))
    parts = [machine(records)]
    for section in sections:
        lines = [record for record in records if record["section"] == section]
        if not lines:
            continue
        table = _TABLES.get(section, _comparison)(lines)
        together = _starts_together(lines) if section == "Starts" else ""
        parts.append(f"### {section}\n\n{_markdown(table)}{_absent(lines)}{together}")
    return "\n\n".join(parts)


def machine(records: Iterable[Record] = ()) -> str:
    """Processor, number of cores, JAX's device if it is another one, and versions."""
    devices = sorted({r["device"] for r in records if r.get("device", "cpu") != "cpu"})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = []
    for name in _SHOWN_VERSIONS:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    python = f"Python {platform.python_version()}"
    return f"{'; '.join([_processor(), *devices])}; {cores} cores; {', '.join([python, *versions])}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _comparison(lines: list[Record]) -> list[Record]:
    """Ours, the others in milliseconds, how many times as fast ours is, and how far it could go."""
    rows = []
    dtypes = {line["dtype"] for line in lines}
    others = list(dict.fromkeys(name for line in lines for name in line["times"]))
    for line in lines:
        row = {"": line["line"]} | ({"dtype": line["dtype"]} if len(dtypes) > 1 else {})
        row |= {"ours, ms" if not line["also"] else "in jit, ms": _ms(line["ours"])}
        row |= {f"{name}, ms": _ms(seconds) for name, seconds in line["also"].items()}
        row |= {name: _ms(line["times"].get(name)) for name in others}
        row |= _ratios(line)
        if line["floor"] is not None:
            row["× floor"] = f"{line['ours'] / line['floor']:.1f}"
        if line.get("device", "cpu") != "cpu" and "of_matmul" in line:
            row["of bandwidth"] = f"{line['of_bandwidth']:.0%}"
            row["of matrix rate"] = f"{line['of_matmul']:.0%}"
        rows.append(row)
    return rows


def _ratios(line: Record) -> Record:
    """The speed of ours in terms of the peer that counts."""
    if line["ratio"] is None:
        return {"ratio": "–", "goal": _number(line["goal"])}
    ratios = {"ratio" if not line["also"] else "ratio in jit": _number(line["ratio"])}
    for name, seconds in line["also"].items():
        ratios[f"ratio {name}"] = _number(line["times"][line["against"]] / seconds)
    return ratios | {"beside": line["against"], "goal": _number(line["goal"])}


def _chains(lines: list[Record]) -> list[Record]:
    """Ours and the others in milliseconds, their times over ours, and what is aimed at."""
    names = list(dict.fromkeys(name for line in lines for name in line["times"]))
    rows = []
    for line in lines:
        times, goals = line["times"], line["goals"]
        row = {"": line["line"], "ours, ms": _ms(line["ours"])}
        row |= {f"{name}, ms": _ms(times.get(name)) for name in names}
        for name in names:
            ratio = times[name] / line["ours"] if name in times else None
            goal = goals.get(name)
            bound = "" if goal is None else f" (at least {_number(goal)})"
            row[f"{name} over ours"] = f"{_number(ratio)}{bound}"
        rows.append(row)
    return rows


def _gradient(lines: list[Record]) -> list[Record]:
    columns = {
        "value and gradient, over the value": "over_value",
        "plain over ours: value and gradient": "against_plain",
        "plain over ours: value": "value_against_plain",
    }
    rows = []
    for line in lines:
        row = {"": line["line"], "value, ms": _ms(line["times"]["value"])}
        row["value and gradient, ms"] = _ms(line["ours"])
        goals = line["goals"] or (None,) * len(columns)
        for (title, name), goal, word in zip(
            columns.items(), goals, ("at most", "at least", "at least"), strict=True
        ):
            bound = "" if goal is None else f" ({word} {goal:g})"
            row[title] = f"{_number(line[name])}{bound}"
        rows.append(row)
    return rows


def _growth(lines: list[Record]) -> list[Record]:
    rows = []
    for line in lines:
        times = {int(size): seconds for size, seconds in line["times"].items()}
        row = {"": line["line"], "sizes": ", ".join(f"{size}" for size in sorted(times))}
        row["ms"] = ", ".join(_ms(times[size]) for size in sorted(times))
        row["grows with power"] = f"{line['exponent']:.2f}"
        row["at most"] = f"{line['expected']:g}"
        row["time of a row, last by first"] = _number(line.get("per_row"))
        rows.append(row | {"goal at most": _number(line.get("goal"))})
    return rows


def _memory(lines: list[Record]) -> list[Record]:
    return [
        {
            "": line["line"],
            "results, MB": f"{line['results'] / 1e6:.1f}",
            "beyond rows and results, MB": f"{line['beyond'] / 1e6:.1f}",
        }
        for line in lines
    ]


def _starts(lines: list[Record]) -> list[Record]:
    rows = []
    for line in lines:
        row = {"": line["line"]}
        row |= {
            f"{name}: reached": f"{n} of {line['tries']}" for name, n in line["reached"].items()
        }
        row |= {f"{name}, CPU ms": _ms(t) for name, t in line["seconds"].items()}
        rows.append(
            row
            | {
                f"{name}, ms to the optimum": _ms(_to_optimum(line, name))
                for name in line["reached"]
            }
        )
    return rows


def _to_optimum(line: Record, name: str) -> float | None:
    """Time until one of repeated fits, each from another seed, is expected to end there."""
    reached = line["reached"][name]
    return line["seconds"][name] * line["tries"] / reached if reached else None


def _starts_together(lines: list[Record]) -> str:
    """What the lines about starts come to, in a table of its own."""
    kinds = list(dict.fromkeys(line.get("kind") for line in lines if "reached" in line))
    groups = [(kind, [line for line in lines if line["kind"] == kind]) for kind in kinds]
    rows = []
    for kind, some in [*groups, *([("all", lines)] if kinds else [])]:
        tries = sum(line["tries"] for line in some)
        for name in some[0]["reached"]:
            seconds = sum(line["seconds"][name] for line in some)
            mine = sum(line["seconds"]["ours"] for line in some)
            reached = sum(line["reached"][name] for line in some) / tries
            row = {"problems": f"{len(some)} {kind}", "start": name, "reached": f"{reached:.0%}"}
            rows.append(row | {"CPU, s": f"{seconds:.1f}", "ours, times": _number(mine / seconds)})
    return f"\n\n{_markdown(rows)}" if rows else ""


def _absent(lines: list[Record]) -> str:
    names = sorted({name for line in lines for name in line.get("absent", ())})
    return f"\n\nNot installed, so not here: {', '.join(names)}." if names else ""


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _markdown(rows: list[Record]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[str(row.get(column, "–")) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_CHAINS = ("NumPy", "JAX", "Viterbi", "value and gradient", "an iteration of EM")
_TABLES = {
    **{f"Chains, {name}": _chains for name in _CHAINS},
    "Gradient": _gradient,
    "Growth": _growth,
    "Memory": _memory,
    "Starts": _starts,
}
