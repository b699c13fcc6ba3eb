/* Squared distances of Mahalanobis of 32 pixels at a time, sums kept in vector registers.
 *
 * Vectors of a fixed width are a language extension of GCC and Clang; where
 * the machine has narrower registers the compiler splits them.
 */
#ifndef PIPS_CLASSIFY_H
#define PIPS_CLASSIFY_H
#include <stddef.h>
#include <string.h>

typedef float pips_lanes __attribute__((vector_size(64)));

/* here: (bands, 32); high + low: the mean in two floats, so that the difference has no error of the mean's rounding;
 * inverse: (bands, bands) lower triangle by rows; away: (32,). */
static inline void pips_distances(const float *here, const float *high, const float *low, const float *inverse,
                                  ptrdiff_t bands, float *away) {
    pips_lanes off[64], left, right, one, two;
    pips_lanes sum_one = {0}, sum_two = {0};
    for (ptrdiff_t k = 0; k < bands; k++) {
        memcpy(&left, here + 32 * k, 64);
        memcpy(&right, here + 32 * k + 16, 64);
        off[2 * k] = (left - high[k]) - low[k];
        off[2 * k + 1] = (right - high[k]) - low[k];
        one = off[0] * inverse[k * bands];
        two = off[1] * inverse[k * bands];
        for (ptrdiff_t j = 1; j <= k; j++) {
            one += off[2 * j] * inverse[k * bands + j];
            two += off[2 * j + 1] * inverse[k * bands + j];
        }
        sum_one += one * one;
        sum_two += two * two;
    }
    memcpy(away, &sum_one, 64);
    memcpy(away + 16, &sum_two, 64);
}
#endif
