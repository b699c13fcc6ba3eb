"""Commands that deploy software stacks, prove them, and say which one people get."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipshpc.commands.writing import OPTIONS, AsJson, write_json, write_lines, write_table

if TYPE_CHECKING:
    from pipshpc.site import Site
    from pipshpc.stack.deploy import Deployment, Outline
    from pipshpc.stack.shelf import Shelf

stack_app = typer.Typer(help="Software stacks: deploy, prove, load as modules.", no_args_is_help=True, **OPTIONS)

Name = Annotated[str, typer.Argument(metavar="STACK", help="Name of a stack, or its file.", show_default=False)]
SiteName = Annotated[str, typer.Option("--site", help="Site whose modules and folders are meant.")]
Prefix = Annotated[
    Path | None,
    typer.Option("--prefix", help="Folder of deployed stacks; that of the site's modulepath, or $PIPSHPC_STACK_ROOT."),
]
Version = Annotated[str, typer.Option("--version", help="Version or digest, or the beginning of either.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Archive = Annotated[Path | None, typer.Option("--from", help="Exported archive (or its folder) to take all from.")]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing; take what is in the cache.")]


@stack_app.command("plan", epilog="Example: pipshpc stack plan rs-core --prefix /sw/stacks")
def plan(
    stack: Name, site: SiteName = "local", prefix: Prefix = None, archive: Archive = None, as_json: AsJson = False
) -> None:
    """Say what a deployment would do, and how long."""
    with _deployment(stack, site, prefix, archive, offline=False, install=False) as deployment:
        _tell_outline(deployment, as_json)


@stack_app.command("deploy", epilog="Example: pipshpc stack deploy rs-core --prefix /sw/stacks")
def deploy(
    stack: Name,
    site: SiteName = "local",
    prefix: Prefix = None,
    archive: Archive = None,
    offline: Offline = False,
    activate: Annotated[bool, typer.Option("--activate/--no-activate", help="Make it the default.")] = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Build a stack, prove it, and make it the default.

    Nothing changes for anybody until it has passed its proof. What is there already is found again.
    """
    with _deployment(stack, site, prefix, archive, offline, install=not dry_run) as deployment:
        if dry_run:
            _tell_outline(deployment, as_json)
            return
        outline = deployment.outline()
        with _progress(None if as_json else outline.seconds) as tell:
            deployment.tell = tell
            result = deployment.run(activate)
    if as_json:
        write_json(result)
        return
    for note in result.notes:
        typer.echo(note)
    info = result.info
    spent = sum(result.seconds.values())
    done = f"deployed and proven in {spent:.0f} s" if result.made else "is deployed already"
    module = f"{info.name}/{Path(info.prefix).name}"
    now = (
        "is the default"
        if result.active == Path(info.prefix).name
        else f"is not the default ({result.active or 'none'} is)"
    )
    was = f"; before: {result.before}" if result.before not in ("", result.active) else ""
    modulefiles = Path(info.prefix).parents[1] / "modulefiles"
    typer.echo(f"{module} {done}; {now}{was}")
    typer.echo(f"use it:   module use {modulefiles} && module load {info.name} && pipshpc doctor")


@stack_app.command("verify", epilog="Example: pipshpc stack verify rs-core")
def verify(
    stack: Name, site: SiteName = "local", prefix: Prefix = None, version: Version = "", as_json: AsJson = False
) -> None:
    """Prove a deployed stack again; say what changed since."""
    from pipshpc.stack.deploy import prove_again
    from pipshpc.stack.foundation import module_environment

    found = _site(site)
    shelf = _shelf(stack, found, prefix)
    folder = shelf.folder / shelf.find(version)
    with _progress(None if as_json else 25.0) as tell:
        proof = prove_again(folder, lambda modules: module_environment(found, modules), tell)
    if as_json:
        write_json({"prefix": str(folder), **{"digest": proof.digest, "numbers": proof.numbers}})
        return
    write_lines([f"{folder}: files and numbers are as they were deployed", *_numbers(proof.numbers)], indent="  ")


@stack_app.command("activate", epilog="Example: pipshpc stack activate rs-core --version 0.1-3f2a")
def activate(
    stack: Name,
    site: SiteName = "local",
    prefix: Prefix = None,
    version: Version = "",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make a deployed version the default."""
    shelf = _shelf(stack, _site(site), prefix)
    with shelf.lock():
        _switch(shelf, shelf.find(version), dry_run, as_json)


@stack_app.command("rollback", epilog="Example: pipshpc stack rollback rs-core")
def rollback(
    stack: Name, site: SiteName = "local", prefix: Prefix = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Make the version before the present one the default."""
    shelf = _shelf(stack, _site(site), prefix)
    with shelf.lock():
        _switch(shelf, shelf.earlier(), dry_run, as_json, back=True)


@stack_app.command("list", epilog="Example: pipshpc stack list --json")
def list_all(site: SiteName = "local", prefix: Prefix = None, as_json: AsJson = False) -> None:
    """List the stacks that are declared and deployed."""
    from pipshpc.errors import PipshpcError
    from pipshpc.stack.intact import read_record
    from pipshpc.stack.shelf import Shelf
    from pipshpc.stack.spec import list_stacks, read_stack

    root = _prefix(_site(site), prefix)
    declared = list_stacks()
    names = sorted({*declared, *(p.name for p in root.glob("*") if (p / ".lock").is_file())})
    rows: list[dict[str, Any]] = []
    for name in names:
        shelf = Shelf(root, name)
        for version in shelf.versions():
            try:
                record = read_record(shelf.folder / version)
            except PipshpcError:
                continue
            facts = {"digest": record.info.digest, "size": record.size, "prefix": record.info.prefix}
            rows.append({"name": name, "version": version, "default": version == shelf.active(), **facts})
        if not shelf.versions():
            rows.append({"name": name, "version": "", "default": False, "digest": "", "size": 0, "prefix": ""})
    if as_json:
        write_json({"prefix": str(root), "stacks": rows})
        return
    table = []
    for row in rows:
        title = read_stack(row["name"]).stack.title if row["name"] in declared else ""
        state = "not deployed" if not row["version"] else "default" if row["default"] else ""
        table.append((row["name"], row["version"], state, f"{row['size'] / 1e6:.0f} MB" if row["size"] else "", title))
    write_table(("stack", "version", "", "size", "what it is"), table, f"{root}", right=[3])


@stack_app.command("remove", epilog="Example: pipshpc stack remove rs-core --version 0.1-3f2a")
def remove(
    stack: Name,
    version: Annotated[str, typer.Option("--version", help="Version or digest.", show_default=False)],
    site: SiteName = "local",
    prefix: Prefix = None,
    force: Annotated[bool, typer.Option("--force", help="Even where it is the default.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Remove a deployed version and its modulefiles."""
    from pipshpc.errors import SpecError

    shelf = _shelf(stack, _site(site), prefix)
    with shelf.lock():
        found = shelf.find(version)
        if found == shelf.active() and not force:
            raise SpecError(
                f"{shelf.name}/{found} is the default; `pipshpc stack activate {shelf.name} --version OTHER` first, "
                "or --force"
            )
        if not dry_run:
            shelf.remove(found)
    told = {"removed": found, "prefix": str(shelf.folder / found), "dry_run": dry_run}
    write_json(told) if as_json else typer.echo(f"{'would remove' if dry_run else 'removed'} {shelf.folder / found}")


@stack_app.command("export", epilog="Example: pipshpc stack export rs-core --output /media/disk")
def export(
    stack: Name,
    site: SiteName = "local",
    prefix: Prefix = None,
    output: Annotated[Path, typer.Option("--output", help="Folder of the archive.")] = Path(),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Pack wheels, sources and locks to deploy without a network."""
    from pipshpc.stack.archive import export_stack

    with _deployment(stack, site, prefix, None, offline=False, install=not dry_run) as deployment:
        if dry_run:
            _tell_outline(deployment, as_json)
            return
        with _progress(None if as_json else 60.0) as tell:
            deployment.tell = tell
            path = export_stack(deployment, output)
    size = path.stat().st_size
    if as_json:
        write_json({"archive": str(path), "size": size})
        return
    typer.echo(f"{path} ({size / 1e6:.0f} MB)")
    typer.echo(f"there:    tar -xf {path.name} && {path.name.removesuffix('.tar')}/deploy --prefix PREFIX")


@stack_app.command("pack", epilog="Example: pipshpc stack pack rs-core --site lab")
def pack(
    stack: Name,
    site: SiteName = "local",
    prefix: Prefix = None,
    version: Version = "",
    kind: Annotated[str, typer.Option("--kind", help="squashfs or tar; the first where mksquashfs is there.")] = "",
    as_json: AsJson = False,
) -> None:
    """Pack a deployed stack into one image for the nodes."""
    from pipshpc.errors import SpecError
    from pipshpc.stack import staging

    if kind not in ("", "squashfs", "tar"):
        raise SpecError(f"found --kind {kind}; wanted squashfs or tar")
    shelf = _shelf(stack, _site(site), prefix)
    version = shelf.find(version)
    folder = staging.image_folder(shelf.modulefiles, f"{shelf.name}/{version}")
    image = staging.pack(shelf.folder / version, folder, kind or None)  # type: ignore[arg-type]
    write_json(image) if as_json else typer.echo(f"{image.folder}/{image.file} ({image.size / 1e6:.0f} MB)")


# ---- what the commands share


def _site(name: str) -> Site:
    from pipshpc.site import load_site

    return load_site(name)


def _prefix(site: Site, prefix: Path | None) -> Path:
    from pipshpc.stack.shelf import default_prefix

    return (prefix or default_prefix(site)).absolute()


def _shelf(stack: str, site: Site, prefix: Path | None) -> Shelf:
    from pipshpc.stack.shelf import Shelf

    return Shelf(_prefix(site, prefix), Path(stack).stem if stack.endswith((".yaml", ".yml")) else stack)


def _switch(shelf: Shelf, version: str, dry_run: bool, as_json: bool, back: bool = False) -> None:
    before = shelf.active() if dry_run else shelf.activate(version, back)
    if as_json:
        write_json({"name": shelf.name, "version": version, "before": before, "dry_run": dry_run})
        return
    verb = "would be" if dry_run else "is"
    typer.echo(f"{shelf.name}/{version} {verb} the default; before: {before or 'none'}")


@contextmanager
def _deployment(
    stack: str, site: str, prefix: Path | None, archive: Path | None, offline: bool, install: bool
) -> Iterator[Deployment]:
    from pipshpc.cache import cache_folder
    from pipshpc.stack.archive import opened
    from pipshpc.stack.deploy import Deployment, Order
    from pipshpc.stack.spec import HERE, read_stack

    found = _site(site)
    root = _prefix(found, prefix)
    again = (
        shlex.join(["pipshpc", "stack", *sys.argv[2:]])
        if sys.argv[1:2] == ["stack"]
        else f"pipshpc stack deploy {stack}"
    )
    with opened(archive) as content:
        order = Order(
            declared=read_stack(stack, [content.stacks] if content else None),
            site=found,
            prefix=root,
            source=content.source if content else HERE.parent,
            cache=content.cache if content else cache_folder(),
            offline=offline or content is not None,
            again=again,
        )
        yield Deployment.begin(order, install)


def _tell_outline(deployment: Deployment, as_json: bool) -> None:
    outline = deployment.outline()
    if as_json:
        write_json({**_fields(outline), "seconds": outline.seconds})
        return
    info = outline.info
    write_lines(
        [
            f"{info.name}/{Path(info.prefix).name}: {info.description}",
            f"digest  {info.digest}",
            f"prefix  {info.prefix}",
            *(f"{name}  {value}" for name, value in outline.facts.items()),
        ],
        indent="  ",
    )
    if outline.deployed and not outline.changed:
        typer.echo("is deployed already; nothing would be done but make it the default")
        return
    if outline.changed:
        typer.echo(f"is deployed, but was changed: {outline.changed}; it would be made again")
    rows = [
        (s.name, "in the cache" if s.kept else "", f"{s.seconds:.0f}", "as last time" if s.measured else "an estimate")
        for s in outline.steps
    ]
    write_table(("step", "", "seconds", ""), rows, right=[2])
    typer.echo(f"about {outline.seconds:.0f} s")


def _fields(outline: Outline) -> dict[str, Any]:
    return {name: getattr(outline, name) for name in outline.__struct_fields__}


def _numbers(numbers: dict[str, Any]) -> list[str]:
    told = []
    for name, found in numbers.items():
        brief = {k: f"{len(v)}" if k == "versions" else v for k, v in found.items()}
        told.append(f"{name}: " + ", ".join(f"{k} {v}" for k, v in brief.items() if v != []))
    return told


@contextmanager
def _progress(seconds: float | None) -> Iterator[Callable[[str], None]]:
    """Show the step under way and the time; one line for each step into a pipe. Nothing where `seconds` is None."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    if seconds is None:
        yield lambda _: None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step: typer.echo(f"stack: {step}", err=True)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn(f"of about {seconds:.0f} s"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        shown = progress.add_task("begin", total=None)
        yield lambda step: progress.update(shown, description=step)
