import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from pipshpc.digest import content_digest, difference, file_digest
from pipshpc.errors import InputError


def rewrite(source, target, order=None, **options):
    """Copy a file dataset by dataset, in another order, with other filters and another byte layout."""
    with h5py.File(source, "r") as one, h5py.File(target, "w") as two:
        for name in order or sorted(one, reverse=True):
            old = one[name]
            layout = {"chunks": old.chunks, **options} if old.chunks else {}
            new = two.create_dataset(name, data=old[()], fillvalue=old.fillvalue if old.chunks else None, **layout)
            for key, value in old.attrs.items():
                if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME", "_Netcdf4Dimid"):
                    new.attrs[key] = value
        for name in one:
            if one[name].attrs.get("CLASS") == b"DIMENSION_SCALE":
                two[name].make_scale(one[name].attrs["NAME"].decode())
        for name in one:
            for axis, dimension in enumerate(one[name].dims):
                for scale in dimension.values():
                    two[name].dims[axis].attach_scale(two[scale.name])
        two.attrs.update(dict(one.attrs))


def change(path, act):
    with h5py.File(path, "r+") as handle:
        act(handle)


def test_same_content_from_another_writer_has_the_same_digest(product_file, tmp_path):
    other = tmp_path / "other.nc"
    rewrite(product_file, other, compression="lzf")
    assert file_digest(other) != file_digest(product_file)
    assert difference(product_file, other) == []
    assert content_digest(other) == content_digest(product_file)


def test_digest_does_not_depend_on_the_process(product_file):
    code = f"from pipshpc.digest import content_digest; print(content_digest({str(product_file)!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == content_digest(product_file)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda f: f["rlds"].__setitem__((3, 10, 20), 1234), ["/rlds", "1 of 518400 values", "[3, 10, 20]", "W m-2"]),
        (lambda f: f["rlds"].attrs.__setitem__("units", np.bytes_("W/m2")), ["/rlds", "units", "'W m-2'", "'W/m2'"]),
        (lambda f: f.attrs.__setitem__("comment", np.bytes_("other")), ["/:", "comment"]),
        (lambda f: f.attrs.__delitem__("comment"), ["comment", "only in the first"]),
        (lambda f: f.create_dataset("more", data=[1.0]), ["/more", "only in"]),
        (lambda f: f["rlds"].dims[0].detach_scale(f["time"]), ["/rlds", "DIMENSION_LIST"]),
        (lambda f: f["lat"].__setitem__(0, 12.0), ["/lat", "1 of 180 values"]),
        (lambda f: f["rlds"].attrs.create("scale_factor", np.float64(0.02)), ["/rlds", "scale_factor"]),
    ],
)
def test_every_change_is_seen_and_named(product_file, tmp_path, act, words):
    other = shutil.copy(product_file, tmp_path / "other.nc")
    change(other, act)
    assert content_digest(other) != content_digest(product_file)
    text = "\n".join(difference(product_file, other))
    assert all(word in text for word in words), text


def test_chunks_are_part_of_the_digest(sample, tmp_path):
    one, two = sample(tmp_path / "a.nc", chunk=(45, 90)), sample(tmp_path / "b.nc", chunk=(60, 90))
    assert content_digest(one) != content_digest(two)
    assert any("chunks (1, 45, 90) against (1, 60, 90)" in line for line in difference(one, two))
    assert not any("values differ" in line for line in difference(one, two))


def test_unwritten_chunks_equal_written_fill(tmp_path):
    for name, write in (("a.h5", False), ("b.h5", True)):
        with h5py.File(tmp_path / name, "w") as handle:
            data = handle.create_dataset("x", (4, 6), "i2", chunks=(2, 3), fillvalue=-1)
            if write:
                data[...] = -1
    assert content_digest(tmp_path / "a.h5") == content_digest(tmp_path / "b.h5")


def test_kinds_of_text_and_number_are_normalised(tmp_path):
    for name, text, number in (("a.h5", "W m-2", 3.0), ("b.h5", np.bytes_("W m-2"), np.array([3.0], ">f8"))):
        with h5py.File(tmp_path / name, "w") as handle:
            handle.create_dataset("x", data=np.arange(5, dtype="<i4" if name == "a.h5" else ">i4"))
            handle["x"].attrs["units"] = text
            handle["x"].attrs["level"] = number
    assert content_digest(tmp_path / "a.h5") == content_digest(tmp_path / "b.h5")
    assert difference(tmp_path / "a.h5", tmp_path / "b.h5") == []


def test_groups_text_and_compound_datasets(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as handle:
        handle.create_dataset("g/text", data=["one", "three"], dtype=h5py.string_dtype())
        handle.create_dataset("g/pairs", data=np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]))
        handle.create_dataset("empty", (0, 3), "f4")
        handle.create_dataset("nothing", data=h5py.Empty("f4"))
    before = content_digest(path)
    change(path, lambda f: f["g/text"].__setitem__(0, "two"))
    assert content_digest(path) != before


def test_unreadable_files_are_named(product_file, tmp_path):
    with pytest.raises(InputError, match=r"missing\.nc: no such file"):
        content_digest(tmp_path / "missing.nc")
    with pytest.raises(InputError, match=r"missing\.nc: cannot be read"):
        file_digest(tmp_path / "missing.nc")
    text = tmp_path / "text.nc"
    text.write_text("not HDF5")
    with pytest.raises(InputError, match="is not HDF5"):
        content_digest(text)
    cut = tmp_path / "cut.nc"
    cut.write_bytes(product_file.read_bytes()[:-5000])
    with pytest.raises(InputError, match="cut off"):
        content_digest(cut)


def test_a_damaged_chunk_is_an_error_not_a_digest(product_file):
    with h5py.File(product_file) as handle:
        info = handle["rlds"].id.get_chunk_info(5)
    with product_file.open("r+b") as stream:
        stream.seek(info.byte_offset + info.size // 2)
        stream.write(b"\xff\x00\xff\x00")
    with pytest.raises(InputError, match=r"/rlds at .* damaged"):
        content_digest(product_file)
