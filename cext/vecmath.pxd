"""Vectorisable math for point functions; `real` is float (double in the checking build)."""

cdef extern from "vecmath.h" nogil:
    ctypedef float real
    ctypedef const real* in_row
    ctypedef real* out_row
    real exp "r_exp"(real x) noexcept
    real log "r_log"(real x) noexcept
    real log10 "r_log10"(real x) noexcept
    real log1p "r_log1p"(real x) noexcept
    real sin "r_sin"(real x) noexcept
    real cos "r_cos"(real x) noexcept
    real tan "r_tan"(real x) noexcept
    real acos "r_acos"(real x) noexcept
    real asin "r_asin"(real x) noexcept
    real atan "r_atan"(real x) noexcept
    real sinh "r_sinh"(real x) noexcept
    real tanh "r_tanh"(real x) noexcept
    real cbrt "r_cbrt"(real x) noexcept
    real pow "r_pow"(real x, real y) noexcept
    real atan2 "r_atan2"(real y, real x) noexcept
    real sqrt "r_sqrt"(real x) noexcept
    real fabs "r_abs"(real x) noexcept
    real ratio "r_ratio"(real x, real y) noexcept
    real rmax "r_max"(real x, real lowest) noexcept
    real rmin "r_min"(real x, real highest) noexcept
    real where "r_where"(bint condition, real x, real y) noexcept
    real at_least "r_at_least"(real x, real lowest) noexcept
    real at_most "r_at_most"(real x, real highest) noexcept
