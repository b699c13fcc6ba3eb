"""What a campaign says about its forcing."""

from __future__ import annotations

from typing import Literal

from pipshpc.errors import SpecError
from pipshpc.schema import Record


class Native(Record, frozen=True):
    """Where an odd file keeps a quantity: by variable name or by GRIB keys, with true units if need be."""

    name: str = ""
    grib: dict[str, str | int | float] = {}
    units: str = ""

    def __post_init__(self) -> None:
        if bool(self.name) == bool(self.grib) and not (self.units and not self.name):
            raise ValueError("give either 'name' or 'grib' (or 'units' alone)")


class Forcing(Record, frozen=True):
    """The forcing of a campaign.

    Parameters
    ----------
    kind : "files" (reanalysis, forecast, station grids), "granules" (satellite tiles and scenes) or "idealised"
    paths : files, in any order; ``*``, ``?`` and ``**`` are expanded; relative
        paths start at the folder of the campaign file
    variables : canonical name to native name, for files that
        ``data/variables.yaml`` does not know; a mapping with `name` or `grib`
        and `units` where the units in the file are missing or wrong
    hold : the files hold one time; the state is held over the whole period
        while the sun moves
    step_h : hours between the states of an idealised forcing, a divisor of 24
    downscale : bring temperature, humidity and pressure to the elevation of
        the product's pixels
    resample : how granules come to the campaign's grid: "nearest", or "mean" of the pixels whose centres lie in a cell
    worst_error_k : pixels of granules whose quality bits say a larger error of temperature are missing
    grid, box : of the campaign, which sets them where the forcing is granules
    """

    kind: Literal["files", "granules", "idealised"] = "files"
    paths: list[str] = []
    variables: dict[str, str | Native] = {}
    hold: bool = False
    downscale: bool = True
    step_h: int = 1
    resample: Literal["nearest", "mean"] = "nearest"
    worst_error_k: float = 3.0
    grid: str = ""
    box: list[float] | str = ""

    def __post_init__(self) -> None:
        if self.kind != "idealised" and not self.paths:
            raise ValueError(f"forcing of kind '{self.kind}' needs 'paths'")
        if self.kind == "granules" and self.variables:
            raise ValueError("forcing of kind 'granules' takes no 'variables'; its readers name them")
        if self.kind == "idealised" and (self.paths or self.variables):
            raise ValueError("forcing of kind 'idealised' takes no 'paths' and no 'variables'")
        if self.step_h < 1 or 24 % self.step_h or (self.step_h > 1 and self.kind != "idealised"):
            raise ValueError("'step_h' is a divisor of 24, for a forcing of kind 'idealised' only")

    def native(self, name: str) -> Native | None:
        """What the campaign states about the canonical variable `name`, if anything."""
        stated = self.variables.get(name)
        return Native(name=stated) if isinstance(stated, str) else stated


def check_names(spec: Forcing, known: list[str]) -> None:
    """Raise `SpecError` where `variables` names a quantity that does not exist."""
    unknown = [name for name in spec.variables if name not in known]
    if unknown:
        raise SpecError(f"forcing.variables: unknown quantity {', '.join(unknown)}; known are: {', '.join(known)}")
