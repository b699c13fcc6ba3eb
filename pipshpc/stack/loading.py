"""Shell lines by which a job loads its modules and its stack, or ends with one sentence that says what to do."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipshpc.site import Site
from pipshpc.stack.modulefile import digest_of

# Where the command comes from, in shells that no login prepared: Lmod, Environment Modules, as their own variables
# or the packages of the distributions have them.
SCRIPTS = (
    "/etc/profile",
    '"${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash"',
    '"${MODULESHOME:-/usr/share/modules}/init/bash"',
    "/usr/share/Modules/init/bash",
    "/etc/profile.d/lmod.sh",
)


def load_lines(site: Site, modules: Sequence[str] = ()) -> list[str]:
    """Return the shell lines that load the modules of a site, and further ones, at the start of a job.

    A stack that was loaded where the job was submitted is unloaded first. A
    module whose name ends with a digest must be a stack of that digest. A job
    that has no command `module`, or cannot load one, says so in one sentence
    and ends with exit code 4.

    Parameters
    ----------
    site : its modules come first, from its folders (`modulepath`)
    modules : further ones, in their order
    """
    wanted = [*site.modules, *modules]
    if not wanted:
        return []
    lines = ['refuse() { echo "error: $(hostname): $*" >&2; exit 4; }', *_command(site)]
    for folder in site.modulepath:
        missing = (
            f"found no folder {folder} of modules; mount it on the nodes, or mend key 'modulepath' of site {site.name}"
        )
        lines.append(f"[ -d {shlex.quote(folder)} ] || refuse {shlex.quote(missing)}")
        lines.append(f"module use {shlex.quote(folder)}")
    lines.append('[ -z "${PIPSHPC_STACK-}" ] || module unload "$PIPSHPC_STACK" || :')
    for module in wanted:
        lines += _load(module, site)
    return lines


def _command(site: Site) -> list[str]:
    """Return the lines after which there is a command `module`."""
    known = "type module >/dev/null 2>&1"
    if site.module_init:
        script = shlex.quote(site.module_init)
        missing = f"found no file {site.module_init}; mend key 'module_init' of site {site.name}"
        lines = [f"[ -r {script} ] || refuse {shlex.quote(missing)}", f". {script} || :"]
    else:
        scripts = " ".join(SCRIPTS)
        lines = [f'for script in {scripts}; do {known} || [ ! -r "$script" ] || . "$script" || :; done']
    none = (
        "found no command 'module' in this job; install Lmod or Environment Modules on the nodes, or name the file "
        f"that defines it by key 'module_init' of site {site.name}"
    )
    return [*lines, f"{known} || refuse {shlex.quote(none)}"]


def _load(module: str, site: Site) -> list[str]:
    name = module.partition("/")[0]
    unknown = (
        f"module {module} could not be loaded; `module avail {name}` and `pipshpc stack list --site {site.name}` "
        f"say what there is, `pipshpc stack deploy {name} --site {site.name}` deploys it"
    )
    lines = [f"module load {shlex.quote(module)} || refuse {shlex.quote(unknown)}"]
    if digest := digest_of(module):
        other = (
            f"wanted that of module {module}; `pipshpc stack verify {name} --site {site.name}` says what was changed"
        )
        refused = f"refuse \"found a stack of digest '${{PIPSHPC_STACK_DIGEST-}}';\" {shlex.quote(other)}"
        lines.append(f'case "${{PIPSHPC_STACK_DIGEST-}}" in {digest}*) ;; *) {refused} ;; esac')
        gone = f"is not there, though its module is; `pipshpc stack deploy {name} --site {site.name}` makes it again"
        lines.append(
            f'[ -x "${{PIPSHPC_STACK_PREFIX-}}/bin/python3" ] || '
            f'refuse "found that ${{PIPSHPC_STACK_PREFIX-}}/bin/python3" {shlex.quote(gone)}'
        )
    return lines
