"""Entries of crontab and scrontab that look after a campaign: their text, their coming and going."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass

from pipshpc.errors import SiteError, SpecError

MARK = "# pipshpc campaign:"
BEGIN, END = f"{MARK} begin", f"{MARK} end"
TIMES = {"hourly": "0 * * * *", "daily": "0 6 * * *"}
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Entry:
    """One entry.

    Parameters
    ----------
    key : what tells it from other campaigns' entries; the state folder
    every : five fields of cron, or "hourly", "daily", or minutes as in "10min"
    command : what is run, as one shell line
    options : of scrontab, as in ``--time=00:10:00``; empty for cron
    """

    key: str
    every: str
    command: str
    options: tuple[str, ...] = ()


def cron_times(every: str) -> str:
    """Return the five fields of cron that `every` stands for.

    Raises
    ------
    SpecError
    """
    if every in TIMES:
        return TIMES[every]
    number = every.removesuffix("min")
    if number != every and number.isdigit() and 1 <= int(number) <= 60:
        return f"*/{int(number)} * * * *" if int(number) < 60 else TIMES["hourly"]
    fields = every.split()
    if len(fields) == 5 and all(c in "0123456789*/,-" or c.isalpha() for field in fields for c in field):
        return " ".join(fields)
    raise SpecError(f"--every: found '{every}', wanted '10min' (1 to 60), 'hourly', 'daily' or the five fields of cron")


def entry_lines(entry: Entry) -> list[str]:
    """Return the lines of one entry, between marks by which it is found again."""
    if "\n" in entry.command or "\n" in entry.key:
        raise SpecError(f"found a line break in {entry.command!r}; rename the folder")
    # To cron a percent sign is the end of the line.
    command = entry.command.replace("%", r"\%") if not entry.options else entry.command
    options = [f"#SCRON {option}" for option in entry.options]
    return [f"{BEGIN} {entry.key}", *options, f"{cron_times(entry.every)} {command}", f"{END} {entry.key}"]


def without(text: str, key: str) -> str:
    """Return a table without the entry of `key`; all other lines stay as they are."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\n")
        if bare == f"{BEGIN} {key}":
            inside = True
        if not inside:
            kept.append(line)
        if bare == f"{END} {key}":
            inside = False
    if inside:
        raise SiteError(f"the table has '{BEGIN} {key}' without its end; mend it by hand ('crontab -e')")
    return "".join(kept)


def with_entry(text: str, entry: Entry) -> str:
    """Return a table with an entry, in place of the one of the same key where there is one."""
    rest = without(text, entry.key)
    rest += "\n" if rest and not rest.endswith("\n") else ""
    return rest + "\n".join(entry_lines(entry)) + "\n"


def find_entry(text: str, key: str) -> list[str]:
    """Return the lines of the entry of `key`, without the marks; empty where there is none."""
    lines = text.splitlines()
    begin, end = f"{BEGIN} {key}", f"{END} {key}"
    return lines[lines.index(begin) + 1 : lines.index(end)] if begin in lines and end in lines else []


def choose_program(slurm: bool) -> str:
    """Return "scrontab" for a cluster that has it, else "crontab".

    Raises
    ------
    SiteError
        Where this machine has neither.
    """
    if slurm and shutil.which("scrontab") and _try_table("scrontab") is not None:
        return "scrontab"
    if shutil.which("crontab"):
        return "crontab"
    raise SiteError(
        "neither crontab nor a working scrontab is here; ask the site for one of them, or call "
        "'pipshpc campaign tick FILE' now and then from a service of your own"
    )


def read_table(program: str) -> str:
    """Return the user's present table; empty where there is none.

    Raises
    ------
    SiteError
        Where the program fails for another reason: a table that cannot be read must not be written over.
    """
    table = _try_table(program)
    if table is None:
        raise SiteError(f"{program} -l: gives no answer that can be relied on; nothing was changed")
    return table


def _try_table(program: str) -> str | None:
    try:
        done = subprocess.run([program, "-l"], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode == 0:
        return done.stdout
    return "" if "no crontab for" in f"{done.stdout}{done.stderr}".lower() else None


def write_table(program: str, text: str) -> None:
    """Hand a whole table to the program.

    Raises
    ------
    SiteError
        With the program's own words.
    """
    try:
        done = subprocess.run(
            [program, "-"], input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SiteError(f"{program}: cannot be run ({error}); nothing was changed") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SiteError(f"{program}: {said or f'exit code {done.returncode}'}; nothing was changed")


def tick_line(words: list[str], environment: dict[str, str], log: str) -> str:
    """Return the shell line that looks after a campaign, with the few variables that it needs."""
    settings = [f"{name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    return " ".join([*settings, shlex.join(words), ">>", shlex.quote(log), "2>&1"])
