"""The longwave formula in numexpr, one thread. Optional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Without a second look at the clear sky: numexpr does not keep results for later.
FORMULA = "((1.0 - (1.0 + w) * exp(-sqrt(1.2 + 3.0 * w))) * (1.0 - n4) + 0.952 * n4)"


def make(tas: Any, vap: Any, clt: Any, out: Any) -> Callable[[], Any]:
    """Return a function that puts the flux into `out`.

    Raises
    ------
    ImportError
        Where numexpr is not installed.
    """
    import numexpr
    import numpy as np

    numexpr.set_num_threads(1)
    text = (
        FORMULA.replace("w", "(c * vap / tas)").replace("n4", "((clt * clt) * (clt * clt))")
        + " * s * (tas * tas) * (tas * tas)"
    )
    # Constants as float32 arguments: literals would make the whole expression double.
    names = {"tas": tas, "vap": vap, "clt": clt, "c": np.float32(0.465), "s": np.float32(5.670374419e-8)}
    for number, value in enumerate(("0.952", "1.0", "1.2", "3.0")):
        text = text.replace(value, f"k{number}")
        names[f"k{number}"] = np.float32(value)
    return lambda: numexpr.evaluate(text, names, {}, out=out, casting="same_kind")
