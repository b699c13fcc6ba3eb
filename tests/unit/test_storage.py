"""Striping: the command as text, and its outcome in one sentence."""

import pytest

from pipshpc.site import Storage, load_site
from pipshpc.storage import stripe, stripe_command


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        (Storage(), []),
        (Storage(stripe_count=8), ["lfs", "setstripe", "--stripe-count", "8", "/out put"]),
        (
            Storage(stripe_count=-1, stripe_size="16M"),
            ["lfs", "setstripe", "--stripe-count", "-1", "--stripe-size", "16M", "/out put"],
        ),
        (Storage(stripe_size="4M"), ["lfs", "setstripe", "--stripe-size", "4M", "/out put"]),
    ],
)
def test_the_command(storage, words):
    assert stripe_command(storage, "/out put") == words


def test_where_nothing_is_wanted_nothing_is_said(tmp_path):
    assert stripe(load_site("local").storage, tmp_path) == ""


def test_without_lustre_one_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = stripe(Storage(stripe_count=8), tmp_path)
    assert "is not striped (--stripe-count 8), because this machine has no 'lfs'" in said


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ('echo "$*" > {folder}/called', "new files are striped by --stripe-count 8"),
        ("echo 'not on a mounted Lustre filesystem' >&2; exit 25", "not on a mounted Lustre filesystem"),
    ],
)
def test_what_lfs_says_is_told(tmp_path, monkeypatch, script, said):
    program = tmp_path / "lfs"
    program.write_text("#!/bin/sh\n" + script.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert said in stripe(Storage(stripe_count=8), tmp_path)
    if "called" in script:
        assert (tmp_path / "called").read_text() == f"setstripe --stripe-count 8 {tmp_path}\n"
