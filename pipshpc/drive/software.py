"""Which software the jobs of a campaign run with: a stack that they load as a module, or what the driver runs with."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from pipshpc.campaign import Campaign
from pipshpc.drive.worker import PATHS
from pipshpc.site import Site
from pipshpc.stack.modulefile import pin

# What the submitting shell had, or a source tree in the present folder, would come before the stack's packages.
OF_THE_STACK = "unset PYTHONPATH PYTHONHOME; export PYTHONSAFEPATH=1"


def stated_stack(campaign: Campaign, site: Site) -> str:
    """Return the module that the campaign names, or else its site; empty where jobs load none."""
    return (campaign.stack or site.stack) if site.scheduler.kind == "slurm" else ""


def pinned_stack(stated: str, site: Site, pinned: Mapping[str, str] | None = None) -> str:
    """Return the stack's module with version and digest.

    What an earlier driver of the campaign pinned stays, whatever became the
    default since. A module whose default is not known is returned as it is.

    Parameters
    ----------
    stated : from `stated_stack`
    pinned : the course's: name as stated -> module
    """
    if not stated:
        return ""
    folders = [*site.modulepath, *os.environ.get("MODULEPATH", "").split(os.pathsep)]
    return (pinned or {}).get(stated) or pin(stated, [folder for folder in folders if folder])


def python_of(stack: str) -> str:
    """Return the Python that jobs start: that of the stack they have loaded, or this one."""
    return "python3" if stack else sys.executable


def path_lines(stack: str) -> str:
    """Return the shell line after which a job finds Python, Parsl's programs and pipshpc."""
    return OF_THE_STACK if stack else PATHS
