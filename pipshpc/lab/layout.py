"""What a lab looks like: clusters, nodes, addresses, files. Geometry and texts only, nothing is started here."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import msgspec
import yaml

from pipshpc.errors import SiteError, SpecError
from pipshpc.schema import Record, convert

CONTROLLER = "labctl"
TEMPLATES = Path(__file__).parents[2] / "envs" / "lab"
# The names of Unix sockets end here; the kernel allows no more.
SOCKET_LIMIT = 107
SOFTWARE = "stack.json"
FIRST_PORT, DATABASE_PORT = 17100, 17090


@dataclass(frozen=True)
class Node:
    """A virtual node: its name in Slurm, and its place in the network."""

    name: str
    cluster: str
    address: str
    namespace: str  # network namespace
    link: str  # the host's end of its cable


class Software(Record, frozen=True):
    """The stack that the lab's jobs load: its module, and the folder of its modulefiles; kept in the lab's folder."""

    module: str
    modulepath: str


class Layout(Record, frozen=True):
    """The plan of a lab, kept in its folder.

    `nodes` is per cluster; `subnet` is the third number of its addresses
    10.78.x.y; sizes of nodes are what they claim to have.
    """

    folder: str
    clusters: tuple[str, ...] = ("lab",)
    nodes: int = 4
    cpus: int = 2
    memory_mib: int = 4000
    scratch_mib: int = 512
    accounting: bool = True
    subnet: int = 0

    @property
    def path(self) -> Path:
        """The folder of the lab."""
        return Path(self.folder)

    @property
    def tag(self) -> str:
        """Short name of this lab in the host's lists of links and namespaces, which all labs share."""
        return "pl" + hashlib.sha256(self.folder.encode()).hexdigest()[:5]

    @property
    def bridge(self) -> str:
        """Name of the bridge that the nodes are plugged into."""
        return f"{self.tag}br"

    @property
    def address(self) -> str:
        """Address of the host on the bridge: here the controllers listen."""
        return f"10.78.{self.subnet}.1"

    @property
    def scratch(self) -> Path:
        """Bounded folder that all nodes see."""
        return self.path / "scratch"

    @property
    def munge_socket(self) -> Path:
        """Socket of the lab's own munge."""
        return self.path / "run" / "munge.sock"

    @property
    def database_socket(self) -> Path:
        """Socket of the lab's own MariaDB."""
        return self.path / "run" / "maria.sock"

    def all_nodes(self) -> list[Node]:
        """Return the nodes of all clusters."""
        names = [(cluster, k + 1) for cluster in self.clusters for k in range(self.nodes)]
        return [
            Node(
                f"{cluster}{k}", cluster, f"10.78.{self.subnet}.{10 + n}", f"{self.tag}-{cluster}{k}", f"{self.tag}v{n}"
            )
            for n, (cluster, k) in enumerate(names, 1)
        ]

    def nodes_of(self, cluster: str) -> list[Node]:
        """Return the nodes of one cluster."""
        return [n for n in self.all_nodes() if n.cluster == cluster]

    def find_node(self, name: str) -> Node:
        """Return a node by its name.

        Raises
        ------
        SpecError
            No such node; the known ones are named.
        """
        for node in self.all_nodes():
            if node.name == name:
                return node
        raise SpecError(f"found node '{name}'; the lab has {', '.join(n.name for n in self.all_nodes())}")

    def find_cluster(self, name: str = "") -> str:
        """Return the name of a cluster: the one named, or the only one.

        Raises
        ------
        SpecError
        """
        if not name and len(self.clusters) == 1:
            return self.clusters[0]
        if name not in self.clusters:
            raise SpecError(f"found cluster '{name}'; name one of {', '.join(self.clusters)} by --cluster")
        return name

    def cluster_folder(self, cluster: str) -> Path:
        """Return the folder of one cluster: configuration, state, logs."""
        return self.path / "clusters" / cluster

    @property
    def sites(self) -> Path:
        """Folder of the clusters' site files."""
        return self.path / "sites"

    def conf(self, cluster: str) -> Path:
        """Return the slurm.conf of a cluster."""
        return self.cluster_folder(cluster) / "slurm.conf"

    def private_tmp(self, node: Node) -> Path:
        """Return what a node sees as /tmp."""
        return self.cluster_folder(node.cluster) / "tmp" / node.name

    def port(self, cluster: str) -> int:
        """Return the controller's port; the daemons of its nodes use the next one."""
        return FIRST_PORT + 10 * self.clusters.index(cluster)


def default_folder() -> Path:
    """Return the folder of the lab where none is named: ``$PIPSHPC_LAB`` or /var/lib/pipshpc/lab."""
    return Path(os.environ.get("PIPSHPC_LAB") or "/var/lib/pipshpc/lab")


def check_layout(layout: Layout) -> None:
    """Refuse a layout that cannot be built.

    Raises
    ------
    SpecError
    """
    count = len(layout.all_nodes())
    if layout.nodes < 1 or count > 200:
        raise SpecError(f"found {count} nodes; a lab has 1 to 200")
    for name in layout.clusters:
        if not re.fullmatch(r"[a-z]{1,20}", name):
            raise SpecError(f"found cluster name '{name}'; wanted lower-case letters only, as in beijing")
    if len(set(layout.clusters)) != len(layout.clusters):
        raise SpecError(f"found clusters {','.join(layout.clusters)}; each may be named once")
    if layout.cpus < 1 or layout.memory_mib < 100 or layout.scratch_mib < 1:
        raise SpecError("a node needs at least 1 CPU and 100 MiB, the scratch folder 1 MiB")
    for forbidden in (Path("/proc"), Path("/sys"), Path("/dev")):
        if layout.path.is_relative_to(forbidden):
            raise SpecError(f"found folder {layout.folder}; wanted one outside {forbidden}")
    if len(str(layout.munge_socket) + ".12345") > SOCKET_LIMIT:
        raise SpecError(f"{layout.folder}: too long for the names of sockets; choose a shorter folder by --dir")


def write_layout(layout: Layout) -> None:
    """Keep the plan in the lab's folder."""
    layout.path.mkdir(parents=True, exist_ok=True)
    part = layout.path / "lab.json.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(layout)))
    part.replace(layout.path / "lab.json")


def read_layout(folder: Path) -> Layout | None:
    """Return the plan that is kept in a folder, or None where there never was a lab.

    Raises
    ------
    SpecError
        The file is there but cannot be understood.
    """
    path = folder / "lab.json"
    try:
        raw = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise SpecError(f"{path}: cannot be read ({error}); remove it if no lab is up") from error
    raw["clusters"] = tuple(raw["clusters"])
    return convert(raw, Layout, str(path))


def read_software(layout: Layout) -> Software | None:
    """Return the stack that the jobs of a lab load; None where they run with what submits them."""
    try:
        return msgspec.json.decode((layout.path / SOFTWARE).read_bytes(), type=Software)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def slurm_conf(layout: Layout, cluster: str, host_cpus: int) -> str:
    """Return the slurm.conf of a cluster.

    `host_cpus` decides on pinning: a node that claims more CPUs than there
    are cannot pin tasks to them.
    """
    values = _values(layout)
    nodes = [
        f"NodeName={n.name} NodeAddr={n.address} CPUs={layout.cpus} Boards=1 SocketsPerBoard=1 "
        f"CoresPerSocket={layout.cpus} ThreadsPerCore=1 RealMemory={layout.memory_mib} TmpDisk=1000 State=UNKNOWN"
        for n in layout.nodes_of(cluster)
    ]
    return _fill(
        "slurm.conf.in",
        **{**values, "folder": layout.cluster_folder(cluster)},
        cluster=cluster,
        controller_port=layout.port(cluster),
        daemon_port=layout.port(cluster) + 1,
        task_plugin="task/affinity" if layout.cpus <= host_cpus else "task/none",
        memory_per_cpu=max(layout.memory_mib // layout.cpus, 1),
        accounting=_fill("accounting.conf.in", **values) if layout.accounting else "",
        nodes="\n".join(nodes),
    )


def slurmdbd_conf(layout: Layout) -> str:
    """Return the slurmdbd.conf of the lab."""
    return _fill("slurmdbd.conf.in", **_values(layout))


def site_text(layout: Layout, cluster: str, software: Software | None = None) -> str:
    """Return the site file of a cluster: envs/sites/lab.yaml with the name, sizes and software of this one."""
    path = TEMPLATES.with_name("sites") / "lab.yaml"
    site = yaml.safe_load(path.read_text())
    site["name"] = cluster
    site["title"] = f"Virtual Slurm cluster {cluster}: {layout.nodes} nodes of {layout.cpus} cores"
    site["cores"] = layout.cpus
    site["memory_gib"] = layout.memory_mib * 10 // 1024 / 10
    site["scratch"] = str(layout.scratch)
    own = site["scheduler"]
    own["max_nodes"], own["block_nodes"] = layout.nodes, min(own["block_nodes"], layout.nodes)
    # Without accounts, clusters do not know of each other, and each is reached by its SLURM_CONF alone.
    if software is not None:
        site["modulepath"], site["stack"] = [software.modulepath], software.module
    own["cluster"] = cluster if len(layout.clusters) > 1 and layout.accounting else ""
    return f"# Written by `pipshpc lab up`.\n{yaml.safe_dump(site, sort_keys=False)}"


def hosts_text(layout: Layout) -> str:
    """Return the /etc/hosts that nodes and controllers see."""
    lines = ["127.0.0.1 localhost", f"{layout.address} {CONTROLLER} {os.uname().nodename}"]
    return "\n".join([*lines, *(f"{n.address} {n.name}" for n in layout.all_nodes())]) + "\n"


def template(name: str) -> Path:
    """Return a file of envs/lab.

    Raises
    ------
    SiteError
        pipshpc was installed without its source tree.
    """
    path = TEMPLATES / name
    if not path.is_file():
        raise SiteError(f"{path}: is missing; run pipshpc from its source tree, as `make setup` installs it")
    return path


def _values(layout: Layout) -> dict[str, Any]:
    return {
        "controller": CONTROLLER,
        "address": layout.address,
        "database_port": DATABASE_PORT,
        "munge_socket": layout.munge_socket,
        "folder": layout.folder,
    }


def _fill(name: str, **values: Any) -> str:
    return Template(template(name).read_text()).substitute(values)
