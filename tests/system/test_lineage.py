"""Where products come from, made again bit for bit, and what late data do to them: on real small campaigns."""

import json
import os
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import h5py
import numpy as np
import pytest

from pipshpc.digest import content_digest
from pipshpc.inventory import Inventory
from pipshpc.source.identity import file_digest
from tests.mpi.conftest import write_forcing

pytestmark = [pytest.mark.system, pytest.mark.mpi]
CAMPAIGN = """campaign: "daily"
products: ["rlds"]
grid: "5deg"
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "2019-02-{end:02d}T00:00:00Z"
forcing: {{paths: ["input/*.nc"], downscale: false}}
resources: {{ranks: 1}}
output: "out"
{more}"""


class Place:
    """A folder with input and a campaign, an inventory, and the command line."""

    def __init__(self, folder, days=3, home=True, more="", step_h=6):
        self.folder, self.days, self.step_h = folder, days, step_h
        self.home = folder / "home"
        (folder / "input").mkdir(parents=True)
        if home:
            self.home.mkdir()
        for day in range(days):
            self.arrive(day)
        (folder / "daily.yaml").write_text(CAMPAIGN.format(end=2 + days, more=more))

    def input(self, day):
        return self.folder / "input" / f"era_2019-02-{2 + day:02d}.nc"

    def output(self, day, product="rlds"):
        return self.folder / "out" / f"{product}_5deg_3h_201902{2 + day:02d}.nc"

    def arrive(self, day, seed=None):
        steps = 24 // self.step_h
        return write_forcing(
            self.input(day), steps=steps, step_h=self.step_h, first_h=24 * day, seed=day if seed is None else seed
        )

    def say(self, *words, code=0):
        paths = [p for p in sys.path if p]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PIPSHPC_HOME": str(self.home)}
        done = subprocess.run(
            [sys.executable, "-m", "pipshpc", *map(str, words)],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout

    def tell(self, *words, code=0):
        return json.loads(self.say(*words, "--json", code=code))

    def stock(self):
        return Inventory.open(self.home / "inventory.sqlite", create=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A campaign of two days, made and taken in; not to be changed."""
    if shutil.which("mpiexec") is None:
        pytest.skip("mpiexec is not installed")
    place = Place(tmp_path_factory.mktemp("made"), days=2)
    place.say("run", "daily.yaml")
    place.say("ingest", "input")
    return place


@pytest.fixture
def fresh(tmp_path):
    """Return a function that makes a campaign which may be changed."""
    if shutil.which("mpiexec") is None:
        pytest.skip("mpiexec is not installed")

    def start(**how):
        place = Place(tmp_path / "place", **how)
        place.say("run", "daily.yaml")
        place.say("ingest", "input")
        return place

    return start


def test_a_driver_registers_what_it_publishes_as_ingest_would(made, tmp_path):
    with made.stock() as stock:
        by_driver = stock.search(kind="product")
        assert [file for file, _, _ in stock.campaigns()] == [str(made.folder / "daily.yaml")]
    with Inventory.open(tmp_path / "other.sqlite") as stock:
        stock.ingest(made.folder / "out")
        assert stock.search(kind="product") == by_driver
        assert [file for file, _, _ in stock.campaigns()] == [str(made.folder / "daily.yaml")]
    assert len(by_driver) == 2


def test_an_inventory_that_cannot_be_written_costs_no_task(tmp_path):
    place = Place(tmp_path / "place", days=1)
    (place.home / "inventory.sqlite").write_text("no database at all " * 100)
    place.say("run", "daily.yaml")
    assert place.output(0).is_file()
    journal = (place.folder / "out" / ".pipshpc" / "daily" / "journal.jsonl").read_text()
    assert "not registered" in journal
    # Without a home nothing is set up, and nothing is said.
    other = Place(tmp_path / "other", days=1, home=False)
    other.say("run", "daily.yaml")
    assert not other.home.exists()
    assert "not registered" not in (other.folder / "out" / ".pipshpc" / "daily" / "journal.jsonl").read_text()


def test_trace_goes_up_to_the_digests_of_the_inputs_and_down_again(made):
    tree = made.tell("trace", made.output(0), "--up", "--verify")
    (task,) = tree["below"]
    assert tree["digest"] == content_digest(made.output(0))
    # The last window of a day takes the first state of the next: both files are inputs.
    files = {n["path"]: n["digest"] for n in task["below"] if n["sort"] == "file"}
    assert files == {str(p): file_digest(p) for p in (made.input(0), made.input(1))}
    assert all(n["state"] == "" for n in task["below"])
    sorts = {n["sort"]: n for n in task["below"]}
    with h5py.File(made.output(0)) as file:
        lineage = json.loads(file.attrs["lineage"])
    assert sorts["kernels"]["digest"] == lineage["kernels"]
    assert {n["name"] for n in task["below"] if n["sort"] == "card"} == set(lineage["cards"])
    assert sorts["stack"]["facts"]["numpy"] == np.__version__
    assert sorts["job"]["facts"]["ranks"] == 1
    down = made.tell("trace", made.input(1), "--down")
    assert {n["path"] for n in down["below"]} == {str(made.output(0)), str(made.output(1))}
    drawn = made.say("trace", made.output(0))
    assert file_digest(made.input(0)) in drawn
    assert lineage["kernels"] in drawn


def test_the_export_is_prov_that_another_program_reads(made, tmp_path):
    model = pytest.importorskip("prov.model")
    for way, file in (("--up", made.output(0)), ("--down", made.input(0))):
        path = tmp_path / f"{way[2:]}.json"
        made.say("trace", file, way, "--prov", path)
        document = model.ProvDocument.deserialize(str(path))
        entities = {str(e.identifier) for e in document.get_records(model.ProvEntity)}
        assert f"file:{file_digest(made.input(0))}" in entities
        assert f"file:{content_digest(made.output(0))}" in entities
        ends = {str(v) for r in document.get_records(model.ProvRelation) for _, v in r.formal_attributes if v}
        known = entities | {str(r.identifier) for r in document.get_records((model.ProvActivity, model.ProvAgent))}
        assert {e for e in ends if ":" in e and not e[:4].isdigit()} <= known
    raw = json.loads((tmp_path / "up.json").read_text())
    (task,) = raw["activity"]
    assert len(raw["wasGeneratedBy"]) == 1
    assert {r["prov:activity"] for r in raw["used"].values()} == {task}
    assert len(raw["wasDerivedFrom"]) == 2


def test_a_file_is_rebuilt_bit_for_bit_on_any_number_of_ranks(made, tmp_path):
    for ranks in (1, 2):
        told = made.tell("rebuild", made.output(0), "--scratch", tmp_path / str(ranks), "--ranks", ranks)
        assert told["same"] is True
        assert content_digest(told["made"]) == content_digest(made.output(0)) == told["recorded"]
    assert "nothing differs" in made.say("rebuild", made.output(0), "--dry-run")


def test_a_rebuild_says_which_input_is_not_what_it_was_and_finds_one_that_moved(fresh, tmp_path):
    place = fresh(days=1)
    moved = tmp_path / "elsewhere" / "renamed.nc"
    moved.parent.mkdir()
    place.input(0).rename(moved)
    told = place.tell("rebuild", place.output(0), "--scratch", tmp_path / "a", code=1)
    assert told["same"] is None
    assert [str(place.input(0)) in line and "is gone" in line for line in told["differs"]] == [True]
    place.say("ingest", moved.parent)
    assert place.tell("rebuild", place.output(0), "--scratch", tmp_path / "b")["same"] is True
    # A file that was changed after it was published is told from its rebuild.
    with h5py.File(place.output(0), "a") as file:
        file.attrs["institution"] = "somebody else"
    told = place.tell("rebuild", place.output(0), "--scratch", tmp_path / "c")
    assert "has changed since it was published" in told["differs"][0]
    place.arrive(0, seed=9)
    moved.unlink()
    told = place.tell("rebuild", place.output(0), "--scratch", tmp_path / "d", code=1)
    assert "other content" in told["differs"][0]


def test_diff_names_inputs_before_values(made, fresh):
    other = fresh(days=2)
    assert other.tell("diff", made.output(0), other.output(0)) == {"equal": True, "reasons": [], "differences": []}
    other.arrive(1, seed=50)
    other.say("run", "daily.yaml")
    told = other.tell("diff", made.output(0), other.output(0), code=1)
    assert [r.startswith(f"inputs: {other.input(1).name}") for r in told["reasons"]] == [True]
    assert any("values differ" in line for line in told["differences"])


def values(path):
    with h5py.File(path) as file:
        return file["rlds"][:]


def test_a_replaced_granule_touches_just_the_windows_that_it_goes_into(fresh):
    place = fresh(days=3)
    assert place.tell("impact")["impact"]["touched"] == []
    before = {day: place.output(day).read_bytes() for day in range(3)}
    old = {day: values(place.output(day)) for day in range(3)}
    place.arrive(1, seed=99)
    told = place.tell("impact", place.input(1))["impact"]
    assert [c["what"] for c in told["changes"]] == ["replaced"]
    touched = {t["path"]: t["windows"] for t in told["touched"]}
    # The last windows of the first day lie between its last state and the first of the second.
    assert touched.keys() == {str(place.output(0)), str(place.output(1))}
    assert told["untouched"] == 1
    assert {day: place.output(day).read_bytes() for day in range(3)} == before  # told, not done

    applied = place.tell("impact", "--apply")["applied"]
    assert sorted(applied["made"]) == sorted(touched)
    assert applied["failed"] == {}
    assert place.output(2).read_bytes() == before[2]
    for day in (0, 1):
        changed = (values(place.output(day)) != old[day]).any(axis=(1, 2))
        starts = [f"2019-02-{2 + day:02d}T{3 * k:02d}:00:00Z" for k in np.flatnonzero(changed)]
        assert starts == touched[str(place.output(day))]
    assert place.tell("impact")["impact"]["touched"] == []
    assert "nothing was left to do" in place.say("run", "daily.yaml")

    # The old revision is readable, and what was known before is found by date.
    first, second = place.tell("revisions", place.output(1))
    assert Path(first["path"]).read_bytes() == before[1]
    assert second["path"] == str(place.output(1))
    known = place.say("revisions", place.output(1), "--as-of", first["created"]).strip()
    assert known == first["path"]
    assert place.tell("search", "--kind", "product", "--as-of", first["created"])[1]["path"] == first["path"]
    assert place.tell("diff", known, place.output(1), code=1)["reasons"]
    # Another inventory learns all of it from the folders.
    with place.stock() as stock, Inventory.open(place.folder / "second.sqlite") as again:
        again.ingest(place.folder / "out")
        assert again.search(kind="product") == stock.search(kind="product")
        assert [r.digest for r in again.revisions(place.output(1))] == [first["digest"], second["digest"]]
        assert again.ingest(place.folder / "out").revised == 0


def test_a_granule_that_comes_late_is_taken_up_where_it_belongs(tmp_path):
    if shutil.which("mpiexec") is None:
        pytest.skip("mpiexec is not installed")
    place = Place(tmp_path / "late", days=3, more='cycle: {delay: "1d"}\n', step_h=3)
    kept = place.input(1).read_bytes()
    place.input(1).unlink()
    place.say("run", "daily.yaml")
    place.say("ingest", "input")
    assert not place.output(1).exists()
    before = {day: place.output(day).read_bytes() for day in (0, 2)}
    place.input(1).write_bytes(kept)
    told = place.tell("impact", place.input(1), "--apply")
    assert [c["what"] for c in told["impact"]["changes"]] == ["arrived"]
    assert [(t["path"], t["action"]) for t in told["impact"]["touched"]] == [(str(place.output(1)), "first")]
    assert told["applied"]["made"] == [str(place.output(1))]
    assert {day: place.output(day).read_bytes() for day in (0, 2)} == before
    with place.stock() as stock:
        assert len(stock.search(kind="product")) == 3


def test_a_withdrawn_granule_takes_its_products_with_it_and_leaves_the_rest(fresh):
    place = fresh(days=3, step_h=3)
    before = {day: place.output(day).read_bytes() for day in (0, 1, 2)}
    told = place.tell("impact", place.input(2), "--withdraw")["impact"]
    assert [t["path"] for t in told["touched"]] == [str(place.output(2))]
    assert place.input(2).exists()
    done = place.tell("impact", place.input(2), "--withdraw", "--apply")["applied"]
    assert done["withdrawn"] == [str(place.output(2))]
    assert not place.input(2).exists()
    assert not place.output(2).exists()
    assert Path(done["kept"][0]).read_bytes() == before[2]
    assert {day: place.output(day).read_bytes() for day in (0, 1)} == {day: before[day] for day in (0, 1)}
    assert len(place.tell("search", "--kind", "product")) == 2
    assert place.tell("trace", done["kept"][0])["state"] == "withdrawn"


class Listener:
    """A web server on this machine that notes what is posted to it."""

    def __init__(self):
        self.heard, self.answer = [], 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.answer == 200:
                    outer.heard.append((self.headers["Idempotency-Key"], json.loads(body)))
                self.send_response(outer.answer)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/hook"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def listener():
    one = Listener()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_subscribers_get_products_as_they_appear_and_new_revisions_too(tmp_path, listener):
    if shutil.which("mpiexec") is None:
        pytest.skip("mpiexec is not installed")
    place = Place(tmp_path / "place", days=2, step_h=3)
    place.say("subscribe", "add", "files", "--product", "rlds", "--box", 5, 43, 17, 49, "--folder", "inbox")
    place.say("subscribe", "add", "hook", "--webhook", listener.address)
    place.say("subscribe", "add", "other", "--product", "rsds", "--folder", "never")
    place.say("run", "daily.yaml")
    for day in (0, 1):
        assert (place.folder / "inbox" / place.output(day).name).read_bytes() == place.output(day).read_bytes()
        assert content_digest(place.folder / "inbox" / place.output(day).name) == content_digest(place.output(day))
    assert sorted(body["item"]["assets"]["data"]["href"] for _, body in listener.heard) == [
        str(place.output(day)) for day in (0, 1)
    ]
    assert not (place.folder / "never").exists()
    place.say("ingest", "input")
    place.arrive(1, seed=77)
    place.say("impact", place.input(1), "--apply")
    place.say("subscribe", "deliver")
    assert (place.folder / "inbox" / place.output(1).name).read_bytes() == place.output(1).read_bytes()
    assert len(listener.heard) == len({key for key, _ in listener.heard}) == 3
