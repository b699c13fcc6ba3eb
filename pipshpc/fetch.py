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
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import xxhash

from pipshpc.errors import PipshpcError, SiteError
from pipshpc.schema import Record, load_yaml
from pipshpc.statics import NAMES, TILE, folder, open_static, static_path

TABLE = Path(__file__).parent.parent / "envs" / "statics.yaml"

LOWEST_DRY_LAND = -160.0  # Lake Assal and the Turfan depression lie at -155 m
ICE_SHEETS = 60.0  # degrees: poleward of it pvlib's altitude gives the bedrock below the ice
JORDAN = (30.5, 33.5, 35.0, 36.0, -430.0)  # south, north, west, east, lowest: the Dead Sea valley


class Origin(Record, frozen=True):
    """One package that carries a field."""

    installer: Literal["apt", "pip"]
    package: str
    version: str
    member: str
    sha256: str
    encoding: str
    title: str
    licence: str
    optional: bool = False


class Field(Record, frozen=True):
    """A static field and the files that it is made of."""

    parts: list[Origin]


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
    _spare.clear()
    # The land mask comes first: the terrain needs it to tell low land from sea floor.
    for name in sorted(names, key=NAMES.index):
        if static_path(name).is_file():
            say(f"{name}: there ({open_static(name).title})")
            continue
        taken = [(part, raw) for part in table[name].parts if (raw := _part(name, part, say)) is not None]
        made = MAKERS[name]({part.encoding: raw for part, raw in taken})
        _keep(static_path(name), made, [part for part, _ in taken])
        say(f"{name}: fetched ({open_static(name).title})")
    return [static_path(name) for name in names]


def _part(name: str, origin: Origin, say: Callable[[str], None]) -> bytes | None:
    """One raw file; None where it is optional and cannot be had."""
    say(f"{name}: taking {origin.package} {origin.version} with {origin.installer}")
    try:
        raw = _take(origin)
    except (OSError, subprocess.SubprocessError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        stderr = getattr(error, "stderr", None)
        why = stderr.strip().splitlines()[-1] if stderr and stderr.strip() else str(error)
        if origin.optional:
            say(f"{name}: made without {origin.package}, which cannot be had: {why}")
            return None
        raise SiteError(
            f"static field '{name}' cannot be had: {origin.package} {origin.version} ({origin.installer}): {why}; "
            f"check the network and the package registries, or copy {static_path(name).name} from another machine "
            f"to {folder()}"
        ) from error
    found = hashlib.sha256(raw).hexdigest()
    if found != origin.sha256:
        raise SiteError(
            f"static field '{name}': {origin.member} of {origin.package} {origin.version} has sha256 {found}, "
            f"{TABLE.name} wants {origin.sha256}; do not use it before somebody has looked at it"
        )
    return raw


_spare: dict[tuple[str, str, str], bytes] = {}  # members of a package that other fields of the same call want


def _take(origin: Origin) -> bytes:
    """Download a package into a temporary folder and return the one member."""
    if (spare := _spare.pop((origin.package, origin.version, origin.member), None)) is not None:
        return spare
    with tempfile.TemporaryDirectory(prefix="pipshpc-statics-") as name:
        where = Path(name)
        if origin.installer == "pip":
            _run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
                  f"{origin.package}=={origin.version}"], where)  # fmt: skip
            with zipfile.ZipFile(next(where.glob("*.whl"))) as wheel:
                # Other fields may be in the same package: one download serves them all.
                siblings = _members(origin) & set(wheel.namelist())
                _spare.update({(origin.package, origin.version, name): wheel.read(name) for name in siblings})
                return wheel.read(origin.member)
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise FileNotFoundError(f"no {tool} on this machine")
        # A package of another revision is taken too: the checksum of the member decides.
        _run(["apt-get", "download", "--quiet", origin.package], where)
        return _member_of_deb(next(where.glob("*.deb")), origin.member)


def _members(origin: Origin) -> set[str]:
    """Other members of the same package that the table wants."""
    parts = [part for field in load_yaml(TABLE, dict[str, Field]).values() for part in field.parts]
    same = {p.member for p in parts if (p.package, p.version) == (origin.package, origin.version)}
    return same - {origin.member}


def _member_of_deb(package: Path, member: str) -> bytes:
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=cast(IO[bytes], process.stdout), mode="r|") as archive,
    ):
        for entry in archive:
            if entry.name.removeprefix("./") == member:
                content = archive.extractfile(entry)
                data = content.read() if content else b""
                process.kill()
                return data
    raise KeyError(f"{member} is not in {package.name}")


def _run(command: list[str], where: Path) -> None:
    subprocess.run(command, cwd=where, check=True, capture_output=True, text=True, timeout=900)


def _keep(path: Path, made: Made, parts: list[Origin]) -> None:
    """Write a field: chunked, shuffled, deflated HDF5, whole or not at all."""
    import h5py

    data, y, x, units, scale = made
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    chunk = (1,) * (data.ndim - 2) + tuple(min(720, n) for n in data.shape[-2:])
    with h5py.File(part, "w") as file:
        kept = file.create_dataset(
            "data", data=data, chunks=chunk, compression="gzip", compression_opts=4, shuffle=True
        )
        file["y"], file["x"] = y, x
        if path.name.startswith("land-"):
            file["tiles"] = _tiles(data)
        kept.attrs.update(
            units=units, scale_factor=scale,
            title="; ".join(p.title for p in parts),
            licence="; ".join(p.licence for p in parts),
            source="; ".join(f"{p.package} {p.version}, {p.member}, sha256 {p.sha256}" for p in parts),
            identity=xxhash.xxh3_128_hexdigest(np.ascontiguousarray(data).tobytes()),
        )  # fmt: skip
    part.replace(path)


def _tiles(land: Array) -> Array:
    ny, nx = land.shape
    return np.asarray(land.reshape(ny // TILE, TILE, nx // TILE, TILE).sum(axis=(1, 3), dtype=np.int16))


def _centres(count: int, start: float, span: float) -> npt.NDArray[np.float64]:
    return np.asarray(start + (np.arange(count) + 0.5) * (span / count), dtype=np.float64)


def _orog(parts: dict[str, bytes]) -> Made:
    """Terrain height at nodes of 5': the better relief between the ice sheets, the other on them, sea 0.

    Both files lie beside their stated coordinates; with these shifts they
    agree with the terrain of other centres (RMSE over land within 60 degrees
    of the equator: altitude 68 to 54 m, ETOPO5 161 to 122 m; docs/statics.md).
    """
    ny, nx = 2161, 4320
    y, x = np.linspace(-90.0, 90.0, ny), np.arange(nx, dtype=np.float64) * (360.0 / nx)
    east = (x + 180.0) % 360.0 - 180.0
    height = _sample(
        _altitude(parts["pvlib-altitude"]), (y + 90.0) * 12 - 0.5, (east * (1 - 5.8e-4) + 180.0) * 12 - 0.5
    )
    if "etopo5" in parts:
        relief = _sample(_etopo5(parts["etopo5"]), (y + 1 / 24 + 90.0) * 12, (x - 1 / 8) * 12)
        polar = np.abs(y) > ICE_SHEETS
        height[polar] = relief[polar]
    dry = _all_land(ny, nx)
    low = np.full((ny, nx), LOWEST_DRY_LAND, np.float32)
    south, north, west, east_end, lowest = JORDAN
    low[np.ix_((y >= south) & (y <= north), (x >= west) & (x <= east_end))] = lowest
    # Below what land can be, land mask and relief disagree about a coast.
    keep = (height > 0) | (dry & (height >= low))
    return np.where(keep, height, 0).round().astype(np.int16), y, x, "m", 1.0


def _sample(values: Array, rows: Array, columns: Array) -> npt.NDArray[np.float32]:
    """Bilinear values at fractional rows (clamped) and columns (closed round the globe)."""
    ny, nx = values.shape
    rows = np.clip(rows, 0, ny - 1)
    j = np.minimum(rows.astype(int), ny - 2)
    i = np.floor(columns).astype(int)
    wy, wx = (rows - j)[:, None].astype(np.float32), (columns - i)[None, :].astype(np.float32)
    left, right = values[:, i % nx], values[:, (i + 1) % nx]
    across = (left * (1 - wx) + right * wx).astype(np.float32)
    return np.asarray(across[j] * (1 - wy) + across[j + 1] * wy, dtype=np.float32)


def _etopo5(raw: bytes) -> npt.NDArray[np.float32]:
    """Relief in m, 2161 x 4320 from 90 S, 0 E; a netCDF-3 file with one array of float32."""
    ny, nx = 2161, 4320
    return np.frombuffer(_last_array(raw, ny * nx), ">f4").reshape(ny, nx).astype(np.float32)


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


def _altitude(raw: bytes) -> npt.NDArray[np.float32]:
    """Altitude in m, 2160 x 4320 from 90 S, 180 W; stored in steps of 28 m from -450 m, 255 for none (sea)."""
    import h5py

    with h5py.File(io.BytesIO(raw)) as file:
        code = file["Altitude"][()][::-1]
    # The step next to sea level is -2 m.
    return np.where((code == 255) | (code == 16), 0.0, code * np.float32(28.0) - 450.0).astype(np.float32)


def _pvlib_linke(parts: dict[str, bytes]) -> Made:
    """20 x Linke turbidity; cells of 5' from 90 N, 180 W; months last."""
    import h5py

    with h5py.File(io.BytesIO(parts["pvlib-linke"])) as file:
        code = np.moveaxis(file["LinkeTurbidity"][()], 2, 0)[:, ::-1]
    _, ny, nx = code.shape
    return np.ascontiguousarray(code), _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "1", 0.05


def _globe_mask(parts: dict[str, bytes]) -> Made:
    """True on sea; cells of 30\" from 90 N, 180 W."""
    with np.load(io.BytesIO(parts["globe-mask"])) as archive:
        sea = archive["mask"]
    land = np.ascontiguousarray(~sea[::-1]).view(np.uint8)
    ny, nx = land.shape
    return land, _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "1", 1.0


def _igbp_tiff(parts: dict[str, bytes]) -> Made:
    """IGBP classes; cells of 0.05 degrees from 90 N, 180 W."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(parts["igbp-tiff"])) as image:
        classes = np.ascontiguousarray(np.asarray(image, dtype=np.uint8)[::-1])
    ny, nx = classes.shape
    return classes, _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "1", 1.0


def _ndvi_tiff(parts: dict[str, bytes]) -> Made:
    """Vegetation index in steps of 1e-4; cells of 0.05 degrees from 90 N, 180 W; sea and gaps are 0."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(parts["ndvi-tiff"])) as image:
        index = np.asarray(image, dtype=np.float32)[::-1]
    ny, nx = index.shape
    steps = np.nan_to_num(np.clip(index, -1.0, 1.0) * 1e4).round().astype(np.int16)
    return np.ascontiguousarray(steps), _centres(ny, -90.0, 180.0), _centres(nx, -180.0, 360.0), "1", 1e-4


MAKERS: dict[str, Callable[[dict[str, bytes]], Made]] = {
    "orog": _orog,
    "land": _globe_mask,
    "landcover": _igbp_tiff,
    "linke": _pvlib_linke,
    "ndvi_min": _ndvi_tiff,
    "ndvi_max": _ndvi_tiff,
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
