/* DEPTHWISE_CONV_2D: 16 channels of one pixel at a time. */
#include "kernels.h"
#include "arithmetic.h"

enum { CHANNELS_AT_ONCE = 16 };

void depthwise(const void *layer, const struct view *in, const struct view *out, const struct region *at,
               uint8_t *scratch)
{
    const struct depthwise_layer *l = layer;
    int multiple = l->out_channels / l->in_channels;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->right; column++) {
            int32_t top = row * l->stride_rows - l->before_rows, left = column * l->stride_columns - l->before_columns;
            int8_t *to = (int8_t *)pixel_of(out, row, column);
            for (int first = 0; first < l->out_channels; first += CHANNELS_AT_ONCE) {
                int channels = at_most(CHANNELS_AT_ONCE, l->out_channels - first);
                int32_t sums[CHANNELS_AT_ONCE];
                for (int c = 0; c < channels; c++)
                    sums[c] = l->bias[first + c];
                for (int y = 0; y < l->filter_rows; y++) {
                    for (int x = 0; x < l->filter_columns; x++) {
                        int32_t r = top + y * l->dilation_rows, k = left + x * l->dilation_columns;
                        const int8_t *w = l->weights + (ptrdiff_t)(y * l->filter_columns + x) * l->out_channels + first;
                        if (r < 0 || r >= l->in_rows || k < 0 || k >= l->in_columns) {
                            for (int c = 0; c < channels; c++)
                                sums[c] += l->in_zero * w[c];
                            continue;
                        }
                        const int8_t *from = (const int8_t *)pixel_of(in, r, k);
                        if (multiple == 1) {
                            for (int c = 0; c < channels; c++)
                                sums[c] += from[first + c] * w[c];
                        } else {
                            for (int c = 0; c < channels; c++)
                                sums[c] += from[(first + c) / multiple] * w[c];
                        }
                    }
                }
                for (int c = 0; c < channels; c++) {
                    int index = l->per_channel ? first + c : 0;
                    int32_t scaled = multiplied(sums[c], l->multipliers[index], l->shifts[index]);
                    to[first + c] = (int8_t)clamped(scaled + l->out_zero, l->lowest, l->highest);
                }
            }
        }
    }
}
