/* MIRROR_PAD. */
#include "program/kernels.h"
#include "int8/runs.h"

/* The input index along an axis for an output index. */
static int32_t mirrored(const struct mirror_pad_layer *l, int axis, int32_t out)
{
    int32_t at = out - l->before[axis], size = l->in_size[axis];
    if (at < 0)
        at = -at - l->repeats_border;
    if (at >= size)
        at = 2 * size - 2 + l->repeats_border - at;
    return at;
}

void mirror_pad(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct mirror_pad_layer *l = layer;
    int32_t to = 0;
    (void)at, (void)scratch;
    for (int32_t a = 0; a < l->out_size[0]; a++) {
        for (int32_t b = 0; b < l->out_size[1]; b++) {
            int32_t line = (mirrored(l, 0, a) * l->in_size[1] + mirrored(l, 1, b)) * l->in_size[2];
            for (int32_t c = 0; c < l->out_size[2]; c++)
                memcpy(whole_element(out, l->out_channels, to++),
                       whole_element(in, l->in_channels, line + mirrored(l, 2, c)), (size_t)out->bits / 8);
        }
    }
}
