/* QUANTIZE from float32, and DEQUANTIZE by one scale or by one for each channel. */
#include "program/kernels.h"
#include "int8/rounding.h"
#include "int8/runs.h"

void quantize_real(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                   uint8_t *scratch)
{
    const struct float_conversion_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const float *from = (const float *)(const void *)pixel_of(in, row, column);
            uint8_t *to = pixel_of(out, row, column);
            for (int32_t c = 0; c < l->channels; c++) {
                /* clamped before the conversion, which is undefined for large values */
                float value = rounded(from[c] / l->scale) + l->zero;
                value = !(value > l->lowest) ? l->lowest : value > l->highest ? l->highest : value;
                to[c] = (uint8_t)(int32_t)value;
            }
        }
}

void dequantize(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                uint8_t *scratch)
{
    const struct float_conversion_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *from = pixel_of(in, row, column);
            float *to = (float *)(void *)pixel_of(out, row, column);
            for (int32_t c = 0; c < l->channels; c++) /* in double, rounded once to float32 */
                to[c] = (float)((double)l->scale * ((double)value_of(from[c], l->is_unsigned) - (double)l->zero));
        }
}

void dequantize_channels(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                         uint8_t *scratch)
{
    const struct channel_conversion_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *from = pixel_of(in, row, column);
            float *to = (float *)(void *)pixel_of(out, row, column);
            for (int32_t c = 0; c < l->channels; c++) /* in double, rounded once to float32 */
                to[c] = (float)((double)l->scales[c] * ((double)value_of(from[c], l->is_unsigned) - (double)l->zeros[c]));
        }
}
