"""The inventory finds what a plain comparison of every item finds, and keeps what was known before."""

import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipshpc.errors import InputError, SpecError
from pipshpc.inventory import Inventory, Item
from pipshpc.inventory.boxes import box_of, split_box

T0 = datetime(2019, 7, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def stock(tmp_path):
    with Inventory.open(tmp_path / "inventory.sqlite") as opened:
        yield opened


def scene(ident="a", box=(0.0, 0.0, 10.0, 10.0), start=T0, hours=1.0, **more):
    return Item(id=ident, bbox=box, start=start, end=start + hours * HOUR, digest=ident, **more)


lon = st.one_of(st.sampled_from([-180.0, 180.0, 0.0, 179.5, -179.5]), st.floats(-180, 180, width=32))
lat = st.one_of(st.sampled_from([-90.0, 90.0, 0.0]), st.floats(-90, 90, width=32))
boxes = st.tuples(lon, lat, lon, lat).map(lambda b: (b[0], min(b[1], b[3]), b[2], max(b[1], b[3])))
spans = st.tuples(st.integers(0, 200), st.integers(0, 48))
sensors = st.sampled_from(["modis", "viirs", "oli"])


def cells(box):
    """The box as pairs of longitudes on the unrolled circle, three turns wide."""
    west, _, east, _ = box
    if west > east:
        east += 360
    return [(west + turn, east + turn) for turn in (-360, 0, 360)]


def touches(a, b):
    """The definition, told another way than the code's: on the unrolled circle."""
    along = any(w <= e2 and e >= w2 for w, e in cells(a) for w2, e2 in cells(b)[1:2])
    # The two names of the date line are two places to a search: a box that ends at 180 does not go on at -180.
    if not along or not (a[1] <= b[3] and a[3] >= b[1]):
        return False
    return any(p[0] <= q[2] and p[2] >= q[0] for p in split_box(a) for q in split_box(b))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(boxes, spans, sensors), min_size=1, max_size=25), boxes, spans, sensors | st.none())
def test_a_search_finds_what_comparing_every_item_finds(tmp_path_factory, scenes, box, period, sensor):
    start, end = T0 + period[0] * HOUR, T0 + (period[0] + period[1]) * HOUR
    items = [scene(f"i{k}", b, T0 + at * HOUR, long, sensor=which) for k, (b, (at, long), which) in enumerate(scenes)]
    with Inventory.open(tmp_path_factory.mktemp("fuzz") / "i.sqlite") as stock:
        stock.add(items)
        found = {i.id for i in stock.search(box=box, time=(start, end), sensor=sensor)}
    wanted = {
        i.id
        for i in items
        if touches(i.bbox, box) and i.start < end and (i.end > start or i.start >= start) and sensor in (None, i.sensor)
    }
    assert found == wanted


def test_an_item_comes_back_as_it_went_in(stock):
    item = Item(
        id="LC08", collection="landsat", kind="source", path="/data/LC08", digest="ff", bbox=(170, -10, -170, 5.5),
        start=T0, end=T0 + timedelta(microseconds=7), product="sr", grid="30m", sensor="OLI", platform="Landsat-8",
        quality="good", recipe="r", size=12, properties={"eo:cloud_cover": 3.5, "view": {"off_nadir": 0}},
        inputs={"x": "1", "y": "2"}, created=T0,
    )  # fmt: skip
    stock.add([item])
    again = stock.get("LC08")
    assert again.revision == 1
    assert {f: getattr(again, f) for f in Item.__struct_fields__ if f != "revision"} == {
        f: getattr(item, f) for f in Item.__struct_fields__ if f != "revision"
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((175.0, -20.0, -175.0, 20.0), {"line"}),
        ((175.0, -20.0, 185.0, 20.0), {"line"}),
        ((-179.0, -20.0, -178.0, 20.0), {"line"}),
        ((-10.0, 80.0, 10.0, 90.0), {"pole"}),
        ((100.0, 89.0, 101.0, 90.0), {"pole"}),
        ((-180.0, -90.0, 180.0, 90.0), {"line", "pole"}),
        ((0.0, 0.0, 20.0, 20.0), set()),
        ((-180.0, -20.0, -180.0, 20.0), {"line"}),
        ((90.0, -20.0, -180.0, 20.0), {"line"}),
    ],
)
def test_date_line_and_pole(stock, asked, found):
    stock.add([scene("line", (175.0, -5.0, -175.0, 5.0)), scene("pole", (-180.0, 80.0, 180.0, 90.0))])
    assert {i.id for i in stock.search(box=asked)} == found
    assert len(stock.search(box=asked)) == len(found)


def test_points_around_a_pole_make_a_cap_and_points_over_the_date_line_a_narrow_box():
    assert box_of([0, 90, 180, -90], [80, 81, 82, 80]) == (-180.0, 80, 180.0, 90.0)
    assert box_of([179, -179, 178.5], [1, 2, 3]) == (178.5, 1, -179, 3)
    assert box_of([10, 20], [1, 2]) == (10, 1, 20, 2)


def test_adding_twice_changes_nothing(stock):
    items = [scene(f"s{k}") for k in range(20)]
    assert stock.add(items).added == 20
    assert stock.add(items) == type(stock.add([]))(same=20)
    assert len(stock) == 20


def test_a_replaced_file_is_a_new_revision_and_the_old_one_stays_known(stock):
    stock.add([scene("g", path="/g", quality="bad", created=T0)])
    new = Item(id="g", path="/g", digest="other", bbox=(0, 0, 1, 1), start=T0, end=T0 + HOUR, created=T0 + 10 * HOUR)
    assert stock.add([new]).revised == 1
    assert [i.digest for i in stock.search()] == ["other"]
    assert [i.digest for i in stock.search(as_of=T0 + 5 * HOUR)] == ["g"]
    assert stock.search(as_of=T0 - HOUR) == []
    assert [(i.revision, i.digest) for i in stock.revisions("/g")] == [(1, "g"), (2, "other")]
    assert stock.get("g", as_of=T0 + 5 * HOUR).digest == "g"
    # Its first content again is a third state of the file, not the first revision.
    assert stock.add([scene("g", path="/g", created=T0 + 20 * HOUR)]).revised == 1
    assert [i.revision for i in stock.revisions("g")] == [1, 2, 3]


def test_what_is_withdrawn_is_not_found_but_was_known(stock):
    stock.add([scene("g", created=T0)])
    assert stock.withdraw("g", at=T0 + HOUR).withdrawn == T0 + HOUR
    assert stock.search() == []
    assert len(stock.search(as_of=T0 + HOUR / 2)) == 1
    stock.add([scene("g")])
    assert stock.search() == []
    with pytest.raises(InputError, match="not in"):
        stock.withdraw("nothing")


def test_lineage_goes_both_ways_and_tells_the_revision_that_was_used(stock):
    stock.add([scene("in", path="/in", created=T0)])
    stock.add([scene("out", kind="product", inputs={"in": "in", "elsewhere": "?"})])
    stock.add([Item(id="in", path="/in", digest="new", created=T0 + HOUR)])
    assert [(p.id, p.digest, p.revision) for p in stock.parents("out")] == [("in", "in", 1)]
    assert [c.id for c in stock.children("in")] == ["out"]
    assert stock.children("out") == []


def test_words_of_a_search_may_be_one_or_several(stock):
    stock.add([scene(s, sensor=s, quality=q) for s, q in (("a", "good"), ("b", "good"), ("c", "bad"))])
    assert {i.id for i in stock.search(sensor=["a", "c"])} == {"a", "c"}
    assert {i.id for i in stock.search(quality="good")} == {"a", "b"}
    assert stock.search(sensor="nothing") == []
    assert len(stock.search(limit=2)) == 2


def test_wrong_questions_are_refused(stock, tmp_path):
    for wrong in ({"box": (0, 50, 10, 40)}, {"box": (0, 0, 1)}, {"time": ("yesterday", None)}, {"region": "Atlantis"}):
        with pytest.raises(SpecError):
            stock.search(**wrong)
    with pytest.raises(InputError, match="no inventory"):
        Inventory.open(tmp_path / "none.sqlite", create=False)
    (tmp_path / "text.sqlite").write_text("this is text, and long enough to be looked at by SQLite" * 20)
    with pytest.raises(InputError, match="is not an inventory"):
        Inventory.open(tmp_path / "text.sqlite")


def _write(path, name):
    with Inventory.open(path) as stock:
        for k in range(30):
            stock.add([scene(f"{name}-{k}"), scene(f"shared-{k}")])


def test_several_processes_write_at_once_and_none_is_lost_or_doubled(tmp_path):
    path = tmp_path / "i.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, f"w{k}")) for k in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [w.exitcode for w in writers] == [0] * 4
    with Inventory.open(path) as stock:
        assert len(stock) == 4 * 30 + 30
        assert len(stock.search(box=(1, 1, 2, 2))) == 150
