"""Products name the stack that made them, and are the same whichever it was."""

import h5py
import pytest

from pipshpc.catalogue import make_item
from pipshpc.dataset import describe
from pipshpc.digest import content_digest, difference
from pipshpc.prose import tell_lineage
from pipshpc.store import loaded_stack
from tests.conftest import write_sample

STACK = {"PIPSHPC_STACK": "rs-core/0.1-aaaaaaaaaaaa", "PIPSHPC_STACK_DIGEST": "a" * 64}


@pytest.fixture
def files(tmp_path):
    plain, made = (write_sample(tmp_path / f"{name}.nc", step=10.0, windows=1) for name in ("plain", "made"))
    with h5py.File(made, "r+") as file:
        for name, value in loaded_stack(STACK).items():
            file.attrs[name] = value
    return plain, made


def test_only_a_loaded_stack_is_named():
    assert list(loaded_stack(STACK).values()) == [f"rs-core/0.1-aaaaaaaaaaaa {'a' * 64}"]
    assert loaded_stack({}) == loaded_stack({"PIPSHPC_STACK": "rs-core/1"}) == {}


def test_the_stack_is_in_the_file_its_item_and_its_story(files):
    plain, made = files
    told = f"rs-core/0.1-aaaaaaaaaaaa {'a' * 64}"
    assert make_item(made).properties["pipshpc:stack"] == told
    assert f"Software stack {told}." in tell_lineage(describe(made))
    assert "pipshpc:stack" not in make_item(plain).properties


def test_another_stack_does_not_make_another_content(files):
    assert content_digest(files[0]) == content_digest(files[1])
    assert difference(*files) == []
    with h5py.File(files[1], "r+") as file:
        file.attrs["title"] = "another"
    assert content_digest(files[0]) != content_digest(files[1]) and difference(*files)
