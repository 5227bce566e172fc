/* RESHAPE, TRANSPOSE, SLICE, SPLIT and the like: sub-byte elements of a whole tensor copied by strides. */
#include "program/kernels.h"
#include "low_bit/move.h"

/* Where an element is: its row, its index there, and how many elements follow it there, itself included. */
struct place {
    uint8_t *row;
    ptrdiff_t index;
    int32_t run;
};

/* The place of element `index`, in row-major order, of a whole tensor. */
static struct place place_of(const struct view *v, int32_t columns, int32_t channels, int32_t index)
{
    int32_t pixel = index / channels, column = pixel % columns, channel = index % channels;
    struct place p;
    p.row = v->rows + pixel / columns * (ptrdiff_t)v->row_bytes;
    p.index = column * (ptrdiff_t)v->pitch + v->channel + channel;
    p.run = channels - channel + (v->pitch == channels ? (columns - 1 - column) * channels : 0);
    return p;
}

static void low_bit_strided_run(const struct low_bit_strided_layer *l, const struct view *in, const struct view *out,
                                int32_t from, int32_t to, int32_t count, int32_t step)
{
    for (int32_t done = 0, run = 1; done < count; done += run) {
        struct place source = place_of(in, l->in_columns, l->plain.in_channels, from + done * step);
        struct place target = place_of(out, l->out_columns, l->plain.out_channels, to + done);
        if (step == 1)
            run = at_most(at_most(source.run, target.run), count - done);
        move_elements(source.row, source.index, target.row, target.index, out->bits, run);
    }
}

void low_bit_strided(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                     uint8_t *scratch)
{
    const struct low_bit_strided_layer *l = layer;
    const int32_t *sizes = l->plain.axes, *steps = sizes + l->plain.rank;
    int last = l->plain.rank - 1;
    (void)at, (void)scratch;
    for (int k = 0; k < l->plain.outputs; k++) {
        int32_t position[MOST_AXES] = {0}, from = l->plain.first + k * l->plain.next, to = 0;
        for (;;) {
            low_bit_strided_run(l, in, &out[k], from, to, sizes[last], steps[last]);
            to += sizes[last];
            int axis = last - 1;
            for (; axis >= 0; axis--) { /* the next index in row-major order */
                from += steps[axis];
                if (++position[axis] < sizes[axis])
                    break;
                from -= sizes[axis] * steps[axis];
                position[axis] = 0;
            }
            if (axis < 0)
                break;
        }
    }
}
