"""A stack as one image, and the shell lines by which a job uses a copy of it on storage of the node.

Thousands of ranks that start Python from a shared tree ask its metadata server
for some thousand files each. An image is one file: it is read once, checked,
and mounted or unpacked on each node (``stage.sh``, which is packed beside it).
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Literal

from pipshpc.errors import OutputError, SiteError
from pipshpc.schema import Record
from pipshpc.site import Site

ImageKind = Literal["squashfs", "tar"]
SCRIPT = Path(__file__).with_name("stage.sh")


class Image(Record, frozen=True):
    """A packed stack: `folder` holds the image, its checksum (SHA-256) and the script that stages it."""

    folder: str
    file: str
    sum: str
    size: int


def image_folder(modulepath: Path, module: str) -> Path:
    """Return where the image of a stack lies: ``images/NAME/VERSION`` beside the folder of modulefiles."""
    return modulepath.parent / "images" / module


def pack(prefix: Path, folder: Path, kind: ImageKind | None = None) -> Image:
    """Pack a stack into one image; whole or not at all, in the place of one that is there.

    Parameters
    ----------
    prefix : of the stack
    folder : for the image, from `image_folder`
    kind : "squashfs" is mounted where jobs run as root and unpacked by ``unsquashfs`` elsewhere,
        "tar" is unpacked; squashfs if None and ``mksquashfs`` is there

    Raises
    ------
    SiteError
        There is no stack at `prefix`, or the program that packs is missing.
    OutputError
        The image could not be written.
    """
    if not (prefix / "bin" / "python3").exists():
        raise SiteError(f"{prefix}: found no bin/python3; wanted the prefix of a deployed stack")
    kind = kind or ("squashfs" if shutil.which("mksquashfs") else "tar")
    name = f"image.{kind}"
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _run_packer(kind, prefix, part / name)
        digest = _checksum(part / name)
        (part / "image.sum").write_text(f"{digest} {name}\n", encoding="ascii")
        shutil.copy(SCRIPT, part / "stage.sh")
        size = (part / name).stat().st_size
        if folder.exists():
            folder.rename(part / "old")
        part.rename(folder)
        shutil.rmtree(folder / "old", ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{folder}: the image cannot be written ({error.strerror}); free some space") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Image(folder=str(folder), file=name, sum=digest, size=size)


def _run_packer(kind: ImageKind, prefix: Path, target: Path) -> None:
    words = {
        # lz4 costs the ranks least to read; what it is larger by travels once.
        "squashfs": ["mksquashfs", str(prefix), str(target), "-comp", "lz4", "-noappend", "-no-xattrs", "-all-root"],
        "tar": ["tar", "-cf", str(target), "--owner=0", "--group=0", "--sort=name", "-C", str(prefix), "."],
    }[kind]
    if shutil.which(words[0]) is None:
        raise SiteError(f"no {words[0]} on the PATH; apt-get install squashfs-tools, or pack as tar")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise OutputError(f"{target}: {words[0]} could not write it ({said}); free some space, or name another folder")


def _checksum(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


# ---- in jobs


def stage_lines(site: Site) -> list[str]:
    """Return the shell lines after which a job uses its node's own copy of the stack that it has loaded.

    They come after those of `pipshpc.stack.loading`. Where there is no image,
    or it does not arrive whole, the job goes on with the shared tree, and
    says so. All exported variables that name the stack's prefix name the copy
    then; ``PIPSHPC_STACK_SHARED`` keeps the prefix.
    """
    if not site.node_local:
        return []
    local = shlex.quote(site.node_local)
    return [
        'images="${PIPSHPC_STACK_PREFIX%/*/*}/images/${PIPSHPC_STACK-}" tree=',
        'if [ -r "$images/image.sum" ]; then',
        f'    tree=$(bash "$images/stage.sh" job "$images" {local}) || tree=',
        'elif [ -n "${PIPSHPC_STACK-}" ]; then',
        '    echo "warning: $PIPSHPC_STACK has no image in $images; the job uses the shared tree;'
        " 'pipshpc stack pack ${PIPSHPC_STACK%%/*}' makes one\" >&2",
        "fi",
        'export PIPSHPC_STACK_SHARED="${PIPSHPC_STACK_PREFIX-}"',
        'if [ -n "$tree" ]; then',
        "    for name in $(compgen -e); do",
        '        case "$name=${!name}" in',
        "            PIPSHPC_STACK_SHARED=*) ;;",
        '            *"$PIPSHPC_STACK_SHARED"*) export "$name=${!name//"$PIPSHPC_STACK_SHARED"/$tree}" ;;',
        "        esac",
        "    done",
        "    hash -r",
        "fi",
    ]


def run_lines(site: Site, command: str) -> list[str]:
    """Return the last lines of a batch script: run a command, and take the node's copy of the stack away after it.

    Without a copy the command takes the place of the shell, so that signals
    to the batch script reach it; with one they are passed on.
    """
    if not site.node_local:
        return [f"exec {command}"]
    local = shlex.quote(site.node_local)
    return [
        f'[ -n "$tree" ] || exec {command}',
        "told=",
        "for signal in TERM INT USR1 USR2; do",
        '    trap "told=yes; kill -$signal \\"\\$command\\" 2>/dev/null || :" "$signal"',
        "done",
        "set +e",
        f"{command} &",
        "command=$!",
        'wait "$command"',
        "code=$?",
        "# A signal ends the waiting, not the command.",
        'while [ -n "$told" ] && [ "$code" -gt 128 ]; do',
        "    told=",
        '    wait "$command"',
        "    code=$?",
        "done",
        f'bash "$images/stage.sh" end "$images" {local}',
        "exit $code",
    ]
