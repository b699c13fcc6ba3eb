"""Moving the end of a campaign changes one value of its file, or nothing at all."""

import pytest
from test_overview import CAMPAIGN

from pipshpc.campaign import load_campaign
from pipshpc.commands.extension import extend_file, replace_end
from pipshpc.errors import SpecError

NEW = "2006-05-01T00:00:00Z"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('end: "2006-04-03T00:00:00Z"', f'end: "{NEW}"'),
        ("end: '2006-04-03'   # exclusive", f"end: '{NEW}'   # exclusive"),
        ("end:   2006-04-03T00:00:00Z # note: end", f'end:   "{NEW}" # note: end'),
        ('end : "x"\t', f'end : "{NEW}"\t'),
        ('end: "x"\r', f'end: "{NEW}"\r'),
    ],
)
def test_only_the_value_changes(line, expected):
    before, after = '# end: "1999"\nweekend: "a"\n', '\nforcing:\n  end: "inner"\nappend: "end: x"\n'
    assert replace_end(before + line + after, NEW) == before + expected + after


@pytest.mark.parametrize("text", ["start: 1\n", 'end: "a"\nend: "b"\n', "{end: x}\n", "end: >\n  x\n"])
def test_what_is_not_one_plain_line_is_left_to_a_person(text):
    with pytest.raises(SpecError, match="by hand"):
        replace_end(text, NEW)


def test_the_file_keeps_all_its_other_bytes(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_bytes(CAMPAIGN.replace("\n", "\r\n").encode())
    path.chmod(0o640)
    assert extend_file(path, NEW) == ("2006-04-03T00:00:00Z", NEW)
    assert path.read_bytes() == CAMPAIGN.replace("2006-04-03T00:00:00Z", NEW).replace("\n", "\r\n").encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert load_campaign(path).end == NEW
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "end", ["2006-04-03T00:00:00Z", "2006-04-02T00:00:00Z", "2006-04-03T01:00:00Z", "later", "open"]
)
def test_a_wrong_end_changes_nothing(tmp_path, end):
    path = tmp_path / "tiny.yaml"
    path.write_text(CAMPAIGN)
    with pytest.raises(SpecError, match="key 'end'"):
        extend_file(path, end)
    assert path.read_text() == CAMPAIGN
    assert list(tmp_path.iterdir()) == [path]


def test_a_dry_run_checks_and_leaves_the_file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CAMPAIGN)
    extend_file(path, NEW, write=False)
    assert path.read_text() == CAMPAIGN
