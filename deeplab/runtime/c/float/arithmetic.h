/* float32 arithmetic of TFLite's reference kernels: each product and each sum is rounded, in the reference's order.
 *
 * Operations must be neither fused nor computed in a wider type: compile with -ffp-contract=off (which gcc's -std=c99
 * implies) for a machine with FLT_EVAL_METHOD 0. Vectors hold several channels of one pixel, never several terms of one
 * sum. */
#ifndef FLOAT_ARITHMETIC_H
#define FLOAT_ARITHMETIC_H

#include <float.h>
#include <math.h> /* INFINITY only: nothing of libm is called */

#include "program/kernels.h"
#include "int8/arithmetic.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#if defined(FLT_EVAL_METHOD) && (FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2)
#error "float32 kernels need arithmetic that rounds each result to float (on x86: -mfpmath=sse)"
#endif

struct float_bounds {
    float lowest, highest;
    float zero; /* 0 or -0, added to the result */
};

/* RELU returns +0 for -0, so 0 is added; the others keep the sign of zero, which adding -0 preserves. */
static inline struct float_bounds float_bounds_of(int activation)
{
    static const struct float_bounds known[] = {
        {-INFINITY, INFINITY, -0.0f}, {0, INFINITY, 0}, {0, 6, -0.0f}, {-1, 1, -0.0f}};
    return known[activation];
}

/* x clamped; NaN is returned as it is. */
static inline float float_bounded(float x, struct float_bounds b)
{
    return (x < b.lowest ? b.lowest : x > b.highest ? b.highest : x) + b.zero;
}

static inline const float *floats_of(const struct view *v, int32_t row, int32_t column)
{
    return (const float *)(const void *)pixel_of(v, row, column);
}

static inline float *floats_to(const struct view *v, int32_t row, int32_t column)
{
    return (float *)(void *)pixel_of(v, row, column);
}

/* Vectors of the machine's width; single floats where its vector arithmetic is not IEEE 754 (32-bit ARM flushes
 * denormals to zero). */
#if defined(__GNUC__) && defined(__AVX512F__)
typedef float floats_16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float floats_8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float floats_4 __attribute__((vector_size(16), aligned(4), may_alias));
enum { FLOAT_PIXELS = 8 };
#elif defined(__GNUC__) && defined(__AVX__)
typedef float floats_8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef floats_8 floats_16;
typedef float floats_4 __attribute__((vector_size(16), aligned(4), may_alias));
enum { FLOAT_PIXELS = 4 };
#elif defined(__GNUC__) && (defined(__SSE2__) || defined(__aarch64__))
typedef float floats_4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef floats_4 floats_8, floats_16;
#if defined(__aarch64__)
enum { FLOAT_PIXELS = 4 };
#else
enum { FLOAT_PIXELS = 2 };
#endif
#else
typedef float floats_4, floats_8, floats_16;
enum { FLOAT_PIXELS = 1 };
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define FLOAT_UNROLLED _Pragma("GCC unroll 16")
#define FLOAT_LOOP _Pragma("GCC unroll 1") /* gcc does not vectorize the unrolled loop */
#else
#define FLOAT_UNROLLED
#define FLOAT_LOOP
#endif

/* Channels of the next block where `left` remain. */
static inline int float_block_lanes(int left)
{
    return left >= 16 ? 16 : left >= 8 ? 8 : left >= 4 ? 4 : 1;
}

/* Writes a block of channels from `channel` on: sums plus bias (may be NULL), clamped. */
static inline void finish_floats(float *restrict to, const float *restrict sums, const float *restrict bias,
                                 int channel, int lanes, struct float_bounds bounds)
{
    to += channel;
    if (bias && lanes == FLOAT_LANES) {
        FLOAT_LOOP for (int lane = 0; lane < FLOAT_LANES; lane++)
            to[lane] = float_bounded(sums[lane] + bias[channel + lane], bounds);
        return;
    }
    for (int lane = 0; lane < lanes; lane++)
        to[lane] = float_bounded(bias ? sums[lane] + bias[channel + lane] : sums[lane], bounds);
}

/* The input rows under a filter of at most FLOAT_ROWS rows, NULL in the padding. */
static inline void float_lines_under(const uint8_t *lines[FLOAT_ROWS], const struct view *in, int32_t top, int rows,
                                     int dilation, int32_t in_rows)
{
    for (int y = 0; y < rows; y++) {
        int32_t row = top + y * dilation;
        lines[y] = row < 0 || row >= in_rows ? NULL : row_of(in, row);
    }
}

/* A pixel of an input row. */
static inline const float *in_float_line(const uint8_t *line, const struct view *v, int32_t column)
{
    return (const float *)(const void *)line + (column - v->left) * (ptrdiff_t)v->pitch + v->channel;
}

#endif
