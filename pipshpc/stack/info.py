"""What a deployed stack is, as its modulefile and the jobs need to know it."""

from __future__ import annotations

from pipshpc.schema import Record


class StackInfo(Record, frozen=True):
    """A deployed stack.

    Parameters
    ----------
    name, version : as the stack's file has them
    digest : of stack, lock and architecture, hexadecimal
    prefix : folder of the deployed stack, absolute
    environment : variables that the module sets
    prepend : folders that the module puts in front of a variable such as PATH, first one first
    modules : loaded before it, in their order
    conflicts : names of modules that cannot be loaded beside it
    description : one line
    """

    name: str
    version: str
    digest: str
    prefix: str
    environment: dict[str, str] = {}
    prepend: dict[str, list[str]] = {}
    modules: list[str] = []
    conflicts: list[str] = []
    description: str = ""
