"""pipshpc: global remote-sensing products on Slurm clusters."""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import the kernels only when somebody computes: `status` needs no compiled code."""
    if name == "compute":
        from pipshpc.kernel import compute

        return compute
    raise AttributeError(f"module 'pipshpc' has no attribute '{name}'")


__all__ = ["__version__", "compute"]
