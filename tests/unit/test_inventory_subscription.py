"""Deliveries: at least once, in order, with bounded tries, and nothing is lost while nobody delivers."""

import sys
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from pipshpc.errors import InputError, SpecError
from pipshpc.inventory import Inventory, Item
from pipshpc.inventory import subscription as subscriptions
from pipshpc.inventory.subscription import (
    LEASE_S,
    MOST_TRIES,
    Subscription,
    deliver,
    ledger,
    retry,
    subscribe,
    unsubscribe,
)

T0 = datetime(2019, 7, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def stock(tmp_path):
    with Inventory.open(tmp_path / "inventory.sqlite") as opened:
        yield opened


@pytest.fixture
def product(tmp_path):
    def make(name, digest="1", **facts):
        path = tmp_path / "out" / f"{name}.nc"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name} {digest}")
        told = {"product": "rlds", "bbox": (0.0, 0.0, 10.0, 10.0), "quality": "good", "kind": "product"}
        return Item(id=name, path=str(path), digest=digest, start=T0, end=T0, **{**told, **facts})

    return make


def states(stock):
    return [(line.item, line.state) for line in ledger(stock)]


def test_only_what_is_wanted_and_appears_later_is_delivered(stock, product, tmp_path):
    stock.add([product("before")])
    subscribe(
        stock, Subscription(name="s", products=["rlds"], box=(5, 5, 6, 6), quality=["good"], folder=f"{tmp_path}/in")
    )
    stock.add(
        [
            product("wanted"),
            product("other", product="rsds"),
            product("far", bbox=(50.0, 0.0, 60.0, 10.0)),
            product("poor", quality="bad"),
            product("source", kind="source"),
        ]
    )
    deliver(stock)
    assert states(stock) == [("wanted", "done")]
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == ["wanted.nc"]
    assert deliver(stock) == []


def test_what_was_missed_is_delivered_later_in_order_also_from_the_start(stock, product, tmp_path):
    stock.add([product("first")])
    subscribe(stock, Subscription(name="s", folder=f"{tmp_path}/in", hard=True), from_start=True)
    for k in range(5):
        stock.add([product(f"p{k}")])
    assert [line.item for line in deliver(stock)] == ["first", *(f"p{k}" for k in range(5))]
    assert (tmp_path / "in" / "p0.nc").samefile(tmp_path / "out" / "p0.nc")


def test_failures_wait_longer_each_time_and_end_until_somebody_asks(stock, product, tmp_path):
    script = f"{sys.executable} -c 'import sys; sys.exit(\"no \" + sys.argv[1])' {{id}}"
    subscribe(stock, Subscription(name="s", command=script))
    stock.add([product("p")])
    clock, waits = Clock(), []
    for _ in range(MOST_TRIES + 3):
        begin = clock.now
        for line in (changed := deliver(stock, clock)):
            assert "no p" in line.note
        if not changed:
            break
        due = stock.base.execute("SELECT due FROM delivery").fetchone()[0]
        waits.append(due - begin)
        clock.now = due - 1.0
        assert deliver(stock, clock) == []
        clock.now = due
    assert states(stock) == [("p", "failed")]
    assert len(waits) == MOST_TRIES
    assert all(b == min(2 * a, subscriptions.LONGEST_WAIT_S) for a, b in pairwise(waits))
    assert retry(stock, "s") == 1
    assert [line.state for line in deliver(stock, clock)] == ["waiting"]


def test_a_delivery_that_died_is_made_again_after_its_lease(stock, product, tmp_path, monkeypatch):
    subscribe(stock, Subscription(name="s", folder=f"{tmp_path}/in"))
    stock.add([product("p")])

    def die(*_):
        raise KeyboardInterrupt

    clock = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(subscriptions, "send", die)
        with pytest.raises(KeyboardInterrupt):
            deliver(stock, clock)
    # Nobody else takes it while it may still be under way.
    assert deliver(stock, clock) == []
    clock.now += LEASE_S
    assert [line.state for line in deliver(stock, clock)] == ["done"]
    assert (tmp_path / "in" / "p.nc").read_text() == "p 1"


def test_a_newer_revision_supersedes_one_that_still_waits(stock, product, tmp_path):
    subscribe(stock, Subscription(name="s", folder=f"{tmp_path}/in"))
    stock.add([product("p", "1")])
    stock.add([product("p", "2")])
    stock.add([product("q")])
    stock.withdraw("q")
    deliver(stock)
    assert sorted(states(stock)) == [("p", "done"), ("p", "superseded")]
    assert (tmp_path / "in" / "p.nc").read_text() == "p 2"


def test_wrong_subscriptions_are_refused(stock, tmp_path):
    for wrong in ({}, {"folder": "a", "command": "b"}, {"webhook": "ftp://x"}):
        with pytest.raises(ValueError, match=r"is wanted|delivers to one"):
            Subscription(name="s", **wrong)
    subscribe(stock, Subscription(name="s", folder="a"))
    with pytest.raises(SpecError, match="already"):
        subscribe(stock, Subscription(name="s", folder="a"))
    unsubscribe(stock, "s")
    with pytest.raises(InputError, match="no subscription"):
        unsubscribe(stock, "s")
