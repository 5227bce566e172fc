/* Element-wise functions of float32; the output may overwrite the input. */
#include "float/exp.h"

/* 1 / (1 + exp(-x)), with the reference's cutoffs, beyond which it returns 1 or exp(x). */
static float logistic_of(float x)
{
    if (x > 16.619047164916992188f)
        return 1;
    return x < -9 ? float_exp(x) : 1 / (1 + float_exp(-x));
}

static float unary_of(const struct float_unary_layer *l, struct float_bounds bounds, float x)
{
    switch (l->kind) {
    case FLOAT_HARD_SWISH: return x * float_bounded(x + 3, float_bounds_of(FLOAT_RELU6)) / 6;
    case FLOAT_LEAKY_RELU: return x > 0 ? x : x * l->alpha;
    case FLOAT_LOGISTIC: return logistic_of(x);
    case FLOAT_TANH: return float_tanh(x);
    case FLOAT_ELU: return x < 0 ? float_exp_less_one(x) : x;
    default: return float_bounded(x, bounds);
    }
}

void float_unary(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                 uint8_t *scratch)
{
    const struct float_unary_layer *l = layer;
    struct float_bounds bounds = float_bounds_of(l->activation);
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const float *from = floats_of(in, row, column);
            float *to = floats_to(out, row, column);
            for (int c = 0; c < l->channels; c++)
                to[c] = unary_of(l, bounds, from[c]);
        }
}
