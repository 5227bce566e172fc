/* Inner products of a few pixels with blocks of 16 output channels, by vector instructions or in portable C. Each
 * variant defines `struct block`, `open_block` and `dot_tile`; `open_block` takes as many of the remaining output
 * channels as the variant computes together. */
#ifndef DOT_H
#define DOT_H

#include "simd/lanes.h"

#if defined(LANES_AVX512)
enum { PIXELS = 8, BLOCKS = 3 };
#else
enum { PIXELS = 4, BLOCKS = 1 };
#endif

#include "int8/walk.h"

#if defined(LANES_AVX512)
#include "simd/dot_avx512.h"
#elif defined(LANES_AVX2)
#include "simd/dot_avx2.h"
#elif defined(LANES_SSE2)
#include "simd/dot_sse2.h"
#elif defined(LANES_NEON)
#include "simd/dot_neon.h"
#else
#include "simd/dot_portable.h"
#endif

/* Computes the channels of a block over a rectangle and writes them as int8. */
static void dot_rectangle(const struct block *b, struct walk *w, const struct view *out, const struct region *at)
{
    for (int32_t row = at->top; row < at->bottom; row++) {
        int8_t *to = (int8_t *)pixel_of(out, row, at->left) + b->channel;
        open_row(w, row);
        for (w->column = at->left; w->column < at->right; w->column += w->pixels) {
            w->pixels = at_most(PIXELS, at->right - w->column);
            dot_tile(b, w, to, w->pixels);
            to += w->pixels * (ptrdiff_t)w->out_step;
        }
    }
}

#endif
