/* Element-wise operators of two float32 operands; the output may overwrite an operand. */
#include "float/arithmetic.h"

enum { FLOATS_AT_ONCE = 16 };

struct float_operand {
    struct view view;
    const float *constant;
    const uint16_t *shape; /* rows, columns, channels */
    int is_single;         /* whether one element is broadcast to all channels of a pixel, or to a run of pixels */
};

static const float *float_operand_at(const struct float_operand *o, int32_t row, int32_t column)
{
    int32_t r = o->shape[0] == 1 ? 0 : row, k = o->shape[1] == 1 ? 0 : column;
    if (o->constant)
        return o->constant + ((ptrdiff_t)r * o->shape[1] + k) * o->shape[2];
    return floats_of(&o->view, r, k);
}

/* Loads at most 16 elements from `at` on, or the single element 16 times. */
static void load_floats(float to[FLOATS_AT_ONCE], const float *from, int at, int count, int is_single)
{
    if (!is_single) {
        memcpy(to, from + at, (size_t)count * sizeof *to);
        return;
    }
    for (int i = 0; i < FLOATS_AT_ONCE; i++)
        to[i] = *from;
}

#define EACH_FLOAT(result)                                                                                             \
    for (int i = 0; i < FLOATS_AT_ONCE; i++) {                                                                         \
        float a = x[i], b = y[i];                                                                                      \
        z[i] = (result);                                                                                               \
    }                                                                                                                  \
    break

/* MINIMUM and MAXIMUM return NaN if an operand is NaN, and the second of equal operands (0 equals -0). */
static void combine_floats(int kind, const float *restrict x, const float *restrict y, float *restrict z)
{
    switch (kind) {
    case FLOAT_ADD: EACH_FLOAT(a + b);
    case FLOAT_SUB: EACH_FLOAT(a - b);
    case FLOAT_MUL: EACH_FLOAT(a * b);
    case FLOAT_DIV: EACH_FLOAT(a / b);
    case FLOAT_MINIMUM: EACH_FLOAT(a < b || a != a ? a : b);
    case FLOAT_MAXIMUM: EACH_FLOAT(a > b || a != a ? a : b);
    case FLOAT_SQUARED_DIFFERENCE: EACH_FLOAT((a - b) * (a - b));
    default: EACH_FLOAT(a >= 0 ? a : a * b);
    }
}

void float_binary(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                  uint8_t *scratch)
{
    const struct float_binary_layer *l = layer;
    struct float_bounds bounds = float_bounds_of(l->activation);
    struct float_operand operands[2];
    int is_run = out->pitch == l->channels; /* whether the pixels of a row are contiguous in all tensors */
    (void)scratch;
    for (int i = 0; i < 2; i++) {
        struct float_operand *o = &operands[i];
        o->constant = i ? l->second : l->first;
        o->shape = l->shapes + 3 * i;
        if (!o->constant) {
            o->view = *in++;
            is_run &= o->view.pitch == l->channels && o->shape[2] == l->channels && o->shape[1] > 1;
            if (l->reshaped[i]) { /* it is stored whole and contiguous */
                o->view.rows = pixel_of(&o->view, 0, 0);
                o->view.top = o->view.left = o->view.channel = 0;
                o->view.pitch = o->shape[2];
                o->view.row_bytes = o->shape[1] * o->shape[2] * (int32_t)sizeof(float);
            }
        } else {
            is_run &= o->shape[0] * o->shape[1] * o->shape[2] == 1;
        }
    }
    for (int i = 0; i < 2; i++)
        operands[i].is_single = operands[i].shape[2] == 1 && (operands[i].constant || !is_run);
    int32_t columns = is_run ? 1 : at->right - at->left;
    int32_t values = is_run ? (at->right - at->left) * l->channels : l->channels;
    for (int32_t row = at->top; row < at->bottom; row++) {
        for (int32_t column = at->left; column < at->left + columns; column++) {
            const float *a = float_operand_at(&operands[0], row, column);
            const float *b = float_operand_at(&operands[1], row, column);
            float *to = floats_to(out, row, column);
            for (int32_t done = 0; done < values; done += FLOATS_AT_ONCE) {
                float x[FLOATS_AT_ONCE] = {0}, y[FLOATS_AT_ONCE] = {0}, z[FLOATS_AT_ONCE];
                int count = at_most(FLOATS_AT_ONCE, values - done);
                load_floats(x, a, done, count, operands[0].is_single);
                load_floats(y, b, done, count, operands[1].is_single);
                combine_floats(l->kind, x, y, z);
                for (int i = 0; i < FLOATS_AT_ONCE; i++)
                    z[i] = float_bounded(z[i], bounds);
                memcpy(to + done, z, (size_t)count * sizeof *z);
            }
        }
    }
}
