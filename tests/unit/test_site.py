"""Sites: the files, their errors, and the command lines made from them."""

import pytest

from pipshpc.errors import SpecError
from pipshpc.schema import parse_yaml
from pipshpc.site import Site, count_cores, launch_command, launch_environment, list_sites, load_site

CLUSTER = """
name: "cluster"
scheduler: {kind: "slurm", partition: "main", time: "02:00:00", max_nodes: 4}
launcher: {command: ["srun", "--mpi=pmix", "-n", "{ranks}", "-c", "{threads}"]}
cores: 64
memory_gib: 256
"""


def write(folder, text, name="cluster.yaml"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def box():
    """Return a local site of four cores whose launcher knows both situations."""
    return parse_yaml(
        'name: "box"\nlauncher: {command: ["mpiexec", "-n", "{ranks}"], crowded: ["--oversubscribe"]}\ncores: 4\n'
        'environment: {A: "1"}\nroot_environment: {ALLOW: "yes"}\n',
        Site,
        "box.yaml",
    )


def words(command):
    """Return a command line without the settings before it."""
    return [word for word in command[1:] if "=" not in word or word.startswith("-")]


def test_the_local_site_is_this_machine():
    site = load_site("local")
    assert site.scheduler.kind == "local"
    assert site.core_count == count_cores() >= 1
    assert site.memory_bytes > 1 << 28


@pytest.mark.parametrize(
    ("ranks", "threads", "crowded"), [(1, 1, False), (4, 1, False), (2, 2, False), (5, 1, True), (2, 4, True)]
)
def test_more_ranks_than_cores_are_announced(box, ranks, threads, crowded):
    expected = ["mpiexec", "-n", str(ranks)] + ["--oversubscribe"] * crowded + ["prog", "a b"]
    assert words(launch_command(box, ranks, threads, ["prog", "a b"])) == expected


def test_the_command_brings_its_environment(box):
    command = launch_command(box, 2, 3, ["prog"], uid=0)
    assert command[0] == "env"
    assert {"OMP_NUM_THREADS=3", "A=1", "ALLOW=yes"} <= set(command)


def test_root_needs_leave_and_others_do_not_get_it(box):
    assert "ALLOW" in launch_environment(box, 1, uid=0)
    assert "ALLOW" not in launch_environment(box, 1, uid=1000)


def test_a_cluster_is_one_file(tmp_path):
    write(tmp_path, CLUSTER)
    site = load_site("cluster", [tmp_path])
    assert words(launch_command(site, 128, 2, ["prog"])) == ["srun", "--mpi=pmix", "-n", "128", "-c", "2", "prog"]
    assert (site.core_count, site.memory_bytes) == (64, 256 << 30)


def test_a_site_is_found_by_its_path(tmp_path):
    assert load_site(str(write(tmp_path, CLUSTER))).name == "cluster"


def test_own_sites_come_before_those_of_the_project(tmp_path, monkeypatch):
    text = CLUSTER.replace('"cluster"', '"local"')
    path = write(tmp_path, text, "local.yaml")
    assert list_sites()["local"] != path
    monkeypatch.setenv("PIPSHPC_SITES", str(tmp_path))
    assert list_sites()["local"] == path


def test_scratch_follows_the_environment(tmp_path, monkeypatch):
    path = write(tmp_path, CLUSTER + 'scratch: "${FAST_DISK:-/var/tmp}/pips"\n')
    monkeypatch.delenv("FAST_DISK", raising=False)
    assert load_site(path).scratch == "/var/tmp/pips"
    monkeypatch.setenv("FAST_DISK", "/fast")
    assert load_site(path).scratch == "/fast/pips"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{ranks}", "4"), "wanted a word with {ranks}"),
        (("{threads}", "{nodes}"), "only {ranks} and {threads}"),
        (("cores: 64", 'cores: "all"'), "the number of one node"),
        (("cores: 64", "cores: 0"), "wanted a number above 0"),
        (("cores: 64", 'cores: "many"'), "key 'cores'"),
        (("cores: 64", "coers: 64"), "coers"),
        (('name: "cluster"', 'name: "other"'), "as the file is called"),
        (("memory_gib: 256", 'memory_gib: 256\nscratch: "${NO_SUCH_VARIABLE}"'), "NO_SUCH_VARIABLE is not set"),
        (('kind: "slurm"', 'kind: "pbs"'), "pbs"),
    ],
)
def test_errors_name_the_file_the_key_and_the_cure(tmp_path, change, said):
    path = write(tmp_path, CLUSTER.replace(*change))
    with pytest.raises(SpecError) as caught:
        load_site(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_unknown_site_names_the_known_ones():
    with pytest.raises(SpecError, match=r"unknown site 'nowhere'; known sites: .*local"):
        load_site("nowhere")


@pytest.mark.parametrize(("ranks", "threads"), [(0, 1), (1, 0), (-1, 1)])
def test_no_ranks_no_command(box, ranks, threads):
    with pytest.raises(SpecError, match="at least one"):
        launch_command(box, ranks, threads, ["prog"])
