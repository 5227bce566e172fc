/* Rows of one tensor from where they are read to where they are kept. */
#include "program/kernels.h"
#include "low_bit/elements.h"

/* Elements of any width between two places in two rows. */
static void copy_elements(const uint8_t *from, ptrdiff_t from_first, uint8_t *to, ptrdiff_t to_first, int bits,
                          ptrdiff_t count)
{
    if (from_first * bits % 8 == 0 && to_first * bits % 8 == 0) {
        ptrdiff_t whole = bits % 8 ? count / 8 * 8 : count; /* as many as fill whole bytes */
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
    int joined = l->channels == in->pitch && l->channels == out->pitch; /* nothing is between the pixels */
    int32_t pixels = joined ? at->right - at->left : 1;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column += pixels)
            copy_elements(row_of(in, row), element_index(in, column), row_of(out, row), element_index(out, column), in->bits,
                          (ptrdiff_t)pixels * l->channels);
    }
}
