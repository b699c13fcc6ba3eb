"""Trials that may hang or crash, each run by the doctor in a process of its own: ``python -m pipshpc.probe NAME``.

A trial says what it found as one line of JSON, or ends with an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def try_kernels() -> dict[str, object]:
    """Work all examples of the product cards with the compiled kernels."""
    from pipshpc.kernel import compute
    from pipshpc.product import load_cards
    from pipshpc.prose import middle_of

    cards, wrong = load_cards(), []
    for card in cards.values():
        for check in card.checks:
            inputs: dict[str, Any] = {**check.inputs}
            got = middle_of(compute(card.id, check.algorithm, **inputs))
            if not abs(got - check.expected) <= check.tolerance:
                wrong.append(f"{card.id} by {check.algorithm}: {got:.6g}, wanted {check.expected:.6g}")
    return {"products": len(cards), "examples": sum(len(c.checks) for c in cards.values()), "wrong": wrong}


def try_ranks() -> dict[str, object] | None:
    """Let the ranks add up their numbers; the first one reports."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    total = comm.allreduce(comm.rank + 1)
    library = MPI.Get_library_version().splitlines()[0].split(",")[0]
    return {"ranks": comm.size, "sum": total, "library": library} if comm.rank == 0 else None


def try_parallel_hdf5(folder: str) -> dict[str, object] | None:
    """Write one compressed dataset with all ranks, and read what another rank wrote."""
    import h5py
    from mpi4py import MPI

    comm, path = MPI.COMM_WORLD, Path(folder, "parallel.h5")
    if not h5py.get_config().mpi:
        raise SystemExit("h5py was built without MPI")
    with h5py.File(path, "w", driver="mpio", comm=comm) as file:
        data = file.create_dataset("x", (comm.size, 1000), "i2", chunks=(1, 500), compression=1, fletcher32=True)
        with data.collective:
            data[comm.rank] = comm.rank + 1
    other = (comm.rank + 1) % comm.size
    with h5py.File(path, "r", driver="mpio", comm=comm) as file, file["x"].collective:
        seen = file["x"][other]
    if not (seen == other + 1).all():
        raise SystemExit("what one rank wrote, another read differently")
    return {"hdf5": h5py.version.hdf5_version} if comm.rank == 0 else None


def try_locks(folder: str) -> dict[str, object]:
    """Lock a file in both ways, and let HDF5 write and read one; each answer is empty where it worked."""
    import fcntl

    import h5py

    found: dict[str, object] = {}
    with Path(folder, "lock").open("w") as file:
        for name, lock in (("flock", fcntl.flock), ("fcntl", fcntl.lockf)):
            try:
                lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock(file, fcntl.LOCK_UN)
                found[name] = ""
            except OSError as error:
                found[name] = error.strerror
    try:
        with h5py.File(Path(folder, "serial.h5"), "w") as written:
            written["x"] = 1
        with h5py.File(Path(folder, "serial.h5"), "r") as read:
            read["x"][()]
        found["hdf5"] = ""
    except OSError as error:
        found["hdf5"] = str(error)
    return found


def try_statics() -> dict[str, object]:
    """Open each static field."""
    from pipshpc.errors import PipshpcError
    from pipshpc.statics import NAMES, open_static

    there, missing = [], []
    for name in NAMES:
        try:
            open_static(name)
            there.append(name)
        except PipshpcError as error:
            missing.append(str(error))
    return {"there": there, "missing": missing}


def try_product(folder: str) -> dict[str, object] | None:
    """Make a small product with all ranks, from a smooth atmosphere that needs no other file; tell its content."""
    from mpi4py import MPI

    from pipshpc.campaign import Campaign
    from pipshpc.digest import content_digest
    from pipshpc.plan import plan
    from pipshpc.run import run
    from pipshpc.schema import parse_yaml
    from pipshpc.survey import survey

    comm, forcing = MPI.COMM_WORLD, Path(folder, "forcing.nc")
    if comm.rank == 0:
        _write_forcing(forcing)
    comm.Barrier()
    text = SMALL.replace("FORCING", json.dumps(str(forcing))).replace(
        "OUTPUT", json.dumps(str(Path(folder, "product")))
    )
    campaign = parse_yaml(text, Campaign, "trial")
    task = plan(campaign, survey(campaign, Path(folder)))[0]
    run(task, comm)
    if comm.rank:
        return None
    files = {name: content_digest(task.path(name)) for name in task.products}
    return {"task": task.id, "content": files}


def _write_forcing(path: Path) -> None:
    """Write a day of temperature, dew point and cloud on 5 degrees: waves, so that every pixel has its own values."""
    import netCDF4
    import numpy as np

    hour, lat, lon = np.arange(24.0), np.linspace(90.0, -90.0, 37), np.arange(72) * 5.0
    turn = np.radians(lon)[None, None, :] + 2 * np.pi * hour[:, None, None] / 24
    north = np.radians(lat)[None, :, None]
    fields = {
        "t2m": ("K", 255 + 45 * np.cos(north) ** 2 + 5 * np.cos(turn)),
        "d2m": ("K", 250 + 42 * np.cos(north) ** 2 + 3 * np.cos(turn + 1)),
        "tcc": ("1", 0.5 + 0.4 * np.sin(3 * turn) * np.cos(north)),
    }
    with netCDF4.Dataset(path, "w") as file:
        axes = {"time": ("hours since 2019-02-02 00:00:00", hour)}
        axes |= {"latitude": ("degrees_north", lat), "longitude": ("degrees_east", lon)}
        for name, (units, values) in axes.items():
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,))[:] = values
            file[name].units = units
        for name, (units, values) in fields.items():
            # Thousandths of integers: no rounding of a library can make another number.
            data = file.createVariable(name, "i4", tuple(axes))
            data.units, data.scale_factor = units, 0.001
            data.set_auto_scale(False)
            data[:] = np.rint(values * 1000)


SMALL = """
campaign: "trial"
products: ["rlds", "rsdt"]
grid: "5deg"
box: "globe"
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "2019-02-03T00:00:00Z"
forcing: {kind: "files", paths: [FORCING], downscale: false}
site: "local"
output: OUTPUT
"""

TRIALS = {
    "kernels": try_kernels,
    "ranks": try_ranks,
    "parallel-hdf5": try_parallel_hdf5,
    "locks": try_locks,
    "statics": try_statics,
    "product": try_product,
}

if __name__ == "__main__":
    answer = TRIALS[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
    if answer is not None:
        sys.stdout.write(json.dumps(answer) + "\n")
