"""The two module tools where they are installed. Their Debian packages conflict: one of them is unpacked beside."""

from dataclasses import dataclass
from pathlib import Path

from pipshpc.cache import cache_folder

LMOD = Path("/usr/share/lmod/lmod/init")


@dataclass(frozen=True)
class Tool:
    """One tool: the line of shell that gives the command `module`, and whether it swaps versions by itself."""

    text: str
    swaps: bool

    def line(self, shell: str) -> str:
        return self.text.format(shell=shell)


def lmod() -> Tool | None:
    return Tool(f". {LMOD}/{{shell}}", swaps=True) if (LMOD / "bash").exists() else None


def environment_modules() -> Tool | None:
    script = cache_folder() / "environment-modules" / "init"
    return Tool(f". {script}/{{shell}}", swaps=False) if (script / "bash").exists() else None


TOOLS = {"Lmod": lmod, "Environment Modules": environment_modules}
