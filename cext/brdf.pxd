"""Ross-Li model of the bidirectional reflectance: point functions; angles in degrees, `raa` 0 towards the sun."""

from cext.vecmath cimport real, acos, at_least, at_most, cos, ratio, sqrt


cdef inline real radians_below(real degrees, real highest) noexcept nogil:
    """Angle in radians, 0 to `highest` degrees."""
    return 0.017453293 * at_most(at_least(degrees, 0.0), highest)


cdef inline real sine(real radians) noexcept nogil:
    """Sine as the cosine of the rest to a right angle.

    GCC joins sin and cos of one angle to a call of sincos, which has no vector
    form that it knows, and the loop stays scalar.
    """
    return cos(1.5707963 - radians)


cdef inline real phase_cosine(real cs, real ss, real cv, real sv, real ca) noexcept nogil:
    """Cosine of the angle between sun and view, within -1..1."""
    return at_most(at_least(cs * cv + ss * sv * ca, -1.0), 1.0)


cdef inline real kvol_thick(real sza, real vza, real raa) noexcept nogil:
    """Ross-Thick kernel; Lucht, Schaaf and Strahler (2000) eq. 38."""
    cdef real ts = radians_below(sza, 89.0)
    cdef real tv = radians_below(vza, 89.0)
    cdef real cs = cos(ts)
    cdef real cv = cos(tv)
    cdef real cx = phase_cosine(cs, sine(ts), cv, sine(tv), cos(0.017453293 * raa))
    cdef real sx = sqrt(at_least(1.0 - cx * cx, 0.0))
    return ratio((1.5707963 - acos(cx)) * cx + sx, cs + cv) - 0.78539816


cdef inline real kgeo_sparse(real sza, real vza, real raa) noexcept nogil:
    """Li-Sparse-Reciprocal kernel, b/r = 1, h/b = 2; Lucht, Schaaf and Strahler (2000) eq. 39-44."""
    cdef real ts = radians_below(sza, 89.0)
    cdef real tv = radians_below(vza, 89.0)
    cdef real cs = cos(ts)
    cdef real cv = cos(tv)
    cdef real ss = sine(ts)
    cdef real sv = sine(tv)
    cdef real ca = cos(0.017453293 * raa)
    cdef real sa = sine(0.017453293 * raa)
    cdef real secs = ratio(1.0, cs)
    cdef real secv = ratio(1.0, cv)
    cdef real tans = ss * secs
    cdef real tanv = sv * secv
    cdef real cx = phase_cosine(cs, ss, cv, sv, ca)
    # Squares of the distance and of what crosses it; the first can round to below 0 at the hot spot.
    cdef real d2 = at_least(tans * tans + tanv * tanv - 2.0 * tans * tanv * ca, 0.0)
    cdef real across = tans * tanv * sa
    cdef real ct = at_most(ratio(2.0 * sqrt(d2 + across * across), secs + secv), 1.0)
    cdef real overlap = ratio((acos(ct) - sqrt(1.0 - ct * ct) * ct) * (secs + secv), 3.14159265)
    return overlap - secs - secv + 0.5 * (1.0 + cx) * secs * secv


cdef inline real brf_ross_li(
        real brdf_iso, real brdf_vol, real brdf_geo, real sza, real vza, real raa) noexcept nogil:
    """Reflectance factor of a surface seen and lit from given directions."""
    return brdf_iso + brdf_vol * kvol_thick(sza, vza, raa) + brdf_geo * kgeo_sparse(sza, vza, raa)


cdef inline real brf_nadir(real brdf_iso, real brdf_vol, real brdf_geo, real sza) noexcept nogil:
    """Reflectance factor as seen from straight above."""
    return brf_ross_li(brdf_iso, brdf_vol, brdf_geo, sza, 0.0, 0.0)
