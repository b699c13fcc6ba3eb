/* Math functions that the compiler may call in vector form.
 *
 * glibc's libmvec has vector versions of these functions, but <math.h>
 * declares them only under -ffast-math, which would remove our NaN tests.
 * Declaring the SIMD forms here gives the vector calls alone.
 * `real` is float; a build with -DPIPS_DOUBLE makes it double, to check the
 * float32 arithmetic.
 */
#ifndef PIPS_VECMATH_H
#define PIPS_VECMATH_H
#include <math.h>

#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PIPS_SIMD __attribute__((simd("notinbranch")))
#else
#define PIPS_SIMD
#endif

#ifdef PIPS_DOUBLE
typedef double real;
#define PIPS_F(name) name
#else
typedef float real;
#define PIPS_F(name) name##f
#endif

#define PIPS_DECLARE1(name) PIPS_SIMD extern real PIPS_F(name)(real);
#define PIPS_DECLARE2(name) PIPS_SIMD extern real PIPS_F(name)(real, real);
PIPS_DECLARE1(exp)
PIPS_DECLARE1(log)
PIPS_DECLARE1(log10)
PIPS_DECLARE1(log1p)
PIPS_DECLARE1(sin)
PIPS_DECLARE1(cos)
PIPS_DECLARE1(tan)
PIPS_DECLARE1(acos)
PIPS_DECLARE1(asin)
PIPS_DECLARE1(atan)
PIPS_DECLARE1(sinh)
PIPS_DECLARE1(tanh)
PIPS_DECLARE1(cbrt)
PIPS_DECLARE2(pow)
PIPS_DECLARE2(atan2)

static inline real r_exp(real x) { return PIPS_F(exp)(x); }
static inline real r_log(real x) { return PIPS_F(log)(x); }
static inline real r_log10(real x) { return PIPS_F(log10)(x); }
static inline real r_log1p(real x) { return PIPS_F(log1p)(x); }
static inline real r_sin(real x) { return PIPS_F(sin)(x); }
static inline real r_cos(real x) { return PIPS_F(cos)(x); }
static inline real r_tan(real x) { return PIPS_F(tan)(x); }
static inline real r_acos(real x) { return PIPS_F(acos)(x); }
static inline real r_asin(real x) { return PIPS_F(asin)(x); }
static inline real r_atan(real x) { return PIPS_F(atan)(x); }
static inline real r_sinh(real x) { return PIPS_F(sinh)(x); }
static inline real r_tanh(real x) { return PIPS_F(tanh)(x); }
static inline real r_cbrt(real x) { return PIPS_F(cbrt)(x); }
static inline real r_pow(real x, real y) { return PIPS_F(pow)(x, y); }
static inline real r_atan2(real y, real x) { return PIPS_F(atan2)(y, x); }
static inline real r_sqrt(real x) { return PIPS_F(sqrt)(x); }
static inline real r_abs(real x) { return PIPS_F(fabs)(x); }
/* A quotient in `real`: next to a literal, Cython casts the operands of `/` to double. */
static inline real r_ratio(real x, real y) { return x / y; }
/* Selections, not branches; a NaN in `x` stays NaN. */
static inline real r_max(real x, real lowest) { return x < lowest ? lowest : x; }
static inline real r_min(real x, real highest) { return x > highest ? highest : x; }

/* Choose without a branch. The compiler moves what only one arm of `?:` needs
 * into a branch, calls included, and the loop stays scalar; it leaves masks be.
 */
#ifdef PIPS_DOUBLE
typedef long long r_bits;
#else
typedef int r_bits;
#endif
static inline real r_where(int condition, real x, real y) {
    union { real value; r_bits bits; } a = {x}, b = {y};
    const r_bits mask = -(r_bits)(condition != 0);
    a.bits = (a.bits & mask) | (b.bits & ~mask);
    return a.value;
}

/* As r_max and r_min, by masks: in long functions the compiler joins many `?:` into nested branches. */
static inline real r_at_least(real x, real lowest) { return r_where(x < lowest, lowest, x); }
static inline real r_at_most(real x, real highest) { return r_where(x > highest, highest, x); }

typedef const real *__restrict__ in_row;
typedef real *__restrict__ out_row;

#endif
