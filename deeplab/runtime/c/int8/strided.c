/* RESHAPE, TRANSPOSE, SLICE, SPLIT and the like: elements of a whole tensor copied by strides. */
#include "program/kernels.h"
#include "int8/runs.h"

static void strided_run(const struct strided_layer *l, const struct view *in, const struct view *out, int32_t from,
                        int32_t to, int32_t count, int32_t step)
{
    size_t bytes = (size_t)out->bits / 8;
    if (step == 1 && in->pitch == l->in_channels && out->pitch == l->out_channels) {
        const uint8_t *source = whole_element(in, l->in_channels, from);
        uint8_t *target = whole_element(out, l->out_channels, to);
        if (source != target) /* not where the output is in place */
            memcpy(target, source, (size_t)count * bytes);
        return;
    }
    for (int32_t i = 0; i < count; i++) {
        const uint8_t *source = whole_element(in, l->in_channels, from + i * step);
        uint8_t *target = whole_element(out, l->out_channels, to + i);
        for (size_t byte = 0; byte < bytes; byte++)
            target[byte] = source[byte];
    }
}

void strided(const void *layer, const struct view *in, const struct view *out, const struct region *at,
             uint8_t *scratch)
{
    const struct strided_layer *l = layer;
    const int32_t *sizes = l->axes, *steps = l->axes + l->rank;
    int last = l->rank - 1;
    (void)at, (void)scratch;
    for (int k = 0; k < l->outputs; k++) {
        int32_t position[MOST_AXES] = {0}, from = l->first + k * l->next, to = 0;
        for (;;) {
            strided_run(l, in, &out[k], from, to, sizes[last], steps[last]);
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
