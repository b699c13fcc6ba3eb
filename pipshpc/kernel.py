"""Evaluate products on plain arrays with the compiled loops that the jobs use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipshpc.errors import SpecError
from pipshpc.product import Algorithm, find_card

FloatArray = npt.NDArray[np.float32]


def evaluate(
    algorithm: Algorithm, values: dict[str, npt.ArrayLike], parameters: dict[str, float] | None = None, threads: int = 1
) -> dict[str, FloatArray]:
    """Run the point function of `algorithm` on broadcast inputs; one array per output of the kernel."""
    from pipshpc._apply import apply
    from pipshpc._loops import LOOPS

    loop = LOOPS[algorithm.kernel]
    used = {**algorithm.parameters, **(parameters or {})}
    arrays = np.broadcast_arrays(*(np.asarray(values[n], dtype=np.float32) for n in loop.rows))
    shape = arrays[0].shape
    rows = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
    outs = {name: np.empty(shape, np.float32) for name in loop.outputs}
    par = np.array([used[n] for n in loop.parameters], np.float32)
    apply(loop.address, rows, par, [o.reshape(-1) for o in outs.values()], threads)
    return outs


def compute(product: str, algorithm: str | None = None, threads: int = 1, **inputs: npt.ArrayLike) -> FloatArray:
    """Evaluate a product on plain arrays.

    Parameters
    ----------
    product : id of a product card, for example ``"rlds"``
    algorithm : name of one of its algorithms; the preferred one if not given
    threads : number of threads; the values do not depend on it
    **inputs : array_like, broadcast against each other
        The inputs of the algorithm in the units of its card, and any of its
        parameters (as single numbers) to override the card's value.

    Returns
    -------
    numpy.ndarray
        float32, of the broadcast shape, in the units of the card. NaN where
        any input is NaN.

    Raises
    ------
    SpecError
        Unknown product or algorithm, a missing or an unknown input.

    Examples
    --------
    >>> import pipshpc
    >>> float(pipshpc.compute("rlds", tas=288.15, vap=1000.0, clt=0.0).round(1))
    303.4
    """
    card = find_card(product)
    chosen = card.algorithm(algorithm)
    if chosen.by:
        plain = ", ".join(sorted(set(chosen.by.values())))
        raise SpecError(f"{product} by {chosen.name} is for chains; on arrays compute one of {plain}")
    parameters = {n: inputs.pop(n) for n in list(inputs) if n in chosen.parameters}
    missing = [n for n in chosen.inputs if n not in inputs]
    unknown = [n for n in inputs if n not in chosen.inputs]
    if missing or unknown:
        wanted = ", ".join(f"{n} [{i.units}]" for n, i in chosen.inputs.items())
        extra = f"; parameters: {', '.join(chosen.parameters)}" if chosen.parameters else ""
        raise SpecError(
            f"{product} by {chosen.name} takes {wanted}{extra}"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        )
    results = evaluate(chosen, inputs, {n: float(np.asarray(v)) for n, v in parameters.items()}, threads)
    return results[chosen.output] if chosen.output else next(iter(results.values()))


def kernel_digest() -> str:
    """Return the digest of the point functions' sources and of the compiler flags they were built with."""
    from pipshpc._loops import DIGEST

    return str(DIGEST)
