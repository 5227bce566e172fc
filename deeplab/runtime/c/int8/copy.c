/* Copies rows of a tensor, such as halo rows into a row cache. */
#include "program/kernels.h"
#include "low_bit/elements.h"

/* Copies elements of any width from one row to another. */
static void copy_elements(const uint8_t *from, ptrdiff_t from_first, uint8_t *to, ptrdiff_t to_first, int bits,
                          ptrdiff_t count)
{
    if (from_first * bits % 8 == 0 && to_first * bits % 8 == 0) {
        ptrdiff_t whole = bits % 8 ? count / 8 * 8 : count; /* elements that fill whole bytes */
        from += from_first * bits / 8;
        to += to_first * bits / 8;
        from_first = to_first = whole;
        count -= whole;
        if (from == to)
            return;
        memcpy(to, from, (size_t)(whole * bits / 8));
    }
    for (ptrdiff_t i = 0; i < count; i++)
        put_subbyte_element(to, bits, to_first + i, subbyte_element(from, bits, from_first + i));
}

void copy(const void *layer, const struct view *in, const struct view *out, const struct region *at, uint8_t *scratch)
{
    const struct copy_layer *l = layer;
    int joined = l->channels == in->pitch && l->channels == out->pitch; /* the pixels are contiguous */
    int32_t pixels = joined ? at->right - at->left : 1;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column += pixels)
            copy_elements(row_of(in, row), element_index(in, column), row_of(out, row), element_index(out, column),
                          in->bits, (ptrdiff_t)pixels * l->channels);
    }
}
