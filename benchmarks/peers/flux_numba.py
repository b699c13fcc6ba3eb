"""The flux family in Numba: one pixel at a time, closed forms, leaving the iteration where it rests. Optional."""

from __future__ import annotations

from collections.abc import Callable
from math import atan, exp, log, pi, sqrt

import numpy as np

from benchmarks.peers import flux_numpy, sources_numba

K, G = 0.41, 9.80665


def compile_all() -> dict[str, Callable[..., None]]:
    """Return {name: compiled loop over float32 arrays, outputs last}.

    Raises
    ------
    ImportError
        Where Numba is not installed.
    """
    from numba import njit

    scalar = njit(fastmath=True, inline="always")
    loop = njit(fastmath=True, parallel=False)
    saturation = scalar(lambda t: 611.2 * exp(17.67 * (t - 273.15) / (t - 29.65)))
    tetens = scalar(lambda t: 610.8 * exp(17.27 * (t - 273.15) / (t - 35.85)))
    vaporization = scalar(lambda t: 2.501e6 - 2361.0 * (t - 273.15))

    @scalar
    def capacity(e: float, p: float) -> float:
        return 1003.5 + 861.5 * 0.622 * e / (p - 0.378 * e)

    @scalar
    def psi_m(z: float) -> float:
        if z > 0:
            z = min(z, 10.0)
            return -6.1 * log(z + (1 + z**2.5) ** 0.4)
        y = min(-z, 0.41**-3)
        x, third = (y / 0.33) ** (1 / 3), 0.41 * 0.33 ** (1 / 3)
        start = -log(0.33) + sqrt(3) * third * pi / 6
        bend = third / 2 * log((1 + x) ** 2 / (1 - x + x * x))
        return log(0.33 + y) - 3 * 0.41 * y ** (1 / 3) + bend + sqrt(3) * third * atan((2 * x - 1) / sqrt(3)) + start

    @scalar
    def psi_h(z: float) -> float:
        if z > 0:
            z = min(z, 10.0)
            return -6.1 * log(z + (1 + z**2.5) ** 0.4)
        return 0.943 / 0.78 * log((0.33 + min(-z, 1000.0) ** 0.78) / 0.33)

    @loop
    def sebs(ts, tas, vap, ps, wind, rn, ground, z0m, d0, z0h, hfss, hfls):  # type: ignore[no-untyped-def]
        for i in range(ts.size):
            u = max(wind[i], 1.0) * log(50 / 0.03) / log(10 / 0.03)
            zu, zt = max(50 - d0[i], 10 * z0m[i]), max(10 * z0m[i], 2.0)
            cp, latent = capacity(vap[i], ps[i]), vaporization(tas[i])
            rho = (ps[i] - 0.378 * vap[i]) / (287.04 * tas[i])
            dt, slope = ts[i] - tas[i], 0.0
            fm, fh = log(zu / z0m[i]), log(zt / z0h[i])
            for _ in range(30):
                led = min(max(-G * dt * fm**2 / (tas[i] * u**2 * fh), -1000 / zu), 10 / zu)
                moved = 0.5 * (led - slope)
                slope += moved
                fm = log(zu / z0m[i]) - psi_m(zu * slope) + psi_m(z0m[i] * slope)
                fh = log(zt / z0h[i]) - psi_h(zt * slope) + psi_h(z0h[i] * slope)
                if abs(moved) < 1e-3 * abs(slope):
                    break
            ustar = K * u / fm
            available = rn[i] - ground[i]
            wet_slope = max(-K * G * 0.61 * max(available, 0.0) / (rho * latent * ustar**3), -1000 / zt)
            air = (log(zt / z0h[i]) - psi_h(zt * wet_slope) + psi_h(z0h[i] * wet_slope)) / (K * ustar)
            es = saturation(tas[i])
            delta = es * 4302.645 / (tas[i] - 29.65) ** 2
            gamma = cp * ps[i] / (0.622 * latent)
            wet = (available - rho * cp / air * max(es - vap[i], 0.0) / gamma) / (1 + delta / gamma)
            h = min(max(rho * cp * dt * K * ustar / fh, min(wet, available)), max(wet, available))
            hfss[i], hfls[i] = h, available - h

    @loop
    def ptjpl(rn, ground, tas, vap, ps, ndvi, fapar_max, topt, out):  # type: ignore[no-untyped-def]
        for i in range(rn.size):
            es = tetens(tas[i])
            delta = 4098 * es / (tas[i] - 35.85) ** 2
            gamma = capacity(vap[i], ps[i]) * ps[i] / (0.622 * vaporization(tas[i]))
            rate = 1.26 * delta / (delta + gamma)
            rh, vpd = min(max(vap[i] / es, 0.0), 1.0), max(es - vap[i], 0.0)
            fwet = rh**4
            fapar = min(max(1.3632 * (0.45 * ndvi[i] + 0.132) - 0.048, 0.0), 1.0)
            fipar = min(max(ndvi[i] - 0.05, 0.0), 1.0)
            lai = min(-2 * log(1 - min(fipar, 0.99)), 10.0)
            green = min(fapar / fipar, 1.0) if fipar > 0 else 0.0
            best = max(topt[i] - 273.15, 1.0)
            warmth = exp(-min(((tas[i] - 273.15 - best) / best) ** 2, 80.0))
            soil_rn = rn[i] * exp(-0.6 * lai)
            dry = max(rh, 1e-6) ** (vpd / 1000)
            soil = (fwet + dry * (1 - fwet)) * rate * (soil_rn - ground[i])
            canopy = (1 - fwet) * green * warmth * min(fapar / fapar_max[i], 1.0) * rate * (rn[i] - soil_rn)
            caught = fwet * rate * (rn[i] - soil_rn)
            out[i] = min(max(soil, 0.0) + max(canopy, 0.0) + max(caught, 0.0), rate * (rn[i] - ground[i]))

    table = np.array([flux_numpy.CLASSES.get(k, flux_numpy.GRASS) for k in range(18)], np.float32)

    @loop
    def mod16(rn, ground, rsds, tas, tasmin, vap, ps, lai, fapar, landtype, out):  # type: ignore[no-untyped-def]
        for i in range(rn.size):
            topen, tclose, vclose, vopen, leaf, stomata = table[int(landtype[i] + 0.5)]
            es, t = tetens(tas[i]), tas[i] - 273.15
            vpd, rh = max(es - vap[i], 0.0), min(max(vap[i] / es, 0.0), 1.0)
            fwet = rh**4 if rh >= 0.7 else 0.0
            s, gamma = 17.38 * 239.0 * es / (239.0 + t) ** 2, 1013.0 * ps[i] / (0.622 * vaporization(tas[i]))
            rho = (0.348444 * ps[i] / 100 - rh * 100 * (0.00252 * t - 0.020582)) / tas[i]
            rr, drying = rho * 1013.0 / (4 * 5.67e-8 * tas[i] ** 3), rho * 1013.0 * vpd
            correction = 101300.0 / ps[i] * (tas[i] / 293.15) ** 1.75
            wet = dry = 0.0
            if lai[i] * fwet > 1e-7:
                film = leaf * lai[i] * fwet
                ra = 1 / film * rr / (1 / film + rr)
                wet = fwet * fapar[i] * (s * rn[i] + drying / ra) / (s + gamma / film / ra)
            part = min(max((tasmin[i] - 273.15 - tclose) / (topen - tclose), 0.0), 1.0)
            drought = min(max((vpd - vopen) / (vclose - vopen), 0.0), 1.0)
            boundary = leaf * lai[i] * (1 - fwet)
            if rsds[i] > 0 and boundary > 0 and part * (1 - drought) > 0:
                surface = (stomata * part * (1 - drought) + 1e-5) / correction
                canopy = boundary * surface / (boundary + surface)
                ra = 1 / leaf * rr / (1 / leaf + rr)
                dry = (1 - fwet) * fapar[i] * (s * rn[i] + drying / ra) / (s + gamma * (1 + 1 / canopy / ra))
            total = (60 + 35 * drought) / correction
            ra = total * rr / (total + rr)
            soil = (1 - fapar[i]) * (s * (rn[i] - ground[i]) + drying / ra) / (s + gamma * total / ra)
            out[i] = wet + dry + soil * (fwet + (1 - fwet) * max(rh, 1e-6) ** (vpd / 250.0))

    @scalar
    def blend(z: float, kansas: float, y: float) -> float:
        free = 1.5 * log((1 + y + y * y) / 3) - sqrt(3) * atan((1 + 2 * y) / sqrt(3)) + pi / sqrt(3)
        return (kansas + z * z * free) / (1 + z * z)

    @scalar
    def sea_m(z: float) -> float:
        z = min(max(z, -50.0), 50.0)
        if z >= 0:
            return -(9.525 + z + 0.6667 * (z - 14.28) * exp(-0.35 * z))
        x = (1 - 15 * z) ** 0.25
        kansas = 2 * log((1 + x) / 2) + log((1 + x * x) / 2) - 2 * atan(x) + pi / 2
        return blend(z, kansas, (1 - 10.15 * z) ** (1 / 3))

    @scalar
    def sea_h(z: float) -> float:
        z = min(max(z, -50.0), 50.0)
        if z >= 0:
            return -(8.525 + (1 + 2 * z / 3) ** 1.5 + 0.6667 * (z - 14.28) * exp(-0.35 * z))
        return blend(z, 2 * log((1 + sqrt(1 - 15 * z)) / 2), (1 - 34.15 * z) ** (1 / 3))

    @loop
    def coare36(ts, tas, vap, ps, wind, hfss, hfls):  # type: ignore[no-untyped-def]
        for i in range(ts.size):
            u = wind[i]
            q, es, theta = 0.622 * vap[i] / (ps[i] - 0.378 * vap[i]), 0.98 * saturation(ts[i]), tas[i] + 0.019516
            dt, dq, t = theta - ts[i], q - 0.622 * es / (ps[i] - 0.378 * es), theta - 273.15
            nu = 1.326e-5 * (1 + 6.542e-3 * t + 8.301e-6 * t * t - 4.84e-9 * t**3)
            moist = 1 + 0.608 * q
            buoyancy = G * (dt * moist + 0.608 * theta * dq) / (theta * moist)
            gusty = sqrt(u * u + 0.25)
            ustar = 0.035 * gusty
            z0 = min(max(0.0017 * u - 0.005, 0.0), 0.028) * ustar**2 / G + 0.11 * nu / ustar
            fm = log(10 / z0)
            fh = log(0.2) + 0.16 / (0.00115 * fm)
            bulk, cc = 10 * buoyancy / gusty**2, fm**2 / fh
            zeta = cc * bulk / (1 - bulk * 0.41472) if bulk < 0 else cc * bulk + 3 * bulk**2
            ustar, transfer = gusty * 0.4 / (fm - sea_m(zeta)), 0.4 / (fh - sea_h(0.2 * zeta))
            z0 = min(max(0.0017 * u - 0.005, 0.0), 0.028) * ustar**2 / G + 0.11 * nu / ustar
            for _ in range(10):
                slope = min(max(0.4 * transfer * buoyancy / ustar**2, -200.0), 200.0)
                gust = 1.44 * ustar**2 * max(-1500 * slope, 0.0) ** (2 / 3)
                gusty = max(sqrt(u * u + gust), 0.2)
                number = min(max(0.0017 * ustar / 0.4 * log(10 / z0) - 0.005, 0.0), 0.028)
                z0 = number * ustar**2 / G + 0.11 * nu / ustar
                z0t = min(1.6e-4, 5.8e-5 * (nu / (z0 * ustar)) ** 0.72)
                transfer = 0.4 / (log(2 / z0t) - sea_h(2 * slope))
                ustar = gusty * 0.4 / (log(10 / z0) - sea_m(10 * slope))
            carried = -ustar * transfer * ps[i] / (287.05 * theta * moist)
            hfss[i] = carried * (1005 + 1860 * q) * dt
            hfls[i] = carried * (2.501e6 - 2370 * (ts[i] - 273.15)) * dq

    @loop
    def et0_hourly(tas, vap, ps, wind, rn, ground, out):  # type: ignore[no-untyped-def]
        for i in range(rn.size):
            es = tetens(tas[i])
            delta, gamma, u2 = 4098 * es / (tas[i] - 35.85) ** 2, 0.000665 * ps[i], 0.747951 * wind[i]
            drying = gamma * 37e-3 / 3600 * u2 * max(es - vap[i], 0.0) / (tas[i] - 0.15)
            shade = 0.24 if rn[i] > 0 else 0.96
            out[i] = (4.08e-7 * delta * (rn[i] - ground[i]) + drying) / (delta + gamma * (1 + shade * u2))

    sources = sources_numba.compile_sources(psi_m, psi_h, capacity, vaporization)
    return {"sebs": sebs, "ptjpl": ptjpl, "mod16": mod16, "coare36": coare36, "et0_hourly": et0_hourly} | sources
