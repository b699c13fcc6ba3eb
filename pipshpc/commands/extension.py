"""Moving the end of a campaign in its file: one value changes, every other byte stays."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from pipshpc.campaign import load_campaign, read_time
from pipshpc.errors import OutputError, SpecError

_END = re.compile(
    r"""^(?P<head>end[ \t]*:[ \t]+)(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|(?P<plain>[^\s#"'{\[&*|>][^\n#]*?))"""
    r"""(?P<tail>[ \t]*(?:[ \t]#[^\n]*)?\r?)$""",
    re.MULTILINE,
)


def replace_end(text: str, end: str) -> str:
    """Return the text of a campaign file with another value of its key `end`.

    Raises
    ------
    SpecError
        Where there is not exactly one line ``end: VALUE`` at the top level.
    """
    found = list(_END.finditer(text))
    if len(found) != 1:
        raise SpecError(f"found {len(found)} lines 'end: VALUE', wanted one; change the campaign file by hand")
    match = found[0]
    quote = "'" if match["single"] is not None else '"'
    return f"{text[: match.start()]}{match['head']}{quote}{end}{quote}{match['tail']}{text[match.end() :]}"


def extend_file(path: Path, end: str, write: bool = True) -> tuple[str, str]:
    """Move the end of the campaign in a file; the old file stays as it was where the new one would be faulty.

    Parameters
    ----------
    path : campaign file
    end : a time that is later than the present end, or "open" for a campaign with `cycle`
    write : False: check only

    Returns
    -------
    The old end and the new one.

    Raises
    ------
    SpecError
        Where the end is not later, or the campaign would not be valid with it.
    OutputError
        Where the file cannot be written.
    """
    before = load_campaign(path)
    if before.end == "open":
        raise SpecError(f"{path}: key 'end': is 'open' already; there is nothing to extend")
    if end != "open" and read_time("end", end) <= read_time("end", before.end):
        raise SpecError(
            f"{path}: key 'end': found {end}, wanted a time after {before.end}; "
            "to make less than was ordered, cancel the campaign or change the file by hand"
        )
    part = path.with_name(f"{path.stem}.{os.getpid()}.part.yaml")
    try:
        # Line ends are kept as they are.
        text = replace_end(path.read_bytes().decode(), end)
        part.write_bytes(text.encode())
        shutil.copymode(path, part)
        try:
            load_campaign(part)
        except SpecError as error:
            raise SpecError(str(error).replace(str(part), str(path))) from error
        if write:
            part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); change the key 'end' by hand") from error
    finally:
        part.unlink(missing_ok=True)
    return before.end, end
