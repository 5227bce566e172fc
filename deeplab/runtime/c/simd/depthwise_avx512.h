/* A pixel of a depthwise convolution by AVX-512 VNNI: 64 channels.
 *
 * The bytes of four taps are interleaved, so that one instruction multiplies and adds four taps of 16 channels. Quarter
 * q of vector v then holds channels 16 q + 4 v to 16 q + 4 v + 3; the constants have the same layout, and packing the
 * results restores the order. Inputs are made unsigned as in simd/dot_avx512.h. */
#ifndef DEPTHWISE_AVX512_H
#define DEPTHWISE_AVX512_H

enum { CHANNELS = 64, FEWEST_CHANNELS = 1, TAP_GROUPS = TAPS / 4 };

struct channels {
    __m512i weights[TAP_GROUPS][4];
    __m512i start[4];
    struct lane_scaling scaling[4];
    const struct scaling *sum_scaling;
    __mmask64 mask;
    enum scaling_path path;
    int first, left, groups, signs;
    int8_t padding[CHANNELS];
};

/* Four taps of 64 channels, interleaved. */
INLINED void interleaved(__m512i a, __m512i b, __m512i c, __m512i d, __m512i *to)
{
    __m512i low = _mm512_unpacklo_epi8(a, b), high = _mm512_unpackhi_epi8(a, b);
    __m512i low_too = _mm512_unpacklo_epi8(c, d), high_too = _mm512_unpackhi_epi8(c, d);
    to[0] = _mm512_unpacklo_epi16(low, low_too);
    to[1] = _mm512_unpackhi_epi16(low, low_too);
    to[2] = _mm512_unpacklo_epi16(high, high_too);
    to[3] = _mm512_unpackhi_epi16(high, high_too);
}

/* Vector v, in the layout above, of int32 constants of 64 channels, of which the first `left` exist. */
static __m512i quarters(const int32_t *values, int v, int left)
{
    __m128i part[4];
    for (int q = 0; q < 4; q++) {
        int count = clamped(left - 16 * q - 4 * v, 0, 4);
        part[q] = _mm_maskz_loadu_epi32((__mmask8)((1u << count) - 1), values + 16 * q + 4 * v);
    }
    __m512i all = _mm512_inserti32x4(_mm512_castsi128_si512(part[0]), part[1], 1);
    return _mm512_inserti32x4(_mm512_inserti32x4(all, part[2], 2), part[3], 3);
}

static void open_channels(struct channels *b, const struct taps *t, int first)
{
    const struct depthwise_layer *l = t->layer;
    int left = at_most(CHANNELS, l->out_channels - first);
    __m512i total[4], taps[4], shifts[4];
    b->mask = left == 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
    b->first = first;
    b->left = left;
    b->groups = t->slots / 4;
    b->sum_scaling = &t->scaling;
    b->signs = l->lowest < l->out_zero;
    memset(b->padding, l->in_zero, sizeof b->padding);
    for (int v = 0; v < 4; v++)
        total[v] = _mm512_setzero_si512();
    for (int group = 0; group < b->groups; group++) {
        for (int i = 0; i < 4; i++) {
            int tap = t->by_column ? i * l->filter_columns + group : 4 * group + i;
            taps[i] = tap < t->count
                ? _mm512_maskz_loadu_epi8(b->mask, t->weights + (ptrdiff_t)tap * l->out_channels + first)
                : _mm512_setzero_si512();
        }
        interleaved(taps[0], taps[1], taps[2], taps[3], b->weights[group]);
        for (int v = 0; v < 4; v++)
            total[v] = _mm512_dpbusd_epi32(total[v], _mm512_set1_epi8((char)0x80), b->weights[group][v]);
    }
    /* exponents are bytes: interleaved like the taps, then sign-extended */
    __m512i bytes = l->per_channel ? _mm512_maskz_loadu_epi8(b->mask, l->shifts + first)
                                   : _mm512_set1_epi8(l->shifts[0]);
    interleaved(bytes, bytes, bytes, bytes, shifts);
    b->path = FAST_PATH;
    for (int v = 0; v < 4; v++) {
        __m512i bias = quarters(l->bias + first, v, left);
        __m512i mantissas = l->per_channel ? quarters(l->multipliers + first, v, left)
                                           : _mm512_set1_epi32(l->multipliers[0]);
        shifts[v] = _mm512_srai_epi32(shifts[v], 24);
        b->start[v] = _mm512_sub_epi32(bias, total[v]);
        b->scaling[v] = lane_scaling_of(mantissas, shifts[v], l->out_zero);
        enum scaling_path path = scaling_path_of(bias, shifts[v], t->slots, &t->scaling);
        b->path = path > b->path ? path : b->path;
    }
}

INLINED __m512i tap_values(const int8_t *from, __mmask64 mask, const int whole)
{
    __m512i values = whole ? _mm512_loadu_si512(from) : _mm512_maskz_loadu_epi8(mask, from);
    return _mm512_xor_si512(values, _mm512_set1_epi8((char)0x80));
}

INLINED void sum_taps(const struct channels *b, const int8_t *const *from, __m512i *sums, const int groups,
                      const int whole)
{
    __m512i x[4];
    for (int v = 0; v < 4; v++)
        sums[v] = b->start[v];
    for (int group = 0; group < groups; group++) {
        interleaved(tap_values(from[4 * group], b->mask, whole), tap_values(from[4 * group + 1], b->mask, whole),
                    tap_values(from[4 * group + 2], b->mask, whole), tap_values(from[4 * group + 3], b->mask, whole),
                    x);
        for (int v = 0; v < 4; v++)
            sums[v] = _mm512_dpbusd_epi32(sums[v], x[v], b->weights[group][v]);
    }
}

INLINED void write_depthwise(const struct channels *b, __m512i packed, int8_t *to, const int whole)
{
    __m512i values = clamped_lanes(packed, b->sum_scaling);
    if (whole)
        _mm512_storeu_si512(to, values);
    else
        _mm512_mask_storeu_epi8(to, b->mask, values);
}

INLINED void depthwise_pixel_of(const struct channels *b, const int8_t *const *from, int8_t *to, const int groups,
                                const int whole, const int signs)
{
    const struct lane_scaling *s = b->scaling;
    __m512i sums[4];
    sum_taps(b, from, sums, groups, whole);
    write_depthwise(b, packed_lanes(scaled_lanes(sums[0], &s[0], signs), scaled_lanes(sums[1], &s[1], signs),
                                scaled_lanes(sums[2], &s[2], signs), scaled_lanes(sums[3], &s[3], signs)), to, whole);
}

static void depthwise_pixel_slow_path(const struct channels *b, const int8_t *const *from, int8_t *to)
{
    const struct lane_scaling *s = b->scaling;
    __m512i sums[4];
    sum_taps(b, from, sums, b->groups, 0);
    if (b->path == GENERAL_PATH) {
        write_depthwise(b, packed_general(scaled_general(sums[0], &s[0]), scaled_general(sums[1], &s[1]),
                                          scaled_general(sums[2], &s[2]), scaled_general(sums[3], &s[3]),
                                          b->sum_scaling), to, 0);
        return;
    }
    for (int v = 0; v < 4; v++) {
        int32_t plain[16];
        _mm512_storeu_si512(plain, sums[v]);
        for (int q = 0; q < 4; q++) {
            int first = 16 * q + 4 * v, count = clamped(b->left - first, 0, 4);
            scale_sums(b->sum_scaling, plain + 4 * q, b->first + first, count, to + first);
        }
    }
}

static inline void depthwise_pixel(const struct channels *b, const int8_t *const *from, int8_t *to)
{
    if (b->path != FAST_PATH)
        depthwise_pixel_slow_path(b, from, to);
    else if (b->groups == 3 && b->left == CHANNELS && b->signs)
        depthwise_pixel_of(b, from, to, 3, 1, 1);
    else if (b->groups == 3 && b->left == CHANNELS)
        depthwise_pixel_of(b, from, to, 3, 1, 0);
    else if (b->groups == 3)
        depthwise_pixel_of(b, from, to, 3, 0, 1);
    else
        depthwise_pixel_of(b, from, to, b->groups, 0, 1);
}

/* A row of a 3 by 3 filter with column stride 1: each input column is interleaved once and added to the sums of the
 * three outputs that read it. With dilation d, every d-th output is computed in one pass. */
INLINED void slide(const struct channels *b, const struct taps *t, int32_t row, int32_t left, int32_t right,
                   int8_t *to, ptrdiff_t to_step, const int whole, const int signs)
{
    const struct depthwise_layer *l = t->layer;
    const struct lane_scaling *s = b->scaling;
    const int8_t *lines[3];
    ptrdiff_t pitch[3];
    for (int y = 0; y < 3; y++) {
        const int8_t *line = line_under(t, row, y);
        lines[y] = line ? line + b->first : b->padding;
        pitch[y] = line ? t->in->pitch : 0;
    }
    __m512i older[4], newer[4];
    UNROLLED for (int v = 0; v < 4; v++)
        older[v] = newer[v] = b->start[v];
    int32_t step = l->dilation_columns, column = left - l->before_columns, end = right - l->before_columns + 2 * step;
    for (int32_t ready = column + 2 * step; column < end; column += step) {
        __m512i x[4], sums[4], values[3];
        int inside = column >= 0 && column < l->in_columns;
        UNROLLED for (int y = 0; y < 3; y++)
            values[y] = tap_values(inside ? lines[y] + column * pitch[y] : b->padding, b->mask, whole);
        interleaved(values[0], values[1], values[2], values[2], x);
        UNROLLED for (int v = 0; v < 4; v++) {
            sums[v] = _mm512_dpbusd_epi32(older[v], x[v], b->weights[2][v]);
            older[v] = _mm512_dpbusd_epi32(newer[v], x[v], b->weights[1][v]);
            newer[v] = _mm512_dpbusd_epi32(b->start[v], x[v], b->weights[0][v]);
        }
        if (column < ready)
            continue;
        write_depthwise(b, packed_lanes(scaled_lanes(sums[0], &s[0], signs), scaled_lanes(sums[1], &s[1], signs),
                                        scaled_lanes(sums[2], &s[2], signs), scaled_lanes(sums[3], &s[3], signs)),
                        to, whole);
        to += to_step;
    }
}

static inline int depthwise_slide(const struct channels *b, const struct taps *t, int32_t row, int32_t left, int32_t right,
                           int8_t *to, int pitch)
{
    const struct depthwise_layer *l = t->layer;
    int step = l->dilation_columns;
    if (l->filter_rows != 3 || l->filter_columns != 3 || l->stride_columns != 1 || b->path != FAST_PATH)
        return 0;
    for (int32_t first = left; first < at_most(left + step, right); first++, to += pitch) {
        ptrdiff_t to_step = step * (ptrdiff_t)pitch;
        if (b->left < CHANNELS)
            slide(b, t, row, first, right, to, to_step, 0, 1);
        else if (b->signs)
            slide(b, t, row, first, right, to, to_step, 1, 1);
        else
            slide(b, t, row, first, right, to, to_step, 1, 0);
    }
    return 1;
}

#endif
