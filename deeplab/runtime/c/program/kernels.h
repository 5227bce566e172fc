/* The kernels of a network that runs in one planned arena, and the tables that drive them.
 *
 * A run executes a list of sections. A section is computed tile by tile; in each tile its calls run in order. A call is
 * one kernel over one rectangle of its output, with the addresses of its operands (struct operand). Nothing here
 * allocates memory or recurses; memcpy and memset are the only functions of libc that are called. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "program/constants.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A rectangle of a tensor, with all its channels: rows [top, bottom), columns [left, right). */
struct region {
    int32_t top, bottom, left, right;
};

/* The rows of a tensor that one call reads or writes. Row r above `top` is row r mod ring_rows of the ring. */
struct view {
    uint8_t *rows;      /* row `top`, at column `left` */
    uint8_t *ring;      /* row cache; NULL without one */
    int32_t top, left;
    int32_t ring_rows;
    int32_t row_bytes;
    int32_t pitch;      /* elements from one pixel to the next */
    int32_t channel;    /* offset of the tensor's first channel in a pixel, elements */
    int32_t bits;       /* of an element; below 8 packed, the first in the low bits of the first byte */
};

/* Address of a row, at column `left` of the view. */
static inline uint8_t *row_of(const struct view *v, int32_t row)
{
    return row >= v->top ? v->rows + (row - v->top) * (ptrdiff_t)v->row_bytes
                         : v->ring + (row % v->ring_rows) * (ptrdiff_t)v->row_bytes;
}

/* Address of the tensor's first channel of a pixel, for elements of whole bytes. */
static inline uint8_t *pixel_of(const struct view *v, int32_t row, int32_t column)
{
    return row_of(v, row) + ((column - v->left) * (ptrdiff_t)v->pitch + v->channel) * (v->bits / 8);
}

/* Computes one operator, or several fused ones, over the rectangle `at` of the output (of the input, for a reduction
 * over the image). `in` has one view for each non-constant input, in the operator's order; `scratch` is the planned
 * working memory or accumulator, or NULL. */
typedef void kernel(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                    uint8_t *scratch);

#include "program/tables.h"

/* Runs the sections in order. `frame` is the frame outside the arena, or NULL. */
void run_sections(const struct section *sections, int count, uint8_t *arena, uint8_t *frame);

/* @LAYERS@ */
#ifdef __cplusplus
}
#endif
#endif
