"""Modulefiles as text, and read by both tools where they are installed."""

import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest

from pipshpc.errors import SiteError, SpecError
from pipshpc.stack.info import StackInfo
from pipshpc.stack.modulefile import (
    KINDS,
    default_of,
    digest_of,
    file_name,
    module_of,
    pin,
    remove_modulefiles,
    render,
    switch_default,
    versions_of,
    write_modulefiles,
)
from tests.unit.moduletools import TOOLS

# Whatever a shell, Lua or Tcl could take for its own.
NASTY = "a $HOME [exit 3] {b} \\ \"c\" 'd' `e` #f; %g é"


def stack(digest="a" * 64, **changes):
    info = StackInfo(
        name="rs-try",
        version="1.0",
        digest=digest,
        prefix="/sw/rs-try",
        environment={"RS_TRY": NASTY, "RS_EMPTY": ""},
        prepend={"PATH": ["/sw/rs-try/first", "/sw/rs try/$x"]},
        description=f"A stack that tests make: {NASTY}",
    )
    return msgspec.structs.replace(info, **changes)


class Shell:
    """A clean shell in which one tool gives the command `module`."""

    def __init__(self, words, before, folder, options=()):
        self.words, self.before, self.folder, self.options = words, before, folder, options

    def run(self, *lines, **settings):
        script = "\n".join([self.before, f"module use {shlex.quote(str(self.folder))}", *lines])
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "USER": "tester", **settings}
        return subprocess.run(
            [*self.words, *self.options, script], env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    def value(self, *lines):
        done = self.run(*lines)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(params=list(TOOLS))
def tool(request):
    path = TOOLS[request.param]()
    if path is None:
        pytest.skip(f"{request.param} is not installed here (envs/lab/install.sh)")
    return path


@pytest.fixture(params=["bash -c", "bash -ic", "bash -lc", "sh -c"])
def shell(request, tool, tmp_path):
    name, option = request.param.split()
    return Shell([name, option], tool.line(name), tmp_path / "modulefiles")


@pytest.fixture
def plain(tool, tmp_path):
    return Shell(["bash", "-c"], tool.line("bash"), tmp_path / "modulefiles")


def test_the_text_is_a_function_of_the_stack():
    for kind in KINDS:
        assert render(stack(), kind) == render(stack(), kind) != render(stack("b" * 64), kind)
    assert file_name(stack(), "lua") == "rs-try/1.0-aaaaaaaaaaaa.lua"
    assert file_name(stack(), "tcl") == module_of(stack())
    assert render(stack(), "tcl").startswith("#%Module")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../rs"},
        {"name": "a b"},
        {"version": "1/2"},
        {"digest": "xyz"},
        {"environment": {"A B": "1"}},
        {"environment": {"A": "1\nB=2"}},
        {"prepend": {"PATH": ["/a\n/b"]}},
        {"description": "one\ntwo"},
    ],
)
def test_what_no_modulefile_can_say_is_refused(changes):
    for kind in KINDS:
        with pytest.raises(SpecError, match="found"):
            render(stack(**changes), kind)


def test_the_digest_stands_in_the_name():
    assert digest_of(module_of(stack("0123456789abcdef"))) == "0123456789ab"
    assert digest_of("gcc/13.2") == digest_of("rs-core") == digest_of("rs-core/1.0-latest") == ""


def test_a_loaded_stack_sets_what_it_says_and_leaves_nothing_behind(shell):
    write_modulefiles(shell.folder, stack())
    name = module_of(stack())
    show = 'printf "%s\\n" "$PIPSHPC_STACK" "$PIPSHPC_STACK_DIGEST" "$RS_TRY" "$PATH"'
    module, digest, nasty, path = shell.value(f"module load {name}", show).splitlines()
    assert (module, digest, nasty) == (name, "a" * 64, NASTY)
    assert path.split(":")[:2] == ["/sw/rs-try/first", "/sw/rs try/$x"]
    gone = '[ "$PATH" = "$before" ] && printf "%s" "${PIPSHPC_STACK-none} ${RS_TRY-none}"'
    assert shell.value("before=$PATH", f"module load {name}", f"module unload {name}", gone) == "none none"


def test_the_default_is_what_was_switched_to(plain):
    old, new = stack("a" * 64), stack("b" * 64)
    write_modulefiles(plain.folder, old)
    write_modulefiles(plain.folder, new)
    assert default_of(plain.folder, "rs-try") == ""
    for info, before in ((old, ""), (new, "1.0-aaaaaaaaaaaa"), (old, "1.0-bbbbbbbbbbbb")):
        assert switch_default(plain.folder, module_of(info)) == before
        assert plain.value("module load rs-try", "printf %s $PIPSHPC_STACK_DIGEST") == info.digest
        assert pin("rs-try", [plain.folder.parent / "nothing", plain.folder]) == module_of(info)
    # A job that names the version gets it, whatever the default is.
    assert plain.value(f"module load {module_of(new)}", "printf %s $PIPSHPC_STACK_DIGEST") == new.digest


def test_there_is_never_more_than_one_version_of_a_stack(plain, tool):
    for digest in ("a", "b"):
        write_modulefiles(plain.folder, stack(digest * 64))
    done = plain.run(
        f"module load {module_of(stack())}",
        f"module load {module_of(stack('b' * 64))} || echo refused",
        'printf "%s" "$LOADEDMODULES"',
    )
    # Lmod swaps, Environment Modules refuses and says with what it conflicts.
    assert done.stdout.count("rs-try/") == 1, done.stdout
    assert tool.swaps or ("refused" in done.stdout and "conflict" in done.stderr)


def test_help_and_whatis_say_what_it_is(plain):
    write_modulefiles(plain.folder, stack())
    said = plain.run(f"module help {module_of(stack())}", f"module whatis {module_of(stack())}")
    assert said.returncode == 0, said.stderr
    text = said.stdout + said.stderr
    assert (
        "a" * 64 in text and "/sw/rs-try" in text and text.count("A stack that tests make: a $HOME [exit 3] {b}") >= 2
    )


def test_modules_that_it_needs_come_first_and_conflicts_are_refused(plain):
    for name in ("base", "rival"):
        (plain.folder / name).mkdir(parents=True)
        (plain.folder / name / "1").write_text(f"#%Module1.0\nprepend-path ORDER {name}\n")
    info = stack(modules=["base/1"], conflicts=["rival"], prepend={"ORDER": ["stack"]})
    write_modulefiles(plain.folder, info)
    assert plain.value(f"module load {module_of(info)}", 'printf %s "$ORDER"') == "stack:base"
    refused = plain.run("module load rival/1", f"module load {module_of(info)}; printf %s $?")
    assert refused.stdout == "1" and "rival" in refused.stderr


def test_what_is_not_there_cannot_be_the_default(tmp_path):
    with pytest.raises(SiteError, match="pipshpc stack deploy rs-try"):
        switch_default(tmp_path, "rs-try/1.0-aaaaaaaaaaaa")
    with pytest.raises(SpecError, match="wanted NAME/VERSION"):
        switch_default(tmp_path, "rs-try")


def test_a_removed_version_is_gone_and_no_default_points_to_it(tmp_path):
    for digest in ("a", "b"):
        write_modulefiles(tmp_path, stack(digest * 64))
    switch_default(tmp_path, module_of(stack()))
    remove_modulefiles(tmp_path, module_of(stack("b" * 64)))
    assert versions_of(tmp_path, "rs-try") == [default_of(tmp_path, "rs-try")] == ["1.0-aaaaaaaaaaaa"]
    remove_modulefiles(tmp_path, module_of(stack()))
    assert versions_of(tmp_path, "rs-try") == [] and default_of(tmp_path, "rs-try") == ""


def test_a_modulefile_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_modulefiles(tmp_path, stack())
    before = {p: p.read_text() for p in sorted(tmp_path.rglob("*")) if p.is_file()}

    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_modulefiles(tmp_path, stack(description="another"))
    assert {p: p.read_text() for p in sorted(tmp_path.rglob("*")) if p.is_file()} == before
