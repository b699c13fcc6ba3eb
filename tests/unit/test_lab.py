"""The plan of a lab, without a lab: addresses, names, texts, and pid files that lie."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from pipshpc.errors import SpecError
from pipshpc.lab.layout import (
    TEMPLATES,
    Layout,
    check_layout,
    hosts_text,
    read_layout,
    site_text,
    slurm_conf,
    slurmdbd_conf,
    write_layout,
)
from pipshpc.lab.network import free_subnet
from pipshpc.lab.process import MARK, Daemon, descendants, start_time
from pipshpc.site import load_site


def layout(**changes):
    return Layout(**{"folder": "/srv/lab", "subnet": 3, **changes})


def test_every_node_has_its_own_name_address_and_cable():
    nodes = layout(clusters=("beijing", "sanya"), nodes=100).all_nodes()
    for values in ([n.name for n in nodes], [n.address for n in nodes], [n.link for n in nodes]):
        assert len(set(values)) == 200
    assert all(len(n.link) <= 15 for n in nodes)  # the kernel's limit
    assert (nodes[0].name, nodes[0].address) == ("beijing1", "10.78.3.11")
    assert {int(n.address.split(".")[3]) for n in nodes} == set(range(11, 211))


def test_labs_do_not_share_names():
    assert layout().bridge != layout(folder="/srv/other").bridge


@pytest.mark.parametrize("cluster", ["beijing", "sanya"])
def test_the_text_names_its_own_nodes_and_partitions(cluster):
    text = slurm_conf(layout(clusters=("beijing", "sanya"), nodes=2), cluster, 2)
    assert f"ClusterName={cluster}\n" in text and "$" not in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith("NodeName")] == [
        f"NodeName={cluster}1",
        f"NodeName={cluster}2",
    ]
    assert [line.split()[0] for line in text.splitlines() if line.startswith("Partition")] == [
        "PartitionName=main",
        "PartitionName=low",
        "PartitionName=high",
    ]
    assert "cred_expire=5" in text and "SlurmdTimeout=5" in text


@pytest.mark.parametrize(
    ("changes", "name", "cluster", "nodes"),
    [
        ({}, "lab", "", 4),
        ({"clusters": ("beijing", "sanya"), "nodes": 1}, "sanya", "sanya", 1),
        ({"clusters": ("beijing", "sanya"), "accounting": False}, "sanya", "", 4),
    ],
)
def test_each_cluster_has_its_site_file(tmp_path, changes, name, cluster, nodes):
    path = tmp_path / f"{name}.yaml"
    path.write_text(site_text(layout(cpus=6, memory_mib=5000, **changes), name))
    site = load_site(path)
    own = site.scheduler
    assert (site.cores, site.memory_gib, site.scratch) == (6, 4.8, "/srv/lab/scratch")
    assert (own.cluster, own.max_nodes, own.block_nodes) == (cluster, nodes, min(nodes, 2))
    assert site.launcher == load_site("lab", [TEMPLATES.with_name("sites")]).launcher


def test_accounts_are_a_choice():
    assert "accounting_storage/slurmdbd" in slurm_conf(layout(), "lab", 2)
    assert "AccountingStorage" not in slurm_conf(layout(accounting=False), "lab", 2)
    assert "DbdAddr=10.78.3.1\n" in slurmdbd_conf(layout())


def test_nodes_that_claim_more_than_there_is_do_not_pin():
    assert "task/affinity" in slurm_conf(layout(cpus=2), "lab", 2)
    assert "task/none" in slurm_conf(layout(cpus=8), "lab", 2)


def test_hosts_know_all():
    assert hosts_text(layout(nodes=1)).splitlines()[2:] == ["10.78.3.11 lab1"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": 0}, "1 to 200"),
        ({"nodes": 201}, "1 to 200"),
        ({"clusters": ("a1",)}, "lower-case letters"),
        ({"clusters": ("a", "a")}, "once"),
        ({"folder": "/proc/x"}, "outside /proc"),
        ({"folder": "/srv/" + "x" * 100}, "shorter folder"),
        ({"cpus": 0}, "at least 1 CPU"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, said):
    with pytest.raises(SpecError, match=said):
        check_layout(layout(**changes))


def test_unknown_names_are_answered_with_the_known():
    with pytest.raises(SpecError, match="lab1, lab2"):
        layout(nodes=2).find_node("n7")
    with pytest.raises(SpecError, match="--cluster"):
        layout(clusters=("a", "b")).find_cluster()


def test_a_layout_is_kept(tmp_path):
    kept = layout(folder=str(tmp_path), clusters=("a", "b"))
    assert read_layout(tmp_path) is None
    write_layout(kept)
    assert read_layout(tmp_path) == kept
    (tmp_path / "lab.json").write_text("{")
    with pytest.raises(SpecError, match="cannot be read"):
        read_layout(tmp_path)


def test_networks_in_use_are_left_alone():
    assert free_subnet("inet 10.0.0.1/8") == 1
    assert free_subnet("inet 10.78.1.1/24\n10.78.2.0/24 dev x") == 3


def test_a_daemon_is_known_again_and_ended(tmp_path):
    daemon = Daemon(tmp_path, "sleeper", "sleep")
    assert daemon.pid is None
    pid = daemon.start(["sleep", "60"])
    assert daemon.pid == pid and Daemon(tmp_path, "sleeper", "sleep").pid == pid
    assert daemon.stop() and daemon.pid is None and not daemon.stop()


def test_a_pid_file_that_names_another_process_harms_nobody(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, MARK: "/else"})
    daemon = Daemon(tmp_path, "sleeper", "python")
    daemon.pid_file.parent.mkdir()
    try:
        for text in (f"{other.pid} 1", f"{other.pid} {start_time(other.pid)}", f"{os.getpid()} 5", "x", ""):
            daemon.pid_file.write_text(text)
            assert not daemon.stop()
            assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_zombies_have_ended():
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 5
    while start_time(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert start_time(child.pid) is None
    child.wait()


def test_descendants_are_found_parents_first():
    tree = subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; true'; true"])
    try:
        deadline = time.monotonic() + 5
        while len(found := descendants(tree.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(found) == 2 and tree.pid not in found
    finally:
        for pid in [tree.pid, *found]:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        tree.wait()


@pytest.mark.parametrize(
    ("words", "settings", "code", "said"),
    [
        (["--check"], {}, 1, "on Debian: apt-get install --no-install-recommends slurm-client"),
        ([], {"PIPSHPC_NO_APT": "1"}, 1, "PIPSHPC_NO_APT forbids to install them"),
        ([], {}, 1, "there is no apt-get here"),
    ],
)
def test_what_is_missing_is_named_with_its_packages(tmp_path, words, settings, code, said):
    """A machine on which all that lies in /usr/bin is missing, apt-get as well."""
    script = str(TEMPLATES / "install.sh")
    done = subprocess.run(
        [shutil.which("bash"), script, *words],
        env={"PATH": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    text = done.stdout + done.stderr
    assert (done.returncode, said in text) == (code, True), text
    assert "sbatch" in text and "mpiexec" in text
