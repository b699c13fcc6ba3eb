/* Double precision that the compiler may call in vector form; see vecmath.h. For kernels whose state must keep
 * mass and energy over a season of short steps.
 */
#ifndef PIPS_VECMATH64_H
#define PIPS_VECMATH64_H
#include <math.h>

#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PIPS_SIMD64 __attribute__((simd("notinbranch")))
#else
#define PIPS_SIMD64
#endif

PIPS_SIMD64 extern double exp(double);
PIPS_SIMD64 extern double log(double);
PIPS_SIMD64 extern double cos(double);
PIPS_SIMD64 extern double atan(double);

/* Choose by masks, not by branches. */
static inline double d_where(int condition, double x, double y) {
    union { double value; long long bits; } a = {x}, b = {y};
    const long long mask = -(long long)(condition != 0);
    a.bits = (a.bits & mask) | (b.bits & ~mask);
    return a.value;
}
static inline double d_at_least(double x, double lowest) { return d_where(x < lowest, lowest, x); }
static inline double d_at_most(double x, double highest) { return d_where(x > highest, highest, x); }

#endif
