"""How jobs load their modules, in real shells: what goes wrong is one sentence, with what mends it."""

import shlex
import subprocess

import msgspec
import pytest

from pipshpc.site import Launcher, Site
from pipshpc.stack.info import StackInfo
from pipshpc.stack.loading import load_lines
from pipshpc.stack.modulefile import file_name, module_of, switch_default, write_modulefiles
from tests.unit.moduletools import TOOLS

SITE = Site(name="there", launcher=Launcher(command=["srun", "-n", "{ranks}"]))


@pytest.fixture(params=list(TOOLS))
def site(request, tmp_path):
    """A site whose modules come by one tool, and which has two deployments of a stack."""
    tool = TOOLS[request.param]()
    if tool is None:
        pytest.skip(f"{request.param} is not installed here (envs/lab/install.sh)")
    script = tmp_path / "module.sh"
    script.write_text(tool.line("bash") + "\n")
    for letter in "ab":
        write_modulefiles(tmp_path / "modulefiles", stack(tmp_path, letter))
        (tmp_path / letter / "bin").mkdir(parents=True)
        (tmp_path / letter / "bin" / "python3").symlink_to("/bin/true")
    switch_default(tmp_path / "modulefiles", module_of(stack(tmp_path, "b")))
    return msgspec.structs.replace(SITE, modulepath=[str(tmp_path / "modulefiles")], module_init=str(script))


def stack(folder, letter):
    return StackInfo(name="rs-try", version="2", digest=letter * 64, prefix=str(folder / letter))


def run(lines, before=(), after=(), **settings):
    script = "\n".join(["set -e", *before, *lines, *after])
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "USER": "tester", **settings}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environ, timeout=60, check=False)


def refusal(done):
    """Return the one sentence by which a job ended with exit code 4; the tool itself may have said more."""
    sentences = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 4 and len(sentences) == 1, done.stdout + done.stderr
    return sentences[0]


def test_modules_are_loaded_in_their_order_or_the_job_ends():
    site = msgspec.structs.replace(SITE, modules=["python/3.12", "openmpi"])
    loads = 'module() { [ "$2" != "$BROKEN" ] && LOADED="$LOADED $2"; }'
    lines = load_lines(site, ["stack"])
    assert run(lines, [loads], ["echo loaded $LOADED"]).stdout == "loaded python/3.12 openmpi stack\n"
    broken = run(lines, [f"BROKEN=openmpi; {loads}"], ["echo loaded $LOADED"])
    assert broken.stdout == "" and "pipshpc stack deploy openmpi --site there" in refusal(broken)


def test_without_modules_nothing_is_loaded():
    assert load_lines(msgspec.structs.replace(SITE, modulepath=["/nowhere"])) == []


def test_a_stack_is_loaded_by_its_full_name_and_by_its_default(site, tmp_path):
    for wanted, letter in ((module_of(stack(tmp_path, "a")), "a"), ("rs-try", "b")):
        done = run(load_lines(site, [wanted]), after=['printf %s "$PIPSHPC_STACK_DIGEST"'])
        assert (done.returncode, done.stdout) == (0, letter * 64), done.stderr


def test_the_stack_of_the_submitting_shell_gives_way(site, tmp_path):
    other = shlex.quote(module_of(stack(tmp_path, "b")))
    before = [f". {site.module_init}", f"module use {site.modulepath[0]}", f"module load {other}"]
    done = run(load_lines(site, [module_of(stack(tmp_path, "a"))]), before, ['printf %s "$PIPSHPC_STACK_DIGEST"'])
    assert (done.returncode, done.stdout) == (0, "a" * 64), done.stderr


def test_a_module_that_is_not_there(site):
    said = refusal(run(load_lines(site, ["rs-try/2-cccccccccccc"])))
    assert "rs-try/2-cccccccccccc" in said and "pipshpc stack deploy rs-try --site there" in said


def test_a_module_whose_stack_is_another_one(site, tmp_path):
    wanted = stack(tmp_path, "a")
    for kind in ("lua", "tcl"):
        path = tmp_path / "modulefiles" / file_name(wanted, kind)
        path.write_text(path.read_text().replace("a" * 64, "d" * 64))
    said = refusal(run(load_lines(site, [module_of(wanted)])))
    assert "d" * 64 in said and "pipshpc stack verify rs-try --site there" in said


def test_a_module_whose_stack_is_gone(site, tmp_path):
    (tmp_path / "a" / "bin" / "python3").unlink()
    said = refusal(run(load_lines(site, [module_of(stack(tmp_path, "a"))])))
    assert f"{tmp_path}/a/bin/python3" in said and "makes it again" in said


def test_a_folder_of_modules_that_the_node_does_not_see(site):
    said = refusal(run(load_lines(msgspec.structs.replace(site, modulepath=["/mnt/away"]), ["rs-try"])))
    assert "/mnt/away" in said and "key 'modulepath' of site there" in said


def test_a_node_without_the_command():
    lines = [line.replace("/etc/profile", "/nowhere/profile") for line in load_lines(SITE, ["rs-try"])]
    away = {"LMOD_PKG": "/nowhere", "MODULESHOME": "/nowhere"}
    said = refusal(run([line.replace("/usr/share", "/nowhere") for line in lines], **away))
    assert "no command 'module'" in said and "key 'module_init' of site there" in said


def test_an_init_script_that_is_not_there():
    said = refusal(run(load_lines(msgspec.structs.replace(SITE, module_init="/nowhere/init"), ["rs-try"])))
    assert "/nowhere/init" in said and "key 'module_init' of site there" in said
