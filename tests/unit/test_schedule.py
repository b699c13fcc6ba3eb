"""Entries of cron: they come, are replaced, and go; every other line of the user's table stays as it is."""

import stat

import pytest

from pipshpc.commands.schedule import (
    Entry,
    choose_program,
    cron_times,
    find_entry,
    read_table,
    tick_line,
    with_entry,
    without,
    write_table,
)
from pipshpc.errors import SiteError, SpecError

MINE = "MAILTO=me\n# backups\n0 3 * * * /home/me/backup --all\n\n@reboot  echo  up"
ENTRY = Entry("/out/.pipshpc/a", "10min", "pipshpc campaign tick /out/.pipshpc/a")


@pytest.mark.parametrize("table", ["", MINE, MINE + "\n", "# only a comment\n"])
def test_what_is_put_in_can_be_taken_out_again(table):
    full = with_entry(table, ENTRY)
    assert full.startswith(table)
    assert without(full, ENTRY.key).rstrip("\n") == table.rstrip("\n")
    assert find_entry(full, ENTRY.key) == ["*/10 * * * * pipshpc campaign tick /out/.pipshpc/a"]
    assert find_entry(without(full, ENTRY.key), ENTRY.key) == []


def test_a_second_time_replaces_the_first():
    once = with_entry(MINE, ENTRY)
    assert with_entry(once, ENTRY) == once
    later = with_entry(once, Entry(ENTRY.key, "hourly", ENTRY.command))
    assert later.count("campaign tick") == 1
    assert find_entry(later, ENTRY.key) == ["0 * * * * pipshpc campaign tick /out/.pipshpc/a"]


def test_campaigns_whose_names_begin_alike_do_not_meet():
    other = Entry(ENTRY.key + "b", "daily", "pipshpc campaign tick b")
    both = with_entry(with_entry(MINE, ENTRY), other)
    assert find_entry(without(both, ENTRY.key), other.key) == ["0 6 * * * pipshpc campaign tick b"]
    assert find_entry(without(both, other.key), ENTRY.key)


def test_an_entry_without_its_end_is_left_alone():
    torn = with_entry(MINE, ENTRY).rsplit("# pipshpc", 1)[0]
    with pytest.raises(SiteError, match="by hand"):
        with_entry(torn, ENTRY)


def test_a_percent_sign_is_no_line_break():
    line = find_entry(with_entry("", Entry("k", "daily", "tick /50%")), "k")[0]
    assert line.endswith(r"tick /50\%")
    lines = find_entry(with_entry("", Entry("k", "daily", "tick /50%", ("--time=00:10:00",))), "k")
    assert lines == ["#SCRON --time=00:10:00", "0 6 * * * tick /50%"]


@pytest.mark.parametrize("every", ["0min", "61min", "often", "* * * *", "1;2 * * * *", ""])
def test_odd_times_are_refused(every):
    with pytest.raises(SpecError, match="five fields"):
        cron_times(every)


def test_the_line_is_safe_in_a_shell():
    line = tick_line(["python", "tick", "/a b/c"], {"PATH": "/x y"}, "/a b/log")
    assert line == "PATH='/x y' python tick '/a b/c' >> '/a b/log' 2>&1"


@pytest.fixture
def crontab(tmp_path, monkeypatch):
    """A stand-in for crontab that keeps its table in a file."""
    (tmp_path / "bin").mkdir()
    program, table = tmp_path / "bin" / "crontab", tmp_path / "table"
    program.write_text(
        f"#!/bin/sh\nif [ \"$1\" = -l ]; then [ -f {table} ] || {{ echo 'no crontab for me' >&2; exit 1; }}; "
        f"cat {table}; else cat > {table}; fi\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return table


def test_no_table_is_an_empty_table(crontab):
    assert choose_program(slurm=False) == "crontab"
    assert read_table("crontab") == ""
    write_table("crontab", with_entry("", ENTRY))
    assert find_entry(read_table("crontab"), ENTRY.key)


def test_a_table_that_cannot_be_read_is_not_written_over(tmp_path, monkeypatch):
    program = tmp_path / "crontab"
    program.write_text("#!/bin/sh\necho 'cannot open your crontab file' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(SiteError, match="nothing was changed"):
        read_table("crontab")


def test_without_cron_it_is_said_what_else_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SiteError, match="campaign tick"):
        choose_program(slurm=True)
