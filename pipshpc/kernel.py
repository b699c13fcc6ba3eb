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


def evaluate_series(
    algorithm: Algorithm,
    values: dict[str, npt.ArrayLike],
    day: npt.ArrayLike | None = None,
    parameters: dict[str, float] | None = None,
    threads: int = 1,
) -> dict[str, FloatArray]:
    """Run the function of a "series" algorithm.

    Parameters
    ----------
    values : (n,) or (n, pixels) each, NaN where missing
    day : (n,) days since the start of the series; 0, 1, 2, ... where not given

    Returns
    -------
    dict
        By name of the output (pixels,), or (n, pixels) for a series.
    """
    from pipshpc._series import apply_series
    from pipshpc._tiles import SERIES

    series = SERIES[algorithm.kernel]
    used = {**algorithm.parameters, **(parameters or {})}
    arrays = [np.asarray(values[n], np.float32) for n in series.rows]
    flat = [np.ascontiguousarray(a.reshape(len(a), -1)) for a in arrays]
    n, pixels = flat[0].shape
    days = np.arange(n, dtype=np.float32) if day is None else np.asarray(day, np.float32)
    outs = {name: np.empty((n if name in series.lengthy else 1, pixels), np.float32) for name in series.outputs}
    par = np.array([used[name] for name in series.parameters], np.float32)
    apply_series(series.address, flat, days, par, list(outs.values()), threads)
    return {name: out if name in series.lengthy else out[0] for name, out in outs.items()}


def evaluate_stateful(
    algorithm: Algorithm,
    values: dict[str, npt.ArrayLike],
    state: dict[str, npt.ArrayLike] | None = None,
    parameters: dict[str, float] | None = None,
    threads: int = 1,
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Run the steps of a "stateful" algorithm one after another.

    Parameters
    ----------
    values : (n, pixels) each, or anything that broadcasts to it; a step where one is NaN leaves the state as it is
    state : (pixels,) each; the card's initial values where not given

    Returns
    -------
    outputs : by name (n, pixels), NaN where a step was left out
    state : after the last step, by name (pixels,)
    """
    names = [n for n in algorithm.inputs if n not in algorithm.state]
    arrays = dict(zip(names, np.broadcast_arrays(*(np.asarray(values[n], np.float32) for n in names)), strict=True))
    n, pixels = next(iter(arrays.values())).shape
    begin = {name: kept.initial for name, kept in algorithm.state.items()} | dict(state or {})
    now = {name: np.broadcast_to(np.asarray(v, np.float32), (pixels,)).copy() for name, v in begin.items()}
    steps: dict[str, list[FloatArray]] = {}
    for k in range(n):
        found = evaluate(algorithm, {**{name: a[k] for name, a in arrays.items()}, **now}, parameters, threads)
        for name, after in now.items():
            fresh = found.pop(f"next_{name}")
            now[name] = np.where(np.isnan(fresh), after, fresh)
        for name, out in found.items():
            steps.setdefault(name, []).append(out)
    return {name: np.stack(made) for name, made in steps.items()}, now


def compute(product: str, algorithm: str | None = None, threads: int = 1, **inputs: npt.ArrayLike) -> FloatArray:
    """Evaluate a product on plain arrays.

    Parameters
    ----------
    product : id of a product card, for example ``"rlds"``
    algorithm : name of one of its algorithms; the preferred one if not given
    threads : number of threads; the values do not depend on it
    **inputs : array_like, broadcast against each other
        The inputs of the algorithm in the units of its card, and any of its
        parameters (as single numbers) to override the card's value. One step
        of a "stateful" algorithm takes its state too; a "series" takes arrays
        of (n,) or (n, pixels), and `day`.

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
    day = inputs.pop("day", None) if chosen.loop == "series" else None
    takes = {**{n: i.units for n, i in chosen.inputs.items()}, **{n: s.units for n, s in chosen.state.items()}}
    missing = [n for n in takes if n not in inputs]
    unknown = [n for n in inputs if n not in takes]
    if missing or unknown:
        wanted = ", ".join(f"{n} [{units}]" for n, units in takes.items())
        extra = f"; parameters: {', '.join(chosen.parameters)}" if chosen.parameters else ""
        raise SpecError(
            f"{product} by {chosen.name} takes {wanted}{extra}"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        )
    numbers = {n: float(np.asarray(v)) for n, v in parameters.items()}
    if chosen.loop == "series":
        results = evaluate_series(chosen, inputs, day, numbers, threads)
        single = all(np.ndim(v) == 1 for v in inputs.values())
        found = results[chosen.output or next(iter(results))]
        return found[..., 0] if single else found
    results = evaluate(chosen, inputs, numbers, threads)
    return results[chosen.output] if chosen.output else next(iter(results.values()))


def kernel_digest() -> str:
    """Return the digest of the point functions' sources and of the compiler flags they were built with."""
    from pipshpc._loops import DIGEST

    return str(DIGEST)
