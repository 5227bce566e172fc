/* The kernels of a network that runs in one planned arena, and the tables that drive them.
 *
 * A run is a list of sections. Each section is computed tile by tile, and in each tile its calls run in order. A call is
 * one kernel over one rectangle of its output; where its operands are follows from the tables (struct place). Nothing
 * here allocates memory, recurses, or calls anything of libc but memcpy and memset. */
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

/* The rows of a tensor, as one call sees them. Rows above `top` are in the ring, row r as its row r mod ring_rows. */
struct view {
    uint8_t *rows;      /* row `top`, at column `left` */
    uint8_t *ring;      /* NULL where no rows are kept */
    int32_t top, left;
    int32_t ring_rows;
    int32_t row_bytes;
    int32_t pitch;      /* elements from one pixel to the next */
    int32_t channel;    /* the first of the tensor's channels in a pixel */
    int32_t bits;       /* of an element; below 8 they are packed, the first in the low bits of the first byte */
};

/* First byte of a row, at column `left` of the view. */
static inline uint8_t *row_of(const struct view *v, int32_t row)
{
    return row >= v->top ? v->rows + (row - v->top) * (ptrdiff_t)v->row_bytes
                         : v->ring + (row % v->ring_rows) * (ptrdiff_t)v->row_bytes;
}

/* First byte of a pixel, for elements of whole bytes. */
static inline uint8_t *pixel_of(const struct view *v, int32_t row, int32_t column)
{
    return row_of(v, row) + ((column - v->left) * (ptrdiff_t)v->pitch + v->channel) * (v->bits / 8);
}

/* One operator, or a fused run of them, over `at`: a rectangle of the output (of the input, for a running reduction).
 * `in` has one view for each operand that is not constant, in the operator's order; `scratch` is the planned working
 * memory, or NULL. */
typedef void kernel(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                    uint8_t *scratch);

/* Where the rows of a tensor are, for one call in all tiles of its section. */
enum where {
    RESIDENT,  /* whole, or as much of it as exists: row 0 at `offset` */
    TILE,      /* the span's rectangle at `offset`, and what is above it in the ring */
    RING,      /* all rows in the ring */
    EXTERNAL   /* whole, in a frame outside the arena */
};

struct place {
    int32_t offset, ring_offset;         /* bytes into the arena */
    uint16_t ring_rows, span;
    uint16_t columns, pitch, channel;    /* columns: of a resident tensor */
    uint8_t bits, where;
};

struct call {
    kernel *run;
    const void *layer;
    const struct place *places;          /* what is read, then what is written */
    int32_t scratch;                     /* offset of the working memory, -1 if there is none */
    uint16_t span;                       /* the rectangle to compute */
    uint8_t reads, writes;
};

struct section {
    const struct call *calls;
    const uint16_t (*rows)[2];           /* [row tiles][spans]: first row, one past the last */
    const uint16_t (*columns)[2];        /* [column tiles][spans]: the same of columns */
    uint16_t row_tiles, column_tiles, spans, call_count;
    uint16_t rows_outermost;
};

/* Runs the sections in order. `frame` is the memory outside the arena, or NULL. */
void run_sections(const struct section *sections, int count, uint8_t *arena, uint8_t *frame);

/* @LAYERS@ */
#ifdef __cplusplus
}
#endif
#endif
