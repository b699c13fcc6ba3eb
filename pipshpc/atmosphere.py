"""Atmospheric correction by a table, and aerosol depth from dark vegetation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError, SpecError
from pipshpc.kernel import compute

Float32Array = npt.NDArray[np.float32]
AXES = ("aod", "sza", "vza", "raa")
TERMS = ("path", "tscat", "salb")
LIKE_DARK = {"red": 0.5, "blue": 0.25}  # of the reflectance at 2.13 um; Kaufman et al. (1997)


@dataclass(frozen=True)
class Band:
    """One band: terms (aod, sza, vza, raa, 4) and, for water, ozone and other gases, a and b of exp(-a (m u)^b)."""

    terms: Float32Array
    centre: float
    water: tuple[float, float]
    ozone: tuple[float, float]
    other: tuple[float, float]


@dataclass(frozen=True)
class AtmosphereTable:
    """Terms of the atmosphere for several bands over common axes.

    `axes` hold aerosol depths at 550 nm and angles in degrees (relative
    azimuth 0 where the sensor stands in the direction of the sun), ascending.
    """

    axes: dict[str, Float32Array]
    bands: dict[str, Band]
    aerosol: str

    def save(self, path: Path) -> None:
        """Write the table to an HDF5 file, which is there when it is whole."""
        part = path.with_name(path.name + ".part")
        with h5py.File(part, "w") as file:
            file.attrs["aerosol"] = self.aerosol
            file.attrs["comment"] = "Terms path, tscat, salb along the last axis; Vermote et al. (1997)."
            for name in AXES:
                file[name] = self.axes[name]
            for name, band in self.bands.items():
                data = file.create_dataset(f"bands/{name}", data=band.terms, fletcher32=True)
                data.attrs["centre_um"] = band.centre
                for gas in ("water", "ozone", "other"):
                    data.attrs[gas] = getattr(band, gas)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> AtmosphereTable:
        """Read a table.

        Raises
        ------
        InputError
            Where the file is not there or is no such table.
        """
        try:
            with h5py.File(path) as file:
                bands = {
                    name: Band(data[()], float(data.attrs["centre_um"]), *(_pair(data.attrs[g]) for g in _GASES))
                    for name, data in file["bands"].items()
                }
                return cls({n: file[n][()] for n in AXES}, bands, str(file.attrs["aerosol"]))
        except (OSError, KeyError) as error:
            raise InputError(
                f"{path} is no table of the atmosphere ({error}); 'python -m pipshpc.sixs make {path}' makes one"
            ) from error

    def band(self, name: str) -> Band:
        """Return a band, or raise `SpecError` naming those there are."""
        if name not in self.bands:
            raise SpecError(f"the table has no band '{name}'; it has: {', '.join(self.bands)}")
        return self.bands[name]

    def terms(
        self,
        band: str,
        aod: npt.ArrayLike,
        sza: npt.ArrayLike,
        vza: npt.ArrayLike,
        raa: npt.ArrayLike,
        threads: int = 1,
    ) -> dict[str, Float32Array]:
        """Return path reflectance, two-way transmittance and sky reflectance of scattering, by pixel.

        Linear between the nodes; aerosol depths beyond the table count as its ends, zenith angles beyond it give NaN.
        """
        from pipshpc._lookup import interpolate

        shape, rows = _rows(aod, sza, vza, fold(raa))
        outs = [np.empty(rows[0].size, np.float32) for _ in TERMS]
        interpolate(self.band(band).terms, [self.axes[n] for n in AXES], *rows, *outs, threads)
        return {name: out.reshape(shape) for name, out in zip(TERMS, outs, strict=True)}

    def transmittance(
        self, band: str, sza: npt.ArrayLike, vza: npt.ArrayLike, water: npt.ArrayLike, ozone: npt.ArrayLike
    ) -> Float32Array:
        """Two-way transmittance of the gases; water vapour in kg m-2, ozone in atm-cm."""
        found = self.band(band)
        mass = 1 / np.cos(np.radians(np.asarray(sza, float))) + 1 / np.cos(np.radians(np.asarray(vza, float)))
        columns = ((found.water, 0.1 * np.asarray(water, float)), (found.ozone, np.asarray(ozone, float)))
        depth = found.other[0] * mass ** found.other[1]
        for (a, b), column in columns:
            depth = depth + a * (mass * np.maximum(column, 0.0)) ** b
        return np.asarray(np.exp(-depth), dtype=np.float32)

    def correct(
        self,
        band: str,
        toar: npt.ArrayLike,
        aod: npt.ArrayLike,
        sza: npt.ArrayLike,
        vza: npt.ArrayLike,
        raa: npt.ArrayLike,
        water: npt.ArrayLike = 20.0,
        ozone: npt.ArrayLike = 0.3,
        threads: int = 1,
    ) -> Float32Array:
        """Reflectance of the surface below the atmosphere, taken as Lambertian (product `sr`, 6s-terms).

        Parameters
        ----------
        toar : reflectance outside the atmosphere
        aod : aerosol depth at 550 nm
        sza, vza, raa : degrees
        water, ozone : kg m-2, atm-cm
        """
        terms = self.terms(band, aod, sza, vza, raa, threads)
        tgas = self.transmittance(band, sza, vza, water, ozone)
        return compute("sr", "6s-terms", threads=threads, toar=toar, tgas=tgas, **terms)

    def aerosol_depth(
        self, band: str, toar: npt.ArrayLike, sr: npt.ArrayLike, sza: npt.ArrayLike, vza: npt.ArrayLike,
        raa: npt.ArrayLike, threads: int = 1,
    ) -> Float32Array:  # fmt: skip
        """Aerosol depth at 550 nm that makes ground of known reflectance look as it does.

        `toar` is corrected for gases. NaN where the ground is so bright that aerosol does not brighten it throughout
        the table, or where it is brighter than the thickest aerosol makes it.
        """
        from pipshpc._lookup import dark_target

        shape, rows = _rows(toar, sr, sza, vza, fold(raa))
        out = np.empty(rows[0].size, np.float32)
        dark_target(self.band(band).terms, [self.axes[n] for n in AXES], *rows, out, threads)
        return out.reshape(shape)


_GASES = ("water", "ozone", "other")


def dark_target(
    table: AtmosphereTable,
    toar: dict[str, Float32Array],
    usable: npt.NDArray[np.bool_],
    sza: float,
    vza: float,
    raa: float,
    water: float = 20.0,
    ozone: float = 0.3,
    cell: int = 10,
) -> Float32Array:
    """Aerosol depth over dark vegetation on cells of `cell` x `cell` pixels; Kaufman et al. (1997).

    Parameters
    ----------
    toar : reflectances outside the atmosphere, (ny, nx), of bands "swir2" and one or both of "red" and "blue"
    usable : (ny, nx) no cloud, no water, no snow
    sza, vza, raa : degrees, of the whole scene; water in kg m-2, ozone in atm-cm

    Returns
    -------
    numpy.ndarray
        (ny // cell, nx // cell) float32, aerosol depth at 550 nm; NaN where fewer than an eighth of the pixels are
        dark (reflectance of 0.01 to 0.25 at 2.13 um).

    Notes
    -----
    Of the dark pixels of a cell the middle part (20th to 50th percentile in red, or blue) is averaged first: shadows
    and bright remains go. Doi of the relation of the bands: 10.1029/96JD03988 and 10.1109/36.628795.
    """
    short = [b for b in LIKE_DARK if b in toar]
    free = {b: toar[b] / table.transmittance(b, sza, vza, water, ozone) for b in (*short, "swir2")}
    dark = usable & (free["swir2"] > 0.01) & (free["swir2"] < 0.25)
    ny, nx = (s // cell for s in dark.shape)
    pixels = {b: _cells(np.where(dark, v, np.nan), ny, nx, cell) for b, v in free.items()}
    lead = np.sort(pixels[short[0]], axis=-1)  # NaN last
    count = np.isfinite(lead).sum(axis=-1)
    low, high = (
        np.take_along_axis(lead, np.minimum((q * count).astype(int), cell * cell - 1)[..., None], -1)
        for q in (0.2, 0.5)
    )
    middle = (pixels[short[0]] >= low) & (pixels[short[0]] <= high)
    enough = count >= cell * cell // 8
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = {b: np.where(middle, v, 0).sum(-1) / middle.sum(-1) for b, v in pixels.items()}
    total = np.array([table.aerosol_depth(b, mean[b], LIKE_DARK[b] * mean["swir2"], sza, vza, raa) for b in short])
    there = np.isfinite(total)
    with np.errstate(invalid="ignore"):
        found = np.where(there, total, 0).sum(0) / there.sum(0)
    return np.asarray(np.where(enough, found, np.nan), dtype=np.float32)


def fold(raa: npt.ArrayLike) -> Float32Array:
    """Relative azimuth of any turn as 0..180 degrees: left and right are alike."""
    return np.asarray(np.abs((np.asarray(raa, float) + 180.0) % 360.0 - 180.0), dtype=np.float32)


def _cells(values: npt.NDArray[np.floating], ny: int, nx: int, cell: int) -> npt.NDArray[np.floating]:
    """Pixels of each cell along a last axis."""
    cut = values[: ny * cell, : nx * cell].reshape(ny, cell, nx, cell)
    return cut.transpose(0, 2, 1, 3).reshape(ny, nx, cell * cell)


def _rows(*values: npt.ArrayLike) -> tuple[tuple[int, ...], list[Float32Array]]:
    """Broadcast to one shape; contiguous float32 rows."""
    arrays = np.broadcast_arrays(*(np.asarray(v, np.float32) for v in values))
    return arrays[0].shape, [np.ascontiguousarray(a).reshape(-1) for a in arrays]


def _pair(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])
