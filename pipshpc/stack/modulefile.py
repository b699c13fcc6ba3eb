"""The modulefiles of a stack, for Lmod (Lua) and for Environment Modules (Tcl), and which version is the default.

Below a folder of modulefiles lie ``NAME/VERSION-DIGEST.lua``, which Lmod
takes, and ``NAME/VERSION-DIGEST`` in Tcl, which Lmod passes over where the
other is there and Environment Modules takes. ``NAME/.version`` names the
default; both tools read it, so one rename switches it for both at once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pipshpc.errors import SiteError, SpecError
from pipshpc.stack.info import StackInfo

Kind = Literal["lua", "tcl"]
KINDS: tuple[Kind, ...] = ("lua", "tcl")
DEFAULT = ".version"
DIGEST_LETTERS = 12  # of the digest in the name of a module
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def version_of(info: StackInfo) -> str:
    """Return the version of the module: that of the stack and the beginning of its digest."""
    return f"{info.version}-{info.digest[:DIGEST_LETTERS]}"


def module_of(info: StackInfo) -> str:
    """Return the full name of the module, as ``module load`` takes it."""
    return f"{info.name}/{version_of(info)}"


def digest_of(module: str) -> str:
    """Return the digest that the full name of a stack's module ends with; empty where it names none."""
    match = re.fullmatch(rf"[^/]+/.*-([0-9a-f]{{{DIGEST_LETTERS}}})", module)
    return match.group(1) if match else ""


def file_name(info: StackInfo, kind: Kind) -> str:
    """Return where a modulefile lies below the folder of modulefiles."""
    return module_of(info) + (".lua" if kind == "lua" else "")


def render(info: StackInfo, kind: Kind) -> str:
    """Return the text of a modulefile.

    Parameters
    ----------
    info : the stack, with absolute paths
    kind : "lua" for Lmod, "tcl" for Environment Modules (and for Lmods without the other)

    Raises
    ------
    SpecError
        A name that no module or variable can have, or a value of more than one line.
    """
    _check(info)
    return _lua(info) if kind == "lua" else _tcl(info)


def render_default(version: str) -> str:
    """Return the text of ``NAME/.version``, by which both tools know the default."""
    return f'#%Module1.0\nset ModulesVersion "{version}"\n'


def help_text(info: StackInfo) -> str:
    """Return what ``module help`` says."""
    return "\n".join(
        [
            info.description or f"Software stack {info.name}",
            f"Version {info.version}, digest {info.digest}",
            f"Prefix  {info.prefix}",
            "Try it: pipshpc doctor",
        ]
    )


def _settings(info: StackInfo) -> dict[str, str]:
    return {
        **info.environment,
        "PIPSHPC_STACK": module_of(info),
        "PIPSHPC_STACK_DIGEST": info.digest,
        "PIPSHPC_STACK_PREFIX": str(info.prefix),
    }


def _lua(info: StackInfo) -> str:
    lines = [
        f"help({_lua_word(help_text(info))})",
        f"whatis({_lua_word(f'Name: {info.name}')})",
        f"whatis({_lua_word(f'Version: {version_of(info)}')})",
        f"whatis({_lua_word(f'Description: {info.description}')})",
        *(f"conflict({_lua_word(other)})" for other in _conflicts(info)),
        *(f"depends_on({_lua_word(module)})" for module in info.modules),
        *(f"setenv({_lua_word(name)}, {_lua_word(value)})" for name, value in _settings(info).items()),
    ]
    # The last one that is put in front comes first.
    for name, folders in info.prepend.items():
        lines += [f"prepend_path({_lua_word(name)}, {_lua_word(str(folder))})" for folder in reversed(folders)]
    return "\n".join(lines) + "\n"


def _tcl(info: StackInfo) -> str:
    lines = [
        "#%Module1.0",
        "proc ModulesHelp { } {",
        *(f"    puts stderr {_tcl_word(line)}" for line in help_text(info).splitlines()),
        "}",
        f"module-whatis {_tcl_word(f'{info.name} {version_of(info)}: {info.description}')}",
        *(f"conflict {_tcl_word(other)}" for other in _conflicts(info)),
        # Once loaded, it stays: others may have asked for it, too.
        *(f"if {{ ![ is-loaded {_tcl_word(m)} ] }} {{ module load {_tcl_word(m)} }}" for m in info.modules),
        *(f"setenv {name} {_tcl_word(value)}" for name, value in _settings(info).items()),
    ]
    for name, folders in info.prepend.items():
        lines += [f"prepend-path {name} {_tcl_word(str(folder))}" for folder in reversed(folders)]
    return "\n".join(lines) + "\n"


def _conflicts(info: StackInfo) -> list[str]:
    return [info.name, *(other for other in info.conflicts if other != info.name)]


def _lua_word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _tcl_word(text: str) -> str:
    return '"' + re.sub(r'([\\"$\[\]{}])', r"\\\1", text) + '"'


def _check(info: StackInfo) -> None:
    for what, text in (("name", info.name), ("version", info.version)):
        if not NAME.fullmatch(text):
            raise SpecError(f"found {what} '{text}' of a stack; wanted letters, digits and ._+- for a module")
    if not re.fullmatch(rf"[0-9a-f]{{{DIGEST_LETTERS},}}", info.digest):
        raise SpecError(f"found digest '{info.digest}'; wanted at least {DIGEST_LETTERS} hexadecimal digits")
    for name in [*info.environment, *info.prepend]:
        if not VARIABLE.fullmatch(name):
            raise SpecError(f"found '{name}' as the name of a variable; wanted letters, digits and _")
    folders = [str(folder) for some in info.prepend.values() for folder in some]
    for text in [*info.environment.values(), *folders, str(info.prefix), info.description]:
        if re.search(r"[\x00-\x1f]", text):
            raise SpecError(f"found {text!r} in a modulefile; wanted one line without control characters")


# ---- on disk


def write_modulefiles(folder: Path, info: StackInfo) -> list[Path]:
    """Write the modulefiles of a stack for both tools, each whole; the default stays what it was.

    `folder` is what ``module use`` is given. Returns the files.
    """
    written = []
    for kind in KINDS:
        path = folder / file_name(info, kind)
        _write(path, render(info, kind))
        written.append(path)
    return written


def remove_modulefiles(folder: Path, module: str) -> None:
    """Remove the modulefiles of one version (``NAME/VERSION-DIGEST``), and the mark of the default where it was that.

    Raises
    ------
    SpecError
        Not the full name of a module.
    """
    name, version = _split(module)
    if default_of(folder, name) == version:
        (folder / name / DEFAULT).unlink(missing_ok=True)
    for suffix in (".lua", ""):
        (folder / name / f"{version}{suffix}").unlink(missing_ok=True)


def switch_default(folder: Path, module: str) -> str:
    """Make one version the default, for both tools by one rename; return the version that was it before.

    Raises
    ------
    SpecError
        Not the full name of a module.
    SiteError
        There is no such modulefile.
    """
    name, version = _split(module)
    if version not in versions_of(folder, name):
        known = ", ".join(versions_of(folder, name)) or "none"
        raise SiteError(f"{folder}: found no module {module} (there: {known}); `pipshpc stack deploy {name}` makes one")
    before = default_of(folder, name)
    _write(folder / name / DEFAULT, render_default(version))
    return before


def default_of(folder: Path, name: str) -> str:
    """Return the version that ``module load NAME`` takes; empty where none is marked."""
    try:
        text = (folder / name / DEFAULT).read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r'set ModulesVersion "?([^"\s]+)', text)
    return match.group(1) if match else ""


def versions_of(folder: Path, name: str) -> list[str]:
    """Return the versions of a module that have a modulefile, for whichever tool."""
    try:
        files = [p.name for p in (folder / name).iterdir() if not p.name.startswith(".") and p.is_file()]
    except OSError:
        return []
    return sorted({file.removesuffix(".lua") for file in files})


def pin(module: str, folders: list[str] | list[Path]) -> str:
    """Return the full name of a module whose default one of the folders states, or whose digest is all that is named.

    ``rs-core/3f2a...`` (at least 12 digits) is the version of that digest,
    whatever the default is. Others are returned as they are.
    """
    name, _, version = module.partition("/")
    if re.fullmatch(rf"[0-9a-f]{{{DIGEST_LETTERS},64}}", version):
        found = [
            v
            for folder in folders
            for v in versions_of(Path(folder), name)
            if v.endswith(f"-{version[:DIGEST_LETTERS]}")
        ]
        return f"{name}/{found[0]}" if found else module
    if version:
        return module
    for folder in folders:
        if version := default_of(Path(folder), module):
            return f"{module}/{version}"
    return module


def _split(module: str) -> tuple[str, str]:
    name, _, version = module.partition("/")
    if not (NAME.fullmatch(name) and NAME.fullmatch(version)):
        raise SpecError(f"found module '{module}'; wanted NAME/VERSION")
    return name, version


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Modules that begin with a dot are hidden: nobody can load one that is not whole.
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
