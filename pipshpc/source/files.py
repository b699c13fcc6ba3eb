"""Forcing from files: the finds of all readers joined along time and checked."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from pipshpc.errors import InputError
from pipshpc.forcing import Forcing, check_names
from pipshpc.offer import NOWHERE, Holdings
from pipshpc.product import load_cards
from pipshpc.source.base import FieldInfo, Source, minutes
from pipshpc.source.identity import file_digest
from pipshpc.source.names import Quantity, conversion, find_quantity, quantities
from pipshpc.source.reader import Float32Array, Found, Reader, Times, same_grid

# Fields of the terrain do not change: where a file repeats them, or gives them
# once with a time of its own, the first is taken.
UNCHANGING = ("orog", "sftlf")


def expand(patterns: Sequence[str], base: Path) -> list[Path]:
    """Files of a list of paths and glob patterns, relative to `base`, sorted, each once.

    Raises
    ------
    InputError
        A file that is not there or cannot be read, a pattern without a match.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        full = str(base / Path(os.path.expandvars(pattern)).expanduser())
        if any(c in pattern for c in "*?["):
            hits = sorted(glob.glob(full, recursive=True))  # noqa: PTH207 (Path.glob refuses absolute patterns)
            if not hits:
                raise InputError(f"no file matches '{full}'; check forcing.paths of the campaign")
        else:
            hits = [full]
        for hit in hits:
            path = Path(hit)
            if path.is_dir():
                raise InputError(f"{path}: is a folder; give files, for example '{path}/*.nc'")
            if not path.is_file():
                raise InputError(f"{path}: file does not exist; check forcing.paths of the campaign")
            if not os.access(path, os.R_OK):
                raise InputError(f"{path}: may not be read; change its permissions")
            found[path] = None
    return list(found)


def open_reader(path: Path) -> Reader:
    """Open one file with the reader that its first bytes ask for."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise InputError(f"{path}: is empty; get the file again")
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        from pipshpc.source.hdf5 import Hdf5Reader

        return Hdf5Reader(path)
    if head.startswith(b"CDF"):
        from pipshpc.source.classic import ClassicReader

        return ClassicReader(path)
    if head.startswith(b"GRIB"):
        from pipshpc.source.grib import GribReader

        return GribReader(path)
    kind = "HDF4, which is not read as forcing" if head.startswith(b"\x0e\x03\x13\x01") else f"starts with {head[:8]!r}"
    raise InputError(f"{path}: {kind}; GRIB, netCDF or HDF5 is wanted")


class _Series:
    """One canonical variable over all files: which find and index gives each time."""

    def __init__(self, name: str, quantity: Quantity, finds: list[Found], gaps: bool) -> None:
        self.name = name
        self._gaps = gaps
        self.limits = quantity.limits
        self.static = finds[0].times is None or (name in UNCHANGING and _one_time(finds))
        self.finds = finds[:1] if self.static else finds
        for f in self.finds[1:]:
            if f.times is None:
                raise InputError(f"{f.path}: '{f.native}' has no time, but {finds[0].path} gives it with times")
            if not same_grid(finds[0].grid, f.grid):
                raise InputError(
                    f"{f.path}: '{f.native}' is on another grid ({f.grid.describe()}) than in {finds[0].path} "
                    f"({finds[0].grid.describe()}); give files of one grid"
                )
        self.scale = [conversion(quantity, f.units, f"{f.path}: '{f.native}'") for f in self.finds]
        self.times, self.order = self._join()

    def _join(self) -> tuple[Times, list[tuple[int, int]]]:
        if self.static:
            return np.array([], "datetime64[s]"), [(0, 0)]
        rows = [(t, i, k) for i, f in enumerate(self.finds) if f.times is not None for k, t in enumerate(f.times)]
        rows.sort(key=lambda row: row[0])
        for (t, i, _), (u, j, _) in pairwise(rows):
            if t == u:
                one, other = self.finds[i].path, self.finds[j].path
                where = f"twice in {one}" if i == j else f"in {one} and in {other}"
                raise InputError(f"time {t} of '{self.finds[i].native}' is there {where}; give each time once")
        times = np.array([row[0] for row in rows], "datetime64[s]")
        steps = np.diff(times)
        if steps.size and np.any(steps != steps.min()) and not self._gaps:
            at = int(np.flatnonzero(steps != steps.min())[0])
            raise InputError(
                f"time axis of '{self.finds[rows[at][1]].native}' has a gap: after {times[at]} "
                f"({self.finds[rows[at][1]].path}) comes {times[at + 1]} ({self.finds[rows[at + 1][1]].path}), "
                f"but its step is {minutes(steps.min())}; give the missing times"
            )
        return times, [(i, k) for _, i, k in rows]

    def numbers(self, times: Times) -> npt.NDArray[np.int32]:
        """For each of some times the position among this series' own; `NOWHERE` where it has none."""
        if self.static:
            return np.zeros(times.size, np.int32)
        at = np.minimum(np.searchsorted(self.times, times), self.times.size - 1)
        return np.where(self.times[at] == times, at, NOWHERE).astype(np.int32)

    def paths(self) -> list[Path]:
        """File of each of the series' own times."""
        return [self.finds[which].path for which, _ in self.order]

    def read(self, index: int) -> Float32Array:
        which, within = self.order[index]
        scale, offset = self.scale[which]
        field = self.finds[which].read(within, scale, offset)
        if self.limits is not None:
            # Packing leaves values like -1e-8; NaN passes.
            np.clip(field, *self.limits, out=field)
        return field


class FileSource(Source):
    """Forcing from GRIB, netCDF and HDF5 files.

    Parameters
    ----------
    spec : what the campaign says
    base : folder that relative paths start from
    wanted : canonical names that must be there; their times and grid are the
        source's. Without it, those of the first variable found are, and
        variables on other times or another grid are left out.
    gaps : times may be missing, and may differ between variables: a campaign
        that waits for its input, or the files of one task, which the plan chose
    pass_over : leave out files that cannot be read, and note them in `holdings`

    Raises
    ------
    InputError
        Anything that would later stop a job: see the module's functions.
    SpecError
        `spec.variables` names unknown quantities.
    """

    def __init__(
        self,
        spec: Forcing,
        base: Path,
        wanted: Sequence[str] | None = None,
        gaps: bool = False,
        pass_over: bool = False,
    ) -> None:
        check_names(spec, [*quantities(), *load_cards()])
        self.paths = expand(spec.paths, base)
        self._spec, self._gaps = spec, gaps
        self._readers: list[Reader] = []
        unreadable: dict[str, str] = {}
        self._series: dict[str, _Series] = {}
        self._left_out: dict[str, str] = {}
        try:
            for path in self.paths:
                try:
                    self._readers.append(open_reader(path))
                except InputError as error:
                    if not pass_over:
                        raise
                    unreadable[str(path)] = str(error)
            if not self._readers:
                raise InputError(next(iter(unreadable.values())))
            self.paths = [reader.path for reader in self._readers]
            for name in dict.fromkeys([*quantities(), *spec.variables]):
                self._add(name)
            self._settle(wanted)
        except Exception:
            self.close()
            raise
        digests = [file_digest(path) for path in self.paths]
        self.identity = xxhash.xxh3_128_hexdigest(" ".join(sorted(digests)).encode())
        self.holdings = self._holdings(digests, unreadable)
        self.hold = spec.hold
        self.title = (
            self.paths[0].name if len(self.paths) == 1 else f"{self.paths[0].name} and {len(self.paths) - 1} more"
        )
        self.comment = self._comment()

    def read(self, name: str, index: int) -> Float32Array:
        """Return variable `name` at ``times[index]``."""
        if name not in self._series:
            self.need(name)
        if not -self.times.size <= index < self.times.size:
            raise InputError(f"{self.title}: time index {index} of {self.times.size}")
        at = int(self._numbers[name][index])
        if at == NOWHERE:
            raise InputError(f"{self.title}: holds no '{name}' for {self.times[index]}")
        return self._series[name].read(at)

    def need(self, *names: str) -> None:
        """Raise `InputError` where one of `names` cannot be read from these files."""
        for name in names:
            if name in self._series:
                continue
            if name in self._left_out:
                raise InputError(self._left_out[name])
            quantity = find_quantity(name)
            stated = self._spec.native(name)
            sought = quantity.sought({reader.keyed for reader in self._readers})
            if stated:
                sought = f"{stated.name or stated.grib} as the campaign says"
            there = list(dict.fromkeys(line for reader in self._readers for line in reader.inventory()))
            shown = ", ".join(there[:40]) + (f" and {len(there) - 40} more" if len(there) > 40 else "")
            files = str(self.paths[0]) + (f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else "")
            raise InputError(
                f"variable '{name}' ({quantity.long_name}) is not in {files}; looked for: {sought}; there is: {shown}; "
                "add a file that holds it, or name it under 'variables' of the campaign's forcing"
            )

    def close(self) -> None:
        """Close all files."""
        for reader in self._readers:
            reader.close()

    def _add(self, name: str) -> None:
        """Look for a quantity in all files; where an instant and a mean are there, the mean is `<name>_mean`."""
        quantity = find_quantity(name)
        stated = self._spec.native(name)
        try:
            finds = [reader.find(quantity, stated) for reader in self._readers]
            kinds = sorted({f.mean_s > 0 for found in finds for f in found})
            for mean in kinds:
                part = [f for found in finds for f in found if (f.mean_s > 0) == mean]
                title = f"{name}_mean" if mean and len(kinds) > 1 else name
                self._series[title] = _Series(name, quantity, part, self._gaps)
        except InputError as error:
            # Only an error if somebody wants this variable.
            self._left_out[name] = str(error)

    def _settle(self, wanted: Sequence[str] | None) -> None:
        """Fix times and grid, and leave out what does not share them."""
        self._chosen = bool(wanted)
        if wanted:
            self.need(*wanted)
        lead = self._lead(wanted)
        self.grid = lead.finds[0].grid
        moving = lead if not lead.static else None
        self.times = moving.times if moving else np.array([], "datetime64[s]")
        for name, series in list(self._series.items()):
            reason = self._differs(series, lead)
            if reason and wanted and name in wanted:
                raise InputError(reason)
            if reason:
                self._left_out[name] = reason
                del self._series[name]
        if self._gaps and moving:
            self.times = np.unique(np.concatenate([s.times for s in self._series.values() if not s.static]))
        self.step = np.diff(self.times).min() if self.times.size > 1 else None
        self._numbers = {name: series.numbers(self.times) for name, series in self._series.items()}
        if not self.times.size:
            raise InputError(f"{self.paths[0]}: holds no variable with a time; a time coordinate is wanted")
        self.variables = tuple(self._series)
        self.fields = {n: self._info(n, s) for n, s in self._series.items()}

    def _lead(self, wanted: Sequence[str] | None) -> _Series:
        names = list(wanted or self._series)
        moving = [n for n in names if not self._series[n].static] or names
        if not moving:
            reasons = "; ".join(dict.fromkeys(self._left_out.values()))
            if reasons:
                raise InputError(f"no usable forcing variable was found: {reasons}")
            there = "; ".join(self._readers[0].inventory()[:40])
            raise InputError(
                f"{self.paths[0]}: holds no known forcing variable; there is: {there}; "
                "name them under 'variables' of the campaign's forcing"
            )
        return self._series[moving[0]]

    def _differs(self, series: _Series, lead: _Series) -> str:
        one, main = series.finds[0], lead.finds[0]
        if not same_grid(one.grid, main.grid):
            return (
                f"{one.path}: '{one.native}' is on another grid ({one.grid.describe()}) than '{main.native}' in "
                f"{main.path} ({main.grid.describe()}); give files of one grid"
            )
        if series.static or np.array_equal(series.times, lead.times):
            return ""
        if self._gaps and (self._chosen or _in_step(series.times, lead.times)):
            return ""
        odd = np.setxor1d(series.times, lead.times)[0]
        has, lacks = (one, main) if odd in series.times else (main, one)
        return (
            f"'{one.native}' in {one.path} and '{main.native}' in {main.path} have different times: {odd} is there for "
            f"'{has.native}' but not for '{lacks.native}'; give the same times of both"
        )

    def _holdings(self, digests: list[str], unreadable: dict[str, str]) -> Holdings:
        number = {path: k for k, path in enumerate(self.paths)}
        holders = {}
        for name, series in self._series.items():
            of_time = np.array([number[path] for path in series.paths()], np.int32)
            at = self._numbers[name]
            holders[name] = np.where(at == NOWHERE, NOWHERE, of_time[at]).astype(np.int32)
        return Holdings(tuple(map(str, self.paths)), tuple(digests), holders, unreadable)

    def _info(self, name: str, series: _Series) -> FieldInfo:
        quantity, found = find_quantity(series.name), series.finds[0]
        return FieldInfo(
            name, quantity.units, quantity.long_name, found.native, found.cell_methods, found.mean_s, series.static
        )

    def _comment(self) -> str:
        parts = []
        means: dict[int, list[str]] = {}
        for name, info in self.fields.items():
            if info.mean_s and not name.endswith("_mean"):
                means.setdefault(info.mean_s, []).append(name)
        for seconds, names in means.items():
            parts.append(
                f"{', '.join(names)} are means over the {seconds // 3600} h before each time, taken as its state"
            )
        if self.hold:
            parts.append(
                f"the forcing holds one time, {self.times[0]} UTC: "
                "its state is held over the whole period while the sun moves"
            )
        return "; ".join(parts)


def _in_step(times: Times, others: Times) -> bool:
    """Whether two incomplete time axes can be parts of one: the same spacing, and no shift between them."""
    steps = [np.diff(t).min() for t in (times, others) if t.size > 1]
    shift = times[0] - others[0]
    return len(set(steps)) < 2 and all(shift % step == np.timedelta64(0, "s") for step in steps)


def _one_time(finds: list[Found]) -> bool:
    """Whether a find gives no more than one time per file, as constant fields do."""
    return len(finds) == 1 and finds[0].times is not None and finds[0].times.size == 1
