/* Element-wise operators of two operands with broadcasting, values of any width. */
#include "program/kernels.h"
#include "int8/scaling.h"
#include "low_bit/values.h"

/* `left_shift` of TFLite's squared_difference.cc. */
enum { LOW_BIT_SQUARE_SHIFT = 7 };

/* A row of an operand. */
struct low_bit_operand {
    const uint8_t *row;
    ptrdiff_t first, step; /* the element of the first column to compute; from one column to the next */
    int bits;
    int moves;             /* whether there is a value for each channel, or one for all */
};

static struct low_bit_operand low_bit_operand_of(const struct low_bit_broadcast_layer *l, int which,
                                                 const struct view *v, int32_t row, int32_t left)
{
    const uint8_t *constant = which ? l->plain.right : l->plain.left;
    int moves = l->plain.moves[which];
    int32_t r = moves & MOVES_ROWS ? row : 0, c = moves & MOVES_COLUMNS ? left : 0;
    struct low_bit_operand o;
    o.moves = moves & MOVES_CHANNELS;
    o.bits = constant ? l->bits[which] : v->bits;
    if (constant || (moves & HAS_OTHER_AXES)) {
        int32_t channels = o.moves ? l->plain.channels : 1;
        o.row = constant ? constant : v->rows;
        o.first = ((ptrdiff_t)r * (moves & MOVES_COLUMNS ? l->plain.columns : 1) + c) * channels
                  + (constant ? 0 : v->channel);
        o.step = moves & MOVES_COLUMNS ? channels : 0;
    } else {
        o.row = row_of(v, r);
        o.first = element_index(v, c);
        o.step = moves & MOVES_COLUMNS ? v->pitch : 0;
    }
    return o;
}

/* Whether the operand's values for consecutive channels of consecutive pixels follow one another, or are all one. */
static int low_bit_is_joined(const struct low_bit_operand *o, int32_t channels)
{
    return o->moves ? o->step == channels : o->step == 0;
}

static void load_operand(const struct low_bit_operand *o, int32_t pixel, int32_t done, int count, int16_t *to)
{
    ptrdiff_t at = o->first + pixel * o->step;
    if (o->moves) {
        load_values(o->row, o->bits, at + done, count, to);
        return;
    }
    load_values(o->row, o->bits, at, 1, to);
    for (int i = 1; i < count; i++)
        to[i] = to[0];
}

/* An operand at the common scale of both. */
static inline int32_t low_bit_raised(const struct low_bit_broadcast_layer *l, int32_t centred, int operand)
{
    int shift = l->plain.kind == BINARY_SQUARED_DIFFERENCE ? LOW_BIT_SQUARE_SHIFT : l->left_shift;
    return multiplied((int64_t)centred * (1 << shift), l->plain.multipliers[operand], l->plain.shifts[operand]);
}

static inline int32_t low_bit_combined(const struct low_bit_broadcast_layer *l, int32_t a, int32_t b)
{
    int32_t x = a - l->plain.zeros[0], y = b - l->plain.zeros[1], at = 2;
    int64_t result;
    switch (l->plain.kind) {
    case BINARY_MINIMUM:
        return at_most(a, b);
    case BINARY_MAXIMUM:
        return at_least(a, b);
    case BINARY_MUL:
        if (l->plain.shifts[0] <= 0)
            return multiplied_down(x * y, l->plain.multipliers[0], -l->plain.shifts[0]) + l->plain.zeros[2];
        result = x * y, at = 0;
        break;
    case BINARY_PRELU:
        result = x >= 0 ? x : x * y, at = x < 0;
        break;
    case BINARY_SQUARED_DIFFERENCE:
        result = (int64_t)low_bit_raised(l, x, 0) - low_bit_raised(l, y, 1);
        result *= result;
        break;
    default:
        y = low_bit_raised(l, y, 1);
        result = (int64_t)low_bit_raised(l, x, 0) + (l->plain.kind == BINARY_ADD ? y : -y);
    }
    return multiplied(result, l->plain.multipliers[at], l->plain.shifts[at]) + l->plain.zeros[2];
}

void low_bit_broadcast(const void *layer, const struct view *in, const struct view *out, const struct region *at,
                       uint8_t *scratch)
{
    const struct low_bit_broadcast_layer *l = layer;
    (void)scratch;
    for (int32_t row = at->top; row < at->bottom; row++) {
        struct low_bit_operand a = low_bit_operand_of(l, 0, &in[0], row, at->left);
        struct low_bit_operand b = low_bit_operand_of(l, 1, &in[l->plain.left ? 0 : 1], row, at->left);
        int joined = low_bit_is_joined(&a, l->plain.channels) && low_bit_is_joined(&b, l->plain.channels)
                     && out->pitch == l->plain.channels;
        int32_t pixels = joined ? 1 : at->right - at->left;
        int32_t count = joined ? (at->right - at->left) * l->plain.channels : l->plain.channels;
        uint8_t *to = row_of(out, row);
        for (int32_t done = 0; done < count; done += ELEMENTS_AT_ONCE) {
            int run = at_most(ELEMENTS_AT_ONCE, count - done);
            int16_t x[ELEMENTS_AT_ONCE], y[ELEMENTS_AT_ONCE];
            for (int32_t pixel = 0; pixel < pixels; pixel++) {
                load_operand(&a, pixel, done, run, x);
                if (pixel == 0 || b.step) /* else those of the pixel before */
                    load_operand(&b, pixel, done, run, y);
                for (int i = 0; i < run; i++)
                    x[i] = (int16_t)clamped(low_bit_combined(l, x[i], y[i]), l->plain.lowest, l->plain.highest);
                store_values(to, out->bits, element_index(out, at->left + pixel) + done, run, x);
            }
        }
    }
}
