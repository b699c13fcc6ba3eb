"""The page of all products is what the cards say."""

from pathlib import Path

import pytest

from pipshpc.cli import main
from pipshpc.product import load_cards
from pipshpc.productdoc import load_costs, products_page, theme_of

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date():
    assert (DOCS / "products.md").read_text(encoding="utf-8") == products_page(DOCS), (
        "a card has changed: run 'pipshpc products doc'"
    )


def test_every_product_and_algorithm_is_on_the_page_with_its_evidence():
    page = " ".join(products_page(DOCS).split())
    for card in load_cards().values():
        assert f"### {card.id} " in page and theme_of(card)
        for algorithm in card.algorithms:
            assert f"**{algorithm.name}**" in page
            assert " ".join(algorithm.evidence.split()) in page
            assert all(reference in page for reference in algorithm.references)


def test_costs_are_of_products_that_there_are():
    cards = load_cards()
    for product, found in load_costs().ns.items():
        assert set(found) <= {a.name for a in cards[product].algorithms}
        assert all(ns > 0 for ns in found.values())


def test_pictures_are_small_and_of_products_that_there_are():
    pictures = list((DOCS / "images" / "products").glob("*.png"))
    assert {p.stem for p in pictures} <= set(load_cards())
    assert sum(p.stat().st_size for p in pictures) < 3_000_000


def test_command_writes_and_says_whether_it_would(tmp_path, capsys):
    page = tmp_path / "products.md"
    with pytest.raises(SystemExit) as left:
        main(["products", "doc", "--out", str(page), "--dry-run"])
    assert left.value.code == 1 and not page.exists()
    with pytest.raises(SystemExit) as left:
        main(["products", "doc", "--out", str(page)])
    assert not left.value.code and "is written" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["products", "doc", "--out", str(page), "--dry-run"])
    assert not left.value.code and "![" not in page.read_text()
