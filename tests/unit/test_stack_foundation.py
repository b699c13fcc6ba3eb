"""What a stack stands on: built from an archive once, at its final place, or refused with the reason."""

import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest

from pipshpc.errors import SiteError
from pipshpc.site import load_site
from pipshpc.stack.foundation import find_foundation
from pipshpc.stack.spec import Component, Stack

# As autoconf's: options to variables of a Makefile, and DESTDIR before what is installed.
CONFIGURE = """#!/bin/sh
for word in "$@"; do
    case $word in
    --prefix=*) prefix=${word#--prefix=} ;;
    --fail) echo "error: no way" >&2 && exit 1 ;;
    esac
done
cat > Makefile <<END
all: libhdf5.so
libhdf5.so:
\techo $prefix > libhdf5.so
install: all
\tmkdir -p \\$(DESTDIR)$prefix/include \\$(DESTDIR)$prefix/lib
\tcp libhdf5.so \\$(DESTDIR)$prefix/lib
\techo '#define H5_HAVE_PARALLEL 1' > \\$(DESTDIR)$prefix/include/H5pubconf.h
\techo '#define H5_PACKAGE_VERSION "1.2.3"' >> \\$(DESTDIR)$prefix/include/H5pubconf.h
END
"""


@pytest.fixture
def archive(tmp_path):
    source = tmp_path / "hdf5-1.2.3"
    source.mkdir()
    (source / "configure").write_text(CONFIGURE)
    (source / "configure").chmod(0o755)
    with tarfile.open(tmp_path / "hdf5.tar.gz", "w:gz") as tar:
        tar.add(source, source.name)
    shutil.rmtree(source)
    return tmp_path / "hdf5.tar.gz"


def found(archive, folder, install=True, digest="", **more):
    if shutil.which("make") is None:
        pytest.skip("no make")
    digest = digest or hashlib.sha256(archive.read_bytes()).hexdigest()
    part = Component(origin="build", source=str(archive), sha256=digest, **more)
    stack = Stack(name="x", version="1", python="3.11", locks=[], hdf5=part)
    return find_foundation(stack, load_site("local"), folder, install, "again")


def test_it_is_built_once_at_its_final_place(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPSHPC_NO_APT", "1")
    first = found(archive, tmp_path / "sw")
    place = first.found["hdf5"]
    assert place.startswith(f"{tmp_path}/sw/base/hdf5-") and first.facts["hdf5"] == "1.2.3"
    assert Path(place, "lib", "libhdf5.so").read_text().strip() == place
    before = Path(place).stat().st_mtime_ns
    assert found(archive, tmp_path / "sw") == first and Path(place).stat().st_mtime_ns == before
    assert found(archive, tmp_path / "other").facts == first.facts
    assert [p.name for p in (tmp_path / "sw" / "base").iterdir()] == [Path(place).name]


@pytest.mark.parametrize(
    ("more", "said"),
    [({"digest": "0" * 64}, "fetch it again"), ({"configure": ["--fail"]}, "error: no way"), ({}, "cannot be read")],
)
def test_what_cannot_be_built_is_said_and_leaves_nothing(archive, tmp_path, more, said):
    if not more:
        archive = tmp_path / "nothing.tar.gz"
        more = {"digest": "0" * 64}
    with pytest.raises(SiteError, match=said):
        found(archive, tmp_path / "sw", **more)
    assert not list((tmp_path / "sw").glob("base/*"))
