"""Time contestants side by side and judge the figures against targets."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """What a run of the suite is like."""

    folder: Path  # on a real disk; kept input files and what is written meanwhile
    quick: bool = False
    repeats: int | None = None

    def times(self, usual: int) -> int:
        """Return how often a contestant runs."""
        return self.repeats or (1 if self.quick else usual)


@dataclass(frozen=True)
class Row:
    """One line of a table: a figure with its spread."""

    name: str
    median: float
    low: float
    high: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """A figure against what was promised."""

    name: str
    found: float
    wanted: float
    at_least: bool = True
    unit: str = ""

    @property
    def met(self) -> bool:
        """True where the promise is kept."""
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted


@dataclass
class Section:
    """The outcome of one part of the suite."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, values: list[float], unit: str, note: str = "") -> float:
        """Add a row for repeated measurements and return their median."""
        middle = statistics.median(values)
        self.rows.append(Row(name, middle, min(values), max(values), unit, note))
        return middle

    def judge(self, name: str, found: float, wanted: float, at_least: bool = True, unit: str = "") -> None:
        """Hold a figure against a target."""
        self.verdicts.append(Verdict(name, found, wanted, at_least, unit))


def interleave(
    contestants: Mapping[str, Callable[[], Any]], repeats: int, settle: bool = False
) -> dict[str, list[Any]]:
    """Run all contestants in turn, `repeats` times, and return what each gave.

    Parameters
    ----------
    contestants : name -> what to run; its result is kept
    repeats : number of rounds A B C A B C ...
    settle : flush the machine's dirty pages before each run, so that nobody waits for another's output
    """
    results: dict[str, list[Any]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, act in contestants.items():
            if settle:
                os.sync()
            results[name].append(act())
    return results


def seconds(act: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that runs `act` and gives the seconds it took."""

    def timed() -> float:
        begin = time.perf_counter()
        act()
        return time.perf_counter() - begin

    return timed
