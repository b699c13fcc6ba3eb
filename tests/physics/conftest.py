"""Reference vectors as columns."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Table = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def vectors(shared: Path) -> Callable[[str], Table]:
    """Return a reader of reference/<name>.csv: columns as float64, or as text where they are not numbers."""

    def read(name: str) -> Table:
        path = shared / "reference" / f"{name}.csv"
        if not path.exists():
            pytest.skip(f"no {path}")
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
        table = {}
        for column in rows[0]:
            values = [row[column] for row in rows]
            try:
                table[column] = np.array([float(v) if v else np.nan for v in values])
            except ValueError:
                table[column] = np.array(values)
        return table

    return read
