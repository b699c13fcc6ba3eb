"""Archives that deploy without a network: wheels, sources, locks, and a script that begins from a bare Python.

``NAME-VERSION.tar`` holds one folder of that name. In it are ``stacks``, the
declaration and its locks; ``cache``, laid out as the cache of wheels is;
``source``, what pipshpc and its kernels are built from; and ``deploy``. Where MPI, HDF5 and processor are those of the
machine that exported, nothing is compiled; elsewhere h5py and the kernels are
built from the sources in it. Compilers, MPI, HDF5, and the tools of the
system are not in it.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import yaml

from pipshpc.errors import InputError, OutputError
from pipshpc.stack.foundation import unpack
from pipshpc.stack.spec import Declaration, parse_lock
from pipshpc.stack.wheels import copy_sources

if TYPE_CHECKING:
    from pipshpc.stack.deploy import Deployment
    from pipshpc.stack.wheels import Workshop

BOOT = """#!/usr/bin/env bash
# Deploy the stack of this archive without a network:  ./deploy [--prefix PREFIX] [--site SITE] [--no-activate]
# It makes a small Python environment beside it (boot), from which pipshpc does the rest; remove it afterwards.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
if ! "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "deploy: no Python 3.11 or later with venv: PYTHON=$python; Debian, Ubuntu: apt-get install python3-venv;" \\
        "or name one: PYTHON=/path/to/python3 $0" >&2
    exit 4
fi
if [ ! -e "$here/boot/ready" ]; then
    rm -rf "$here/boot"
    "$python" -m venv "$here/boot"
    "$here/boot/bin/python3" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \\
        --require-hashes --find-links "$here/cache/pool" -r "$here/boot.lock"
    touch "$here/boot/ready"
fi
export PYTHONPATH=$here/source PYTHONDONTWRITEBYTECODE=1
exec "$here/boot/bin/python3" -m pipshpc.cli stack deploy @NAME@ --from "$here" "$@"
"""
# What `pipshpc stack` itself imports.
BOOT_PACKAGES = (
    "msgspec",
    "pyyaml",
    "typer",
    "rich",
    "click",
    "shellingham",
    "markdown-it-py",
    "mdurl",
    "pygments",
    "typing-extensions",
    "psutil",
    "xxhash",
    "annotated-doc",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "numpy",
)


class Content(NamedTuple):
    """An archive that is open: its stack's file, the sources of pipshpc in it, and its cache of wheels."""

    stacks: Path
    source: Path
    cache: Path


def export_stack(deployment: Deployment, folder: Path) -> Path:
    """Write the archive of a stack; whole or not at all. What is not in the cache is fetched and built first.

    Raises
    ------
    SiteError
        A wheel cannot be had or built.
    OutputError
        The archive cannot be written.
    """
    info, order = deployment.info, deployment.order
    name = f"{info.name}-{Path(info.prefix).name}"
    target, part = folder / f"{name}.tar", folder / f".{name}.tar.part"
    with tempfile.TemporaryDirectory(prefix="pipshpc-export-") as scratch:
        root = Path(scratch, name)
        prefix = Path(scratch, "prefix")
        logs = Path(scratch, "logs")
        logs.mkdir()
        shop = deployment.workshop(prefix, logs)
        files = _collect(deployment, shop, prefix)
        copy_sources(order.source, root / "source")
        shutil.copytree(order.source / "envs", root / "source" / "envs", dirs_exist_ok=True)
        _write_stack(order.declared, root / "stacks")
        (root / "boot.lock").write_text(_boot_lock(order.declared.locks | order.declared.built))
        (root / "deploy").write_text(BOOT.replace("@NAME@", info.name))
        (root / "deploy").chmod(0o755)
        deployment.tell("write the archive")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tarfile.open(part, "w") as tar:
                tar.add(root, name)
                for path in files:
                    tar.add(path, f"{name}/cache/{path.relative_to(order.cache)}")
            part.replace(target)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(
                f"{target}: cannot be written ({error.strerror}); name another folder: --output"
            ) from error
    return target


def _write_stack(declared: Declaration, folder: Path) -> None:
    """Write the declaration of a stack with its locks beside it."""
    folder.mkdir(parents=True)
    plain = msgspec.to_builtins(declared.stack)
    plain |= {"locks": [*declared.locks], "built": [*declared.built]}
    (folder / f"{declared.stack.name}.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    for name, text in {**declared.locks, **declared.built}.items():
        (folder / name).write_text(text, encoding="utf-8")


def _collect(deployment: Deployment, shop: Workshop, prefix: Path) -> list[Path]:
    """Bring all wheels into the cache, and return their files and those of the sources of what is built."""
    declared = deployment.order.declared
    for name, text in {**declared.locks, **declared.built}.items():
        deployment.tell(f"fetch {name}")
        shop.fetch(name, text)
    needed = [path for text in {**declared.locks, **declared.built}.values() for path in shop.files_of(text)]
    deployment.tell("build what is built here")
    needed += deployment.build_wheels(shop, prefix)
    return sorted({path for path in needed if path.is_file()})


def _boot_lock(locks: dict[str, str]) -> str:
    """Return the entries of the locks that pipshpc needs to deploy."""
    texts = "\n".join(locks.values())
    found = []
    for name in BOOT_PACKAGES:
        for entry in parse_lock(texts, "locks"):
            if entry.name == name:
                marker = f" ; {entry.marker}" if entry.marker else ""
                hashes = " ".join(f"--hash=sha256:{digest}" for digest in sorted(entry.hashes))
                found.append(f"{entry.name}=={entry.version}{marker} {hashes}\n")
    return "".join(found)


@contextmanager
def opened(archive: Path | None) -> Iterator[Content | None]:
    """Open an archive, or the folder that it was unpacked to; nothing where none is named.

    Raises
    ------
    InputError
        It cannot be read, or is none.
    """
    if archive is None:
        yield None
        return
    if archive.is_dir():
        yield _content(archive.absolute())
        return
    with tempfile.TemporaryDirectory(prefix="pipshpc-archive-") as scratch:
        try:
            unpack(archive, Path(scratch))
        except (OSError, tarfile.TarError) as error:
            raise InputError(f"{archive}: cannot be unpacked ({error}); copy it again, or export it again") from error
        yield _content(next((p for p in Path(scratch).iterdir() if p.is_dir()), Path(scratch)))


def _content(folder: Path) -> Content:
    content = Content(folder / "stacks", folder / "source", folder / "cache")
    if not content.stacks.is_dir() or not (content.cache / "pool").is_dir():
        raise InputError(f"{folder}: is no exported stack (no stacks or cache/pool); `pipshpc stack export` makes one")
    return content
