"""The flux family written plainly in NumPy from the papers: closed forms, repeated substitution, any float type.

Peers of the benchmark where no package exists, and the tests' float64
evaluation. Nothing here is shared with the compiled point functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

K, G = 0.41, 9.80665
Array = Any
GRASS = (12.02, -8.0, 4200.0, 650.0, 0.02, 0.0055)
# Open and close temperature (degC), close and open deficit (Pa), leaf and stomatal conductance (m s-1) by IGBP class.
CLASSES = {
    1: (8.31, -8.0, 3000.0, 650.0, 0.01, 0.0024),
    2: (9.09, -8.0, 4000.0, 1000.0, 0.01, 0.0024),
    3: (10.44, -8.0, 3500.0, 650.0, 0.01, 0.0024),
    4: (9.94, -6.0, 2900.0, 650.0, 0.01, 0.0024),
    5: (9.50, -7.0, 2900.0, 650.0, 0.01, 0.0024),
    6: (8.61, -8.0, 4300.0, 650.0, 0.02, 0.0055),
    7: (8.80, -8.0, 4400.0, 650.0, 0.02, 0.0055),
    8: (11.39, -8.0, 3500.0, 650.0, 0.04, 0.0055),
    9: (11.39, -8.0, 3600.0, 650.0, 0.04, 0.0055),
    10: GRASS,
    12: (12.02, -8.0, 4500.0, 650.0, 0.02, 0.0055),
    14: (12.02, -8.0, 4500.0, 650.0, 0.02, 0.0055),
}


def saturation(t: Array) -> Array:
    """Bolton (1980), Pa."""
    return 611.2 * np.exp(17.67 * (t - 273.15) / (t - 29.65))


def tetens(t: Array) -> Array:
    """Tetens (1930), Pa."""
    return 610.8 * np.exp(17.27 * (t - 273.15) / (t - 35.85))


def density(t: Array, e: Array, p: Array) -> Array:
    return (p - 0.378 * e) / (287.04 * t)


def capacity(e: Array, p: Array) -> Array:
    q = 0.622 * e / (p - 0.378 * e)
    return (1 - q) * 1003.5 + q * 1865.0


def vaporization(t: Array) -> Array:
    return 2.501e6 - 2361.0 * (t - 273.15)


def _stable(zeta: Array) -> Array:
    z = np.clip(zeta, 0, 10)
    return -6.1 * np.log(z + (1 + z**2.5) ** 0.4)


def psi_m(zeta: Array) -> Array:
    """Brutsaert (1999); Cheng and Brutsaert (2005)."""
    a, b = 0.33, 0.41
    y = np.clip(-zeta, 0, b**-3)
    x, third = np.cbrt(y / a), b * np.cbrt(a)
    start = -np.log(a) + np.sqrt(3) * third * np.pi / 6
    unstable = np.log(a + y) - 3 * b * np.cbrt(y) + third / 2 * np.log((1 + x) ** 2 / (1 - x + x * x))
    unstable = unstable + np.sqrt(3) * third * np.arctan((2 * x - 1) / np.sqrt(3)) + start
    return np.where(zeta > 0, _stable(zeta), unstable)


def psi_h(zeta: Array) -> Array:
    """Brutsaert (1999); Cheng and Brutsaert (2005)."""
    y = np.clip(-zeta, 0, 1000)
    return np.where(zeta > 0, _stable(zeta), (1 - 0.057) / 0.78 * np.log((0.33 + y**0.78) / 0.33))


def surface_layer(
    dt: Array, tas: Array, u: Array, zu: Array, zt: Array, z0m: Array, z0h: Array, steps: int = 30
) -> tuple[Array, Array]:
    """Friction velocity and heat conductance; each 1/L is the mean of the last and of where it led."""
    slope, top = np.zeros_like(dt), np.maximum(zu, zt)
    for _ in range(steps):
        fm = np.log(zu / z0m) - psi_m(zu * slope) + psi_m(z0m * slope)
        fh = np.log(zt / z0h) - psi_h(zt * slope) + psi_h(z0h * slope)
        led = np.clip(-G * dt * fm**2 / (tas * u**2 * fh), -1000 / top, 10 / top)
        slope = 0.5 * (slope + led)
    ustar = K * u / fm
    return ustar, K * ustar / fh


def exact_surface_layer(
    dt: Array, tas: Array, u: Array, zu: Array, zt: Array, z0m: Array, z0h: Array
) -> tuple[Array, Array]:
    """As `surface_layer`, 1/L found by halving its range sixty times."""
    low, high = -1000 / np.maximum(zu, zt), 10 / np.maximum(zu, zt)
    for _ in range(60):
        slope = 0.5 * (low + high)
        fm = np.log(zu / z0m) - psi_m(zu * slope) + psi_m(z0m * slope)
        fh = np.log(zt / z0h) - psi_h(zt * slope) + psi_h(z0h * slope)
        below = slope < -G * dt * fm**2 / (tas * u**2 * fh)
        low, high = np.where(below, slope, low), np.where(below, high, slope)
    ustar = K * u / fm
    return ustar, K * ustar / fh


def sebs(
    ts: Array, tas: Array, vap: Array, ps: Array, sfcWind: Array, rn: Array, hfdsl: Array,
    z0m: Array, d0: Array, z0h: Array, solve: Any = surface_layer,
) -> tuple[Array, Array]:  # fmt: skip
    """Sensible and latent heat; Su (2002)."""
    u = np.maximum(sfcWind, 1.0) * np.log(50 / 0.03) / np.log(10 / 0.03)
    zu, zt = np.maximum(50 - d0, 10 * z0m), np.maximum(10 * z0m, 2.0)
    cp, rho, latent = capacity(vap, ps), density(tas, vap, ps), vaporization(tas)
    ustar, conductance = solve(ts - tas, tas, u, zu, zt, z0m, z0h)
    available = rn - hfdsl
    wet_slope = np.maximum(-K * G * 0.61 * np.maximum(available, 0) / (rho * latent * ustar**3), -1000 / zt)
    wet_air = (np.log(zt / z0h) - psi_h(zt * wet_slope) + psi_h(z0h * wet_slope)) / (K * ustar)
    es = saturation(tas)
    delta = es * 17.67 * 243.5 / (tas - 29.65) ** 2
    gamma = cp * ps / (0.622 * latent)
    wet = (available - rho * cp / wet_air * np.maximum(es - vap, 0) / gamma) / (1 + delta / gamma)
    heat = rho * cp * (ts - tas) * conductance
    heat = np.clip(heat, np.minimum(wet, available), np.maximum(wet, available))
    return heat, available - heat


def ptjpl(
    rn: Array, hfdsl: Array, tas: Array, vap: Array, ps: Array, ndvi: Array, fapar_max: Array, topt: Array
) -> Array:
    """Latent heat; Fisher et al. (2008)."""
    es = tetens(tas)
    delta = 4098 * es / (tas - 35.85) ** 2
    gamma = capacity(vap, ps) * ps / (0.622 * vaporization(tas))
    rate = 1.26 * delta / (delta + gamma)
    rh, vpd = np.clip(vap / es, 0, 1), np.maximum(es - vap, 0)
    fwet = rh**4
    fapar, fipar = np.clip(1.3632 * (0.45 * ndvi + 0.132) - 0.048, 0, 1), np.clip(ndvi - 0.05, 0, 1)
    lai = np.minimum(-2 * np.log(1 - np.minimum(fipar, 0.99)), 10)
    green = np.where(fipar > 0, np.minimum(fapar / np.maximum(fipar, 1e-6), 1), 0)
    plant = np.minimum(fapar / fapar_max, 1)
    best = np.maximum(topt - 273.15, 1)
    warmth = np.exp(-np.minimum(((tas - 273.15 - best) / best) ** 2, 80))
    soil_rn = rn * np.exp(-0.6 * lai)
    dry = np.maximum(rh, 1e-6) ** (vpd / 1000)
    soil = (fwet + dry * (1 - fwet)) * rate * (soil_rn - hfdsl)
    canopy = (1 - fwet) * green * warmth * plant * rate * (rn - soil_rn)
    caught = fwet * rate * (rn - soil_rn)
    return np.minimum(sum(np.maximum(x, 0) for x in (soil, canopy, caught)), rate * (rn - hfdsl))


def mod16(
    rn: Array, hfdsl: Array, rsds: Array, tas: Array, tasmin: Array, vap: Array, ps: Array,
    lai: Array, fapar: Array, landtype: Array,
) -> Array:  # fmt: skip
    """Latent heat; Mu et al. (2011), resistances written as in the paper."""
    table = np.array([CLASSES.get(k, GRASS) for k in range(18)])
    topen, tclose, vclose, vopen, leaf, stomata = table[np.rint(landtype).astype(int)].T.astype(tas.dtype)
    es = tetens(tas)
    vpd, rh, t = np.maximum(es - vap, 0), np.clip(vap / es, 0, 1), tas - 273.15
    fwet = np.where(rh < 0.7, 0, rh**4)
    s = 17.38 * 239.0 * es / (239.0 + t) ** 2
    gamma = 1013.0 * ps / (0.622 * vaporization(tas))
    rho = (0.348444 * ps / 100 - rh * 100 * (0.00252 * t - 0.020582)) / tas
    rr = rho * 1013.0 / (4 * 5.67e-8 * tas**3)
    correction = 101300.0 / ps * (tas / 293.15) ** 1.75
    film = np.maximum(leaf * lai * fwet, 1e-9)
    ra = 1 / film * rr / (1 / film + rr)
    wet = fwet * (s * fapar * rn + rho * 1013.0 * fapar * vpd / ra) / (s + gamma / film / ra)
    wet = np.where(lai * fwet > 1e-7, wet, 0)
    part = np.clip((tasmin - 273.15 - tclose) / (topen - tclose), 0, 1) * np.clip(
        (vclose - vpd) / (vclose - vopen), 0, 1
    )
    surface = np.where(rsds > 0, stomata * part, 0) / correction
    skin, boundary = 1e-5 / correction, leaf * lai * (1 - fwet)
    canopy = np.maximum(boundary * (surface + skin) / (boundary + surface + skin), 1e-9)
    ra = 1 / leaf * rr / (1 / leaf + rr)
    dry = (1 - fwet) * (s * fapar * rn + rho * 1013.0 * fapar * vpd / ra) / (s + gamma * (1 + 1 / canopy / ra))
    dry = np.where((boundary > 0) & (surface > 0), dry, 0)
    total = (60 + 35 * np.clip((vpd - vopen) / (vclose - vopen), 0, 1)) / correction
    ra = total * rr / (total + rr)
    soil = (s * (1 - fapar) * (rn - hfdsl) + rho * 1013.0 * (1 - fapar) * vpd / ra) / (s + gamma * total / ra)
    return wet + dry + soil * (fwet + (1 - fwet) * np.maximum(rh, 1e-6) ** (vpd / 250.0))


def _blend(zeta: Array, kansas: Array, y: Array) -> Array:
    free = 1.5 * np.log((1 + y + y * y) / 3) - np.sqrt(3) * np.arctan((1 + 2 * y) / np.sqrt(3)) + np.pi / np.sqrt(3)
    share = zeta**2 / (1 + zeta**2)
    return (1 - share) * kansas + share * free


def psi_m_coare(zeta: Array) -> Array:
    """Fairall et al. (2003)."""
    z, s = np.clip(zeta, -50, 0), np.clip(zeta, 0, 50)
    x = (1 - 15 * z) ** 0.25
    kansas = 2 * np.log((1 + x) / 2) + np.log((1 + x * x) / 2) - 2 * np.arctan(x) + np.pi / 2
    stable = -(1 + s + 0.6667 * (s - 14.28) * np.exp(-0.35 * s) + 8.525)
    return np.where(zeta < 0, _blend(z, kansas, np.cbrt(1 - 10.15 * z)), stable)


def psi_h_coare(zeta: Array) -> Array:
    """Fairall et al. (2003)."""
    z, s = np.clip(zeta, -50, 0), np.clip(zeta, 0, 50)
    kansas = 2 * np.log((1 + np.sqrt(1 - 15 * z)) / 2)
    stable = -((1 + 2 * s / 3) ** 1.5 + 0.6667 * (s - 14.28) * np.exp(-0.35 * s) + 8.525)
    return np.where(zeta < 0, _blend(z, kansas, np.cbrt(1 - 34.15 * z)), stable)


def coare36(ts: Array, tas: Array, vap: Array, ps: Array, sfcWind: Array, steps: int = 20) -> tuple[Array, Array]:
    """Sensible and latent heat of the sea; Fairall et al. (2003), Edson et al. (2013)."""
    k, u = 0.4, sfcWind
    q, es, theta = 0.622 * vap / (ps - 0.378 * vap), 0.98 * saturation(ts), tas + G / 1005 * 2
    dt, dq, t = theta - ts, q - 0.622 * es / (ps - 0.378 * es), theta - 273.15
    nu = 1.326e-5 * (1 + 6.542e-3 * t + 8.301e-6 * t * t - 4.84e-9 * t**3)
    buoyancy = G * (dt * (1 + 0.608 * q) + 0.608 * theta * dq) / (theta * (1 + 0.608 * q))
    wind = np.sqrt(u * u + 0.25)
    ustar = 0.035 * wind
    z0 = np.clip(0.0017 * u - 0.005, 0, 0.028) * ustar**2 / G + 0.11 * nu / ustar
    z0t = 10 / np.exp(k * k / (0.00115 * np.log(10 / z0)))
    rib, cc = 10 * buoyancy / wind**2, np.log(10 / z0) ** 2 / np.log(2 / z0t)
    zeta = np.where(rib < 0, cc * rib / (1 - np.minimum(rib, 0) * 0.41472), cc * rib + 3 * rib**2)
    ustar = wind * k / (np.log(10 / z0) - psi_m_coare(zeta))
    transfer = k / (np.log(2 / z0t) - psi_h_coare(0.2 * zeta))
    z0 = np.clip(0.0017 * u - 0.005, 0, 0.028) * ustar**2 / G + 0.11 * nu / ustar
    for _ in range(steps):
        slope = np.clip(k * transfer * buoyancy / ustar**2, -200, 200)
        wind = np.maximum(np.sqrt(u * u + 1.44 * ustar**2 * np.maximum(-600 * slope / k, 0) ** (2 / 3)), 0.2)
        number = np.clip(0.0017 * ustar / k * np.log(10 / z0) - 0.005, 0, 0.028)
        z0 = number * ustar**2 / G + 0.11 * nu / ustar
        z0t = np.minimum(1.6e-4, 5.8e-5 * (nu / (z0 * ustar)) ** 0.72)
        transfer = k / (np.log(2 / z0t) - psi_h_coare(2 * slope))
        ustar = wind * k / (np.log(10 / z0) - psi_m_coare(10 * slope))
    carried = -ustar * transfer * ps / (287.05 * theta * (1 + 0.608 * q))
    return carried * (1005 + 1860 * q) * dt, carried * (2.501e6 - 2370 * (ts - 273.15)) * dq


def et0_hourly(tas: Array, vap: Array, ps: Array, sfcWind: Array, rn: Array, hfdsl: Array) -> Array:
    """Grass reference, kg m-2 s-1; ASCE-EWRI (2005) in its own units."""
    t, es = tas - 273.15, 0.6108 * np.exp(17.27 * (tas - 273.15) / (tas - 35.85))
    delta, gamma = 4098 * es / (t + 237.3) ** 2, 0.000665 * ps / 1000
    u2, cd = sfcWind * 4.87 / np.log(67.8 * 10 - 5.42), np.where(rn > 0, 0.24, 0.96)
    energy = 0.408 * delta * (rn - hfdsl) * 0.0036
    drying = gamma * 37 / (t + 273) * u2 * np.maximum(es - vap / 1000, 0)
    return (energy + drying) / (delta + gamma * (1 + cd * u2)) / 3600
