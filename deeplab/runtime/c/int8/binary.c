/* Element-wise operators of two operands, with broadcasting. */
#include "program/kernels.h"
#include "int8/arithmetic.h"
#include "int8/runs.h"
#include "simd/product.h"

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

enum { SAME_VALUES = 64 }; /* copies of one value by which a run is multiplied */

/* MUL of a run of int8; an operand that does not move has one value for all. */
static void multiply_values(const struct broadcast_layer *l, const int8_t *a, const int8_t *b, int moves_a, int moves_b,
                            int8_t *to, int32_t count)
{
    int8_t same_a[SAME_VALUES], same_b[SAME_VALUES];
    int32_t most = moves_a && moves_b ? count : SAME_VALUES;
    if (!moves_a)
        memset(same_a, *a, sizeof same_a);
    if (!moves_b)
        memset(same_b, *b, sizeof same_b);
    for (int32_t done = 0; done < count; done += most)
        multiply_run(l, moves_a ? a + done : same_a, moves_b ? b + done : same_b, to + done,
                     at_most(most, count - done));
}

/* Whether the values of an operand for the pixels of a row follow one another, or are all one. */
static int is_joined(const struct broadcast_layer *l, const uint8_t *constant, const struct view *v, int moves)
{
    if (!(moves & MOVES_CHANNELS))
        return !(moves & MOVES_COLUMNS);
    return (moves & MOVES_COLUMNS) && (constant || (moves & HAS_OTHER_AXES) || v->pitch == l->channels);
}

/* MUL of int8. */
static void multiply_rows(const struct broadcast_layer *l, const struct view *first, const struct view *second,
                          const struct view *out, const struct region *at)
{
    int joined = out->pitch == l->channels && is_joined(l, l->left, first, l->moves[0])
                 && is_joined(l, l->right, second, l->moves[1]);
    int32_t pixels = joined ? at->right - at->left : 1;
    for (int32_t row = at->top; row < at->bottom; row++)
        for (int32_t column = at->left; column < at->right; column += pixels) {
            const uint8_t *a = broadcast_operand(l, l->left, first, l->moves[0], row, column);
            const uint8_t *b = broadcast_operand(l, l->right, second, l->moves[1], row, column);
            multiply_values(l, (const int8_t *)a, (const int8_t *)b, l->moves[0] & MOVES_CHANNELS,
                            l->moves[1] & MOVES_CHANNELS, (int8_t *)pixel_of(out, row, column), pixels * l->channels);
        }
}

void broadcast(const void *layer, const struct view *in, const struct view *out, const struct region *at,
               uint8_t *scratch)
{
    const struct broadcast_layer *l = layer;
    const struct view *second = l->left ? &in[0] : &in[1];
    int step_a = l->moves[0] & MOVES_CHANNELS ? 1 : 0, step_b = l->moves[1] & MOVES_CHANNELS ? 1 : 0;
    (void)scratch;
    if (l->kind == BINARY_MUL && !l->is_unsigned) {
        multiply_rows(l, &in[0], second, out, at);
        return;
    }
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
