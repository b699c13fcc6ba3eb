"""Radiation formulas as one would write them in NumPy, and as plainly in Numba (optional)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SIGMA = np.float32(5.670374419e-8)


def rn_numpy(rsds: Any, albedo: Any, rlds: Any, emis: Any, ts: Any) -> Any:
    return (1 - albedo) * rsds + emis * (rlds - SIGMA * ts**4)


def ts_numpy(bt11: Any, bt12: Any, emis11: Any, emis12: Any, prw: Any) -> Any:
    """Split window of Sobrino et al. (2003), cloud masked."""
    w = np.float32(0.1) * prw
    d = bt11 - bt12
    grey = 1 - np.float32(0.5) * (emis11 + emis12)
    out = bt11 + np.float32(1.02) + np.float32(1.79) * d + np.float32(1.2) * d**2
    out = out + (np.float32(34.83) - np.float32(0.68) * w) * grey
    out = out + (np.float32(-73.27) - np.float32(5.19) * w) * (emis11 - emis12)
    return np.where((d < -4) | (d > 8) | (out < 150) | (out > 400), np.float32(np.nan), out)


def emis_numpy(ndvi: Any, sr_red: Any) -> Any:
    share = (np.clip((ndvi - np.float32(0.2)) / np.float32(0.3), 0, 1)) ** 2
    rest = 1 - share
    soil, full = np.float32(0.9668), np.float32(0.9863)
    mixed = full * share + soil * rest + np.float32(0.55) * (1 - soil) * rest * full
    return np.where(ndvi < np.float32(0.2), np.float32(0.973) - np.float32(0.047) * np.clip(sr_red, 0, 1), mixed)


def kernels_numpy(sza: Any, vza: Any, raa: Any) -> Any:
    """Both kernels of the Ross-Li model."""
    s, v, a = np.radians(sza), np.radians(vza), np.radians(raa)
    cs, cv, ca = np.cos(s), np.cos(v), np.cos(a)
    cx = np.clip(cs * cv + np.sin(s) * np.sin(v) * ca, -1, 1)
    xi = np.arccos(cx)
    vol = ((np.float32(np.pi / 2) - xi) * cx + np.sin(xi)) / (cs + cv) - np.float32(np.pi / 4)
    sec, ts, tv = 1 / cs + 1 / cv, np.tan(s), np.tan(v)
    d2 = np.maximum(ts**2 + tv**2 - 2 * ts * tv * ca, 0)
    ct = np.clip(2 * np.sqrt(d2 + (ts * tv * np.sin(a)) ** 2) / sec, -1, 1)
    t = np.arccos(ct)
    geo = (t - np.sin(t) * ct) * sec / np.float32(np.pi) - sec + np.float32(0.5) * (1 + cx) / cs / cv
    return vol, geo


def invert_numpy(y: Any, vol: Any, geo: Any) -> Any:
    """Weights of all pixels by one batched solution of the normal equations; (looks, n) each."""
    design = np.stack([np.ones_like(vol), vol, geo], axis=-1).astype(float)
    normal = np.einsum("kni,knj->nij", design, design)
    right = np.einsum("kni,kn->ni", design, y.astype(float))
    return np.linalg.solve(normal, right[..., None])[..., 0]


def with_numba() -> dict[str, Callable[..., Any]]:
    """Return the same as compiled loops that fill their last arguments.

    Raises
    ------
    ImportError
        Where Numba is not installed.
    """
    import math

    import numba

    f = np.float32

    @numba.njit(fastmath=True)
    def rn(rsds: Any, albedo: Any, rlds: Any, emis: Any, ts: Any, out: Any) -> None:
        for i in range(out.size):
            t2 = ts[i] * ts[i]
            out[i] = (f(1) - albedo[i]) * rsds[i] + emis[i] * (rlds[i] - SIGMA * t2 * t2)

    @numba.njit
    def ts(bt11: Any, bt12: Any, emis11: Any, emis12: Any, prw: Any, out: Any) -> None:
        for i in range(out.size):
            w, d = f(0.1) * prw[i], bt11[i] - bt12[i]
            grey = f(1) - f(0.5) * (emis11[i] + emis12[i])
            x = bt11[i] + f(1.02) + f(1.79) * d + f(1.2) * d * d + (f(34.83) - f(0.68) * w) * grey
            x += (f(-73.27) - f(5.19) * w) * (emis11[i] - emis12[i])
            out[i] = f(np.nan) if d < -4 or d > 8 or x < 150 or x > 400 else x

    @numba.njit
    def emis(ndvi: Any, sr_red: Any, out: Any) -> None:
        for i in range(out.size):
            if ndvi[i] < f(0.2):
                out[i] = f(0.973) - f(0.047) * min(max(sr_red[i], f(0)), f(1))
            else:
                x = min((ndvi[i] - f(0.2)) / f(0.3), f(1))
                share = x * x
                rest = f(1) - share
                out[i] = f(0.9863) * share + f(0.9668) * rest + f(0.55 * 0.0332 * 0.9863) * rest

    @numba.njit
    def kernels(sza: Any, vza: Any, raa: Any, vol: Any, geo: Any) -> None:
        rad = f(math.pi / 180)
        for i in range(vol.size):
            s, v, a = sza[i] * rad, vza[i] * rad, raa[i] * rad
            cs, cv, ca = math.cos(s), math.cos(v), math.cos(a)
            cx = min(max(cs * cv + math.sin(s) * math.sin(v) * ca, f(-1)), f(1))
            xi = math.acos(cx)
            vol[i] = ((f(math.pi / 2) - xi) * cx + math.sin(xi)) / (cs + cv) - f(math.pi / 4)
            sec, ts, tv = f(1) / cs + f(1) / cv, math.tan(s), math.tan(v)
            d2 = max(ts * ts + tv * tv - f(2) * ts * tv * ca, f(0))
            across = ts * tv * math.sin(a)
            ct = min(f(2) * math.sqrt(d2 + across * across) / sec, f(1))
            t = math.acos(ct)
            geo[i] = (t - math.sin(t) * ct) * sec / f(math.pi) - sec + f(0.5) * (f(1) + cx) / cs / cv

    return {"rn": rn, "ts": ts, "emis": emis, "kernels": kernels}
