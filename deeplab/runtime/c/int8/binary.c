/* Element-wise operators of two operands, with broadcasting. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/runs.h"

/* `left_shift` of TFLite's add.cc and squared_difference.cc. */
enum { SUM_LEFT_SHIFT = 20, SQUARE_LEFT_SHIFT = 7 };

/* The first value of an operand for a pixel of the output. */
static const uint8_t *broadcast_operand(const struct broadcast_layer *l, const uint8_t *constant, const struct view *v,
                                        int moves, int32_t row, int32_t column)
{
    int32_t r = moves & MOVES_ROWS ? row : 0, c = moves & MOVES_COLUMNS ? column : 0;
    if (!constant && !(moves & HAS_OTHER_AXES))
        return pixel_of(v, r, c);
    ptrdiff_t pixel = (ptrdiff_t)r * (moves & MOVES_COLUMNS ? l->columns : 1) + c;
    return (constant ? constant : v->rows + v->channel) + pixel * (moves & MOVES_CHANNELS ? l->channels : 1);
}

/* An operand at the common scale of both, shifted left by `bits`. */
static int32_t shifted_operand(const struct broadcast_layer *l, int32_t centred, int operand, int bits)
{
    return multiplied((int64_t)centred * (1 << bits), l->multipliers[operand], l->shifts[operand]);
}

static int32_t combined_values(const struct broadcast_layer *l, int32_t a, int32_t b)
{
    int32_t x = a - l->zeros[0], y = b - l->zeros[1];
    int64_t sum;
    switch (l->kind) {
    case BINARY_MINIMUM:
        return at_most(a, b);
    case BINARY_MAXIMUM:
        return at_least(a, b);
    case BINARY_MUL:
        return multiplied(x * y, l->multipliers[0], l->shifts[0]) + l->zeros[2];
    case BINARY_PRELU:
        return multiplied(x >= 0 ? x : x * y, l->multipliers[x < 0], l->shifts[x < 0]) + l->zeros[2];
    case BINARY_SQUARED_DIFFERENCE:
        x = shifted_operand(l, x, 0, SQUARE_LEFT_SHIFT) - shifted_operand(l, y, 1, SQUARE_LEFT_SHIFT);
        return multiplied((int64_t)x * x, l->multipliers[2], l->shifts[2]) + l->zeros[2];
    default:
        sum = shifted_operand(l, x, 0, SUM_LEFT_SHIFT);
        sum += l->kind == BINARY_ADD ? shifted_operand(l, y, 1, SUM_LEFT_SHIFT)
                                     : -shifted_operand(l, y, 1, SUM_LEFT_SHIFT);
        return multiplied(sum, l->multipliers[2], l->shifts[2]) + l->zeros[2];
    }
}

void broadcast(const void *layer, const struct view *in, const struct view *out, const struct region *at,
               uint8_t *scratch)
{
    const struct broadcast_layer *l = layer;
    const struct view *second = l->left ? &in[0] : &in[1];
    int step_a = l->moves[0] & MOVES_CHANNELS ? 1 : 0, step_b = l->moves[1] & MOVES_CHANNELS ? 1 : 0;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column++) {
            const uint8_t *a = broadcast_operand(l, l->left, &in[0], l->moves[0], row, column);
            const uint8_t *b = broadcast_operand(l, l->right, second, l->moves[1], row, column);
            uint8_t *to = pixel_of(out, row, column);
            for (int32_t c = 0; c < l->channels; c++) {
                int32_t first = value_of(a[c * step_a], l->is_unsigned);
                int32_t other = value_of(b[c * step_b], l->is_unsigned);
                to[c] = (uint8_t)clamped(combined_values(l, first, other), l->lowest, l->highest);
            }
        }
}
