"""Sites: the files, their errors, and the command lines made from them."""

import pytest

from pipshpc.errors import SpecError
from pipshpc.schema import parse_yaml
from pipshpc.site import (
    Site,
    choose_partition,
    count_cores,
    launch_command,
    launch_environment,
    list_sites,
    load_site,
)
from pipshpc.walltime import read_walltime

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
    rest = command[3:] if command[1] == "-u" else command[1:]
    return [word for word in rest if "=" not in word or word.startswith("-")]


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


# ---- clusters

SHARED = """
name: "cluster"
modules: ["python/3.12", "openmpi"]
scheduler:
  kind: "slurm"
  partition: "cpu"
  partitions:
    cpu: {}
    short: {time: "00:30:00", max_nodes: 3, block_nodes: 1, qos: "quick"}
    fat: {max_nodes: 2, block_nodes: 1, cores: 32, memory_gib: 1024}
  time: "02:00:00"
  max_nodes: 8
  block_nodes: 4
  signal_s: 90
  driver: {partition: "short", memory_mib: 800}
launcher:
  command: ["srun", "--exact", "-n", "{ranks}", "-c", "{threads}"]
  options: {nodes: ["-N", "{nodes}"], memory_mib: ["--mem-per-cpu={memory_mib}M"], exclude: ["--exclude={exclude}"]}
  bind: ["--cpu-bind=cores"]
cores: 64
memory_gib: 256
"""


@pytest.fixture
def shared_site(tmp_path):
    return load_site(write(tmp_path, SHARED))


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ({}, []),
        ({"nodes": 2}, ["-N", "2"]),
        ({"memory_mib": 3000}, ["--mem-per-cpu=1500M"]),
        ({"memory_mib": 3001}, ["--mem-per-cpu=1501M"]),
        ({"exclude": ["n3", "n7"]}, ["--exclude=n3,n7"]),
        ({"nodes": 4, "memory_mib": 2, "exclude": ["n1"]}, ["-N", "4", "--mem-per-cpu=1M", "--exclude=n1"]),
    ],
)
def test_options_stand_only_where_they_are_given(shared_site, given, added):
    expected = ["srun", "--exact", "-n", "4", "-c", "2", *added, "--cpu-bind=cores", "prog"]
    assert words(launch_command(shared_site, 4, 2, ["prog"], **given)) == expected


def test_ranks_do_not_spread_over_more_nodes_than_there_are_ranks(shared_site):
    with pytest.raises(SpecError, match="2 ranks on 3 nodes"):
        launch_command(shared_site, 2, 1, ["prog"], nodes=3)


def test_a_partition_brings_what_is_particular_to_it(shared_site):
    short, fat = (choose_partition(shared_site, name) for name in ("short", "fat"))
    own = short.scheduler
    assert (own.partition, own.time_s, own.max_nodes, own.block_nodes, own.qos) == ("short", 1800, 3, 1, "quick")
    assert (short.cores, short.memory_gib) == (64, 256)
    assert (fat.cores, fat.memory_gib, fat.scheduler.time_s) == (32, 1024, 7200)
    default = choose_partition(shared_site)
    assert (default.scheduler.partition, default.scheduler.block_nodes) == ("cpu", 4)
    assert choose_partition(fat, "short").scheduler.max_nodes == 3
    with pytest.raises(SpecError, match="found partition 'big'; site cluster has cpu, short, fat"):
        choose_partition(shared_site, "big")


def test_a_site_without_a_list_of_partitions_leaves_them_to_slurm(tmp_path):
    site = choose_partition(load_site(write(tmp_path, CLUSTER)), "any")
    assert site.scheduler.partition == "any"


def test_ranks_are_told_to_stop_before_the_end(shared_site):
    assert shared_site.scheduler.signal == "USR1@90"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("90", 5400),
        ("1:30", 90),
        ("01:30:00", 5400),
        ("2-12", 216000),
        ("2-12:30", 217800),
        ("1-00:00:05", 86405),
    ],
)
def test_walltimes_are_read_as_slurm_reads_them(text, seconds):
    assert read_walltime(text) == seconds


@pytest.mark.parametrize("text", ["soon", "1h", "1:2:3:4", "-5", "1.5"])
def test_other_times_are_refused(text):
    with pytest.raises(SpecError, match="found time"):
        read_walltime(text)


@pytest.mark.parametrize("name", ["lab", "large_lustre", "large_infiniband"])
def test_the_clusters_of_the_project_use_what_the_schema_has(name):
    site = load_site(name)
    command = launch_command(site, 4, 2, ["prog"], nodes=2, memory_mib=1000, exclude=["n1"])
    assert {"-N", "--mem-per-cpu=500M", "--exclude=n1", "--cpu-bind=cores"} <= set(command)
    for partition in site.scheduler.partitions:
        own = choose_partition(site, partition).scheduler
        assert own.time_s > own.signal_s and own.block_nodes <= own.max_nodes
    assert choose_partition(site, site.scheduler.driver.partition)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('partition: "cpu"', 'partition: "big"'), "key 'scheduler.partition': found 'big'"),
        (('driver: {partition: "short"', 'driver: {partition: "none"'), "key 'scheduler.driver.partition'"),
        (("{nodes}", "{ranks}"), "key 'launcher.options.nodes': found '{ranks}'; only {nodes}"),
        (('["-N", "{nodes}"]', '["-N", "2"]'), "wanted a word with {nodes}"),
        (("bind: [", 'bind: ["{cores}", '), "key 'launcher.bind'"),
        (('time: "00:30:00"', 'time: "soon"'), "key 'scheduler.partitions.short.time'"),
        (("block_nodes: 4", "block_nodes: 9"), "key 'scheduler.partitions.cpu.block_nodes': found 9"),
        (("signal_s: 90", "signal_s: -1"), "signal_s >= 0"),
        (("cores: 64", 'cores: 64\nstorage: {stripe_size: "16 MB"}'), "key 'storage.stripe_size'"),
        (("cores: 64", "cores: 64\nstorage: {stripe_count: -2}"), "key 'storage.stripe_count'"),
    ],
)
def test_what_a_cluster_cannot_be_is_refused(tmp_path, change, said):
    with pytest.raises(SpecError) as caught:
        load_site(write(tmp_path, SHARED.replace(*change)))
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)
