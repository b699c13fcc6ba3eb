"""One and two sources in Numba: one pixel at a time, closed forms, leaving the iteration where it rests. Optional."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, exp, log, sqrt
from typing import Any

import numpy as np

K, G, SIGMA = 0.41, 9.80665, 5.670374419e-8


def compile_sources(psi_m: Any, psi_h: Any, capacity: Any, vaporization: Any) -> dict[str, Callable[..., None]]:
    """Return {name: compiled loop over float32 arrays, outputs last}, on the given compiled corrections.

    Raises
    ------
    ImportError
        Where Numba is not installed.
    """
    from numba import njit

    scalar = njit(fastmath=True, inline="always")
    loop = njit(fastmath=True, parallel=False)

    @loop
    def one_source(ts, tas, vap, ps, wind, rn, ground, z0m, d0, z0h, zw, za, hfss, hfls, resistance):  # type: ignore[no-untyped-def]
        for i in range(ts.size):
            zu, zt, u = zw[i] - d0[i], za[i] - d0[i], max(wind[i], 0.3)
            cp, latent = capacity(vap[i], ps[i]), vaporization(tas[i])
            rho_cp = (ps[i] - 0.378 * vap[i]) / (287.04 * tas[i]) * cp
            available, slope, heat, ra = rn[i] - ground[i], 0.0, 0.0, 1.0
            for _ in range(40):
                fm = log(zu / z0m[i]) - psi_m(zu * slope) + psi_m(z0m[i] * slope)
                fh = log(zt / z0h[i]) - psi_h(zt * slope) + psi_h(z0h[i] * slope)
                ustar = max(K * u / fm, 0.01)
                ra = fh / (K * ustar)
                heat = min(rho_cp * (ts[i] - tas[i]) / ra, available)
                buoyant = heat + 0.61 * tas[i] * cp / latent * (available - heat)
                led = -K * G * buoyant / (tas[i] * rho_cp * ustar**3)
                moved = 0.5 * (min(max(led, -1000 / max(zu, zt)), 10 / max(zu, zt)) - slope)
                slope += moved
                if abs(moved) < 1e-3 * abs(slope):
                    break
            hfss[i], hfls[i], resistance[i] = heat, available - heat, ra

    nodes, weights = np.polynomial.legendre.leggauss(12)
    angles = tuple(0.25 * np.pi * (nodes + 1.0))
    shares = tuple(0.25 * np.pi * weights)

    @scalar
    def canopy_depth(lai: float) -> float:
        """-ln of the share of diffuse radiation that passes leaves of all directions."""
        passed = 0.0
        for k in range(12):
            a = angles[k]
            passed += 2 * shares[k] * exp(-0.5 * lai / cos(a)) * cos(a) * (1 - cos(a) ** 2) ** 0.5
        return -log(passed)

    @scalar
    def longwave(lai: float, emis_canopy: float, emis_soil: float) -> tuple[float, float]:
        leaf, depth = sqrt(emis_canopy), canopy_depth(lai)
        k = depth / lai
        rho, soil = 2 * k / (k + 1) * (1 - leaf) / (1 + leaf), 1 - emis_soil
        e1 = exp(-leaf * depth)
        fact = (rho - soil) / (rho * soil - 1) * e1 * e1
        passed = (rho * rho - 1) * e1 / (rho * soil - 1 + rho * (rho - soil) * e1 * e1)
        return passed, (rho + fact) / (1 + rho * fact)

    @scalar
    def share_seen(lai: float, fc: float, angle: float) -> float:
        depth = 0.49966989 * lai / fc
        nadir = -log(fc * exp(-min(depth, 60.0)) + 1 - fc + 1e-26) / depth
        clumped = nadir / (nadir + (1 - nadir) * exp(-2.2 * max(angle, 1e-6) ** 3.34))
        return min(1 - exp(-min(depth * clumped / cos(angle), 40.0)), 0.99999)

    @loop
    def two_sources(
        ts, tas, vap, ps, wind, snc, sns, rlds, lai, fveg, hc, vza, z0m, d0, zw, za, hfss, hfls, hfdsl, tcan, tsoil
    ):  # type: ignore[no-untyped-def]
        for i in range(ts.size):
            leaves, height = min(max(lai[i], 0.01), 12.0), max(hc[i], 0.01)
            fc = min(max(fveg[i], 0.01), 1.0)
            passed, thrown = longwave(leaves, 0.98, 0.95)
            f = share_seen(leaves, fc, 0.017453293 * vza[i])
            cp, latent = capacity(vap[i], ps[i]), vaporization(tas[i])
            rho_cp = (ps[i] - 0.378 * vap[i]) / (287.04 * tas[i]) * cp
            es = 610.8 * exp(17.27 * (tas[i] - 273.15) / (tas[i] - 35.85))
            delta = 4098 * es / (tas[i] - 35.85) ** 2
            rate = delta / (delta + cp * ps[i] / (0.622 * latent))
            zu, zt, u, t4 = zw[i] - d0[i], za[i] - d0[i], max(wind[i], 0.1), float(ts[i]) ** 4
            zc = max(height - d0[i], 1.001 * z0m[i])
            decay = 0.28 * (leaves * leaves * height / 0.1) ** (1 / 3)
            leaf_decay = exp(-min(decay * fc ** (-2 / 3) * max(1 - (d0[i] + z0m[i]) / height, 0.0), 40.0))
            soil_decay = exp(-min(decay * max(1 - 0.01 / height, 0.0), 40.0))
            tc = min(tas[i], ts[i])
            tg, tair, slope, alpha = (max(t4 - f * tc**4, 1e6) / (1 - f)) ** 0.25, float(tas[i]), 0.0, 1.26
            h = le = g = 0.0
            for turn in range(40):
                fm = log(zu / z0m[i]) - psi_m(zu * slope) + psi_m(z0m[i] * slope)
                fh = log(zt / z0m[i]) - psi_h(zt * slope) + psi_h(z0m[i] * slope)
                ustar = max(K * u / fm, 0.01)
                ra = max(fh / (K * ustar), 0.1)
                within = max(ustar / K * (log(zc / z0m[i]) - psi_m(zc * slope) + psi_m(z0m[i] * slope)), 0.01)
                rx = max(90 / leaves * sqrt(0.1 / max(within * leaf_decay, 0.01)), 0.1)
                ground_wind = 0.012 * max(within * soil_decay, 0.01)
                rs = max(1 / (0.0038 * max(tg - tair, 1e-9) ** (1 / 3) + ground_wind), 0.1)
                lc, ls = SIGMA * 0.98 * tc**4, SIGMA * 0.95 * tg**4
                rn_soil = sns[i] + 0.95 * (passed * rlds[i] + (1 - passed) * lc) - ls
                rn_canopy = snc[i] + (1 - passed) * ((1 - thrown) * (rlds[i] + ls) - 2 * lc)
                leaf_heat = rn_canopy * (1 - alpha * rate)
                lift, ga, gs, gx = leaf_heat * rx / rho_cp, 1 / ra, 1 / rs, 1 / rx
                linear = (tas[i] * ga + ts[i] * gs / (1 - f) + lift * (ga + gs + gx)) / (ga + gs + f * gs / (1 - f))
                linear = min(max(linear, ts[i] - 80.0), ts[i] + 80.0)
                below = linear * (1 + rs * ga) - lift * (1 + rs * gx + rs * ga) - tas[i] * rs * ga
                below = min(max(below, ts[i] - 80.0), ts[i] + 80.0)
                steep = 4 * (1 - f) * below**3 * (1 + rs * ga) + 4 * f * linear**3
                before = tc
                tc = linear + (t4 - f * linear**4 - (1 - f) * below**4) / max(steep, 1.0)
                tc = min(max(tc, ts[i] - 80.0), ts[i] + 80.0)
                tg = (max(t4 - f * tc**4, 1e6) / (1 - f)) ** 0.25
                tg = min(max(tg, ts[i] - 80.0), ts[i] + 80.0)
                gs = min(0.0038 * max(tg - tair, 1e-9) ** (1 / 3) + ground_wind, 10.0)
                tair = (tas[i] * ga + tg * gs + tc * gx) / (ga + gs + gx)
                soil_heat, g = rho_cp * (tg - tair) * gs, 0.35 * rn_soil
                left = rn_soil - g - soil_heat
                if alpha <= 0:
                    soil_heat = min(soil_heat, rn_soil - g)
                    g, left = max(g, rn_soil - soil_heat), 0.0
                h, le = leaf_heat + soil_heat, rn_canopy - leaf_heat + left
                led = -K * G * (h + 0.61 * tas[i] * cp / latent * le) / (tas[i] * rho_cp * ustar**3)
                slope = min(max(led, -1000 / max(zu, zt)), 10 / max(zu, zt))
                if left < 0 and turn > 1:
                    alpha = max(alpha - 0.1, 0.0)
                elif abs(tc - before) < 1e-2 and turn > 2:
                    break
            hfss[i], hfls[i], hfdsl[i], tcan[i], tsoil[i] = h, le, g, tc, tg

    return {"one_source": one_source, "two_sources": two_sources}
