/* PAD and PADV2 of rows and columns of sub-byte values. */
#include "program/kernels.h"
#include "low_bit/move.h"

/* Fills the columns from `left` to `right` of an output row. */
static void fill_columns(const struct low_bit_pad_layer *l, const struct view *out, int32_t row, int32_t left,
                         int32_t right)
{
    if (out->pitch == l->channels) {
        fill_elements(row_of(out, row), element_index(out, left), out->bits, (ptrdiff_t)(right - left) * l->channels,
                      (int16_t)l->fill);
        return;
    }
    for (; left < right; left++)
        fill_elements(row_of(out, row), element_index(out, left), out->bits, l->channels, (int16_t)l->fill);
}

void low_bit_pad(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                 uint8_t *scratch)
{
    const struct low_bit_pad_layer *l = layer;
    int joined = in->pitch == l->channels && out->pitch == l->channels;
    int32_t first = clamped(l->left, at->left, at->right), end = clamped(l->left + l->in_columns, first, at->right);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        int32_t r = row - l->top, last = r >= 0 && r < l->in_rows ? end : first, columns;
        fill_columns(l, out, row, at->left, first);
        for (int32_t column = first; column < last; column += columns) {
            columns = joined ? last - first : 1;
            move_elements(row_of(in, r), element_index(in, column - l->left), row_of(out, row),
                          element_index(out, column), out->bits, (ptrdiff_t)columns * l->channels);
        }
        fill_columns(l, out, row, last, at->right);
    }
}
