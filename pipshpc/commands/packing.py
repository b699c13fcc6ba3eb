"""The command that packs a deployed stack into one image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipshpc.commands.writing import OPTIONS, AsJson, write_json

app = typer.Typer(help="Software stacks: deployed, proven, loaded as modules.", no_args_is_help=True, **OPTIONS)


@app.callback()
def begin() -> None:
    """Software stacks: deployed, proven, loaded as modules."""


@app.command("pack", epilog="Example: pipshpc stack pack rs-core --prefix /sw/pipshpc")
def pack_stack(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="Name, or full name of a module.", show_default=False)],
    prefix: Annotated[Path, typer.Option("--prefix", help="Folder of the deployed stacks.")],
    kind: Annotated[str, typer.Option("--kind", help="squashfs or tar; squashfs where it can be made.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be packed, and where to.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pack a stack into one image for the nodes' own storage.

    Jobs of sites with the key node_local use it; see docs/on-your-cluster.md.
    """
    import time

    from pipshpc.errors import SiteError, SpecError
    from pipshpc.stack.modulefile import pin
    from pipshpc.stack.staging import image_folder, pack

    if kind not in ("", "squashfs", "tar"):
        raise SpecError(f"option --kind: found '{kind}', wanted squashfs or tar")
    modules = prefix.absolute() / "modulefiles"
    module = pin(stack, [modules])
    if "/" not in module:
        raise SiteError(
            f"{modules}: has no default of {stack}; `pipshpc stack activate {stack} --prefix {prefix}` first"
        )
    folder = image_folder(modules, module)
    if dry_run:
        typer.echo(f"would pack {prefix.absolute() / module} to {folder}")
        return
    begin = time.monotonic()
    image = pack(prefix.absolute() / module, folder, kind or None)  # type: ignore[arg-type]
    seconds = time.monotonic() - begin
    if as_json:
        write_json({"module": module, "image": image, "seconds": round(seconds, 3)})
        return
    typer.echo(f"{module}: {image.size >> 20} MiB in {folder}/{image.file} ({seconds:.1f} s)")
