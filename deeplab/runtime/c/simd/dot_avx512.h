/* Inner products by AVX-512 VNNI: 8 pixels with up to 48 output channels, the sums in registers.
 *
 * VPDPBUSD multiplies unsigned bytes by signed ones: x + 128 is x with its top bit flipped, so 128 times the sum of the
 * kernel is subtracted from the initial value of each sum. 32-bit sums wrap around, so the result is exact. */
#ifndef DOT_AVX512_H
#define DOT_AVX512_H

struct block { /* constants of the channels of up to three blocks */
    const int8_t *weights;
    int channel, count, lanes;   /* first channel; blocks; channels of a block */
    __m512i start[BLOCKS];
    struct lane_scaling scaling[BLOCKS];
    enum scaling_path path[BLOCKS];
};

/* How many of the remaining output channels are computed together. */
static int channels_at_once(int channels)
{
    int blocks = channels / LANES;
    return blocks == 0 ? channels : LANES * (blocks == 2 || blocks == 4 ? 2 : at_most(blocks, BLOCKS));
}

INLINED __m512i four_of(const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

static void open_block(struct block *b, const struct walk *w, int channel, int channels, const int8_t *weights)
{
    const struct convolution_layer *l = w->layer;
    int groups = w->groups;
    channels = channels_at_once(channels);
    b->channel = channel;
    b->lanes = at_most(channels, LANES);
    b->count = (channels + LANES - 1) / LANES;
    b->weights = weights;
    __mmask16 mask = first_lanes(b->lanes);
    for (int i = 0; i < b->count; i++) {
        int first = channel + i * LANES;
        __m512i sum = _mm512_setzero_si512(), mantissas, shifts;
        for (int group = 0; group < groups; group++, weights += b->lanes * GROUP) /* the blocks follow one another */
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8((char)0x80), _mm512_maskz_loadu_epi32(mask, weights));
        __m512i bias = _mm512_maskz_loadu_epi32(mask, l->bias + first);
        b->start[i] = _mm512_sub_epi32(bias, sum);
        if (l->per_channel) {
            mantissas = _mm512_maskz_loadu_epi32(mask, l->multipliers + first);
            shifts = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, l->shifts + first));
        } else {
            mantissas = _mm512_set1_epi32(l->multipliers[0]);
            shifts = _mm512_set1_epi32(l->shifts[0]);
        }
        b->path[i] = scaling_path_of(bias, shifts, groups * GROUP, &w->scaling);
        b->scaling[i] = lane_scaling_of(mantissas, shifts, l->out_zero);
    }
}

/* Clamps and writes 16 channels of 4 pixels; quarter q of `packed` holds channels 4 q to 4 q + 3 of each pixel. */
INLINED void store_four(const struct walk *w, __m512i packed, int8_t *out, int pixels, __mmask16 mask)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i values = clamped_lanes(_mm512_permutexvar_epi32(order, packed), &w->scaling);
    ptrdiff_t step = w->out_step;
    if (pixels >= 4 && mask == 0xFFFF) {
        _mm_storeu_si128((__m128i *)(void *)out, _mm512_castsi512_si128(values));
        _mm_storeu_si128((__m128i *)(void *)(out + step), _mm512_extracti32x4_epi32(values, 1));
        _mm_storeu_si128((__m128i *)(void *)(out + 2 * step), _mm512_extracti32x4_epi32(values, 2));
        _mm_storeu_si128((__m128i *)(void *)(out + 3 * step), _mm512_extracti32x4_epi32(values, 3));
        return;
    }
    for (int pixel = 0; pixel < at_most(pixels, 4); pixel++) {
        _mm_mask_storeu_epi8(out + pixel * step, mask, _mm512_castsi512_si128(values));
        values = _mm512_shuffle_i32x4(values, values, 0x39);
    }
}

/* Requantizes by FAST_PATH and writes 16 channels of 4 pixels. */
INLINED void finish_four(const struct walk *w, const struct lane_scaling *s, const __m512i *sums, int8_t *out,
                         int pixels, __mmask16 mask, const int signs)
{
    store_four(w, packed_lanes(scaled_lanes(sums[0 * BLOCKS], s, signs), scaled_lanes(sums[1 * BLOCKS], s, signs),
                               scaled_lanes(sums[2 * BLOCKS], s, signs), scaled_lanes(sums[3 * BLOCKS], s, signs)),
               out, pixels, mask);
}

/* The same by the other paths. */
static void finish_slow_path(const struct block *b, const struct walk *w, int i, const __m512i *sums, int8_t *out,
                          int pixels)
{
    if (b->path[i] == GENERAL_PATH) {
        const struct lane_scaling *s = &b->scaling[i];
        store_four(w, packed_general(scaled_general(sums[0], s), scaled_general(sums[1], s), scaled_general(sums[2], s),
                                  scaled_general(sums[3], s), &w->scaling), out, pixels, first_lanes(b->lanes));
        return;
    }
    for (int pixel = 0; pixel < at_most(pixels, 4); pixel++) {
        int32_t plain[LANES];
        _mm512_storeu_si512(plain, sums[pixel]);
        scale_sums(&w->scaling, plain, b->channel + i * LANES, b->lanes, out + pixel * (ptrdiff_t)w->out_step);
    }
}

/* A tile of `pixels` pixels by `count` blocks; the last pixel is computed again in place of missing ones. */
INLINED void dot_tile_of(const struct block *b, struct walk *w, int8_t *out, int pixels, const int count,
                         const int whole, const int signs)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const __mmask16 mask = whole ? 0xFFFF : first_lanes(b->lanes);
    const ptrdiff_t step = whole ? LANES * GROUP : b->lanes * GROUP;
    const ptrdiff_t stride = (ptrdiff_t)w->groups * GROUP * LANES;
    const int8_t *weights = b->weights;
    __m512i sums[PIXELS * BLOCKS];
    UNROLLED for (int pixel = 0; pixel < PIXELS; pixel++)
        UNROLLED for (int i = 0; i < count; i++)
            sums[pixel * BLOCKS + i] = b->start[i];
    for (int part = 0; part < w->parts; part++) {
        const int8_t *at[PIXELS];
        int groups = part_of(w, part, at);
        for (int group = 0; group < groups; group++) {
            __m512i wide[BLOCKS];
            UNROLLED for (int i = 0; i < count; i++)
                wide[i] = whole ? _mm512_loadu_si512(weights + i * stride)
                                : _mm512_maskz_loadu_epi32(mask, weights + i * stride);
            UNROLLED for (int pixel = 0; pixel < PIXELS; pixel++) {
                __m512i x = _mm512_xor_si512(four_of(at[pixel] + group * GROUP), flip);
                UNROLLED for (int i = 0; i < count; i++)
                    sums[pixel * BLOCKS + i] = _mm512_dpbusd_epi32(sums[pixel * BLOCKS + i], x, wide[i]);
            }
            weights += step;
        }
    }
    UNROLLED for (int i = 0; i < count; i++) {
        UNROLLED for (int half = 0; half < 2; half++) {
            const __m512i *four = sums + half * 4 * BLOCKS + i;
            int8_t *to = out + half * 4 * (ptrdiff_t)w->out_step + i * LANES;
            if (pixels <= half * 4)
                break;
            if (b->path[i] == FAST_PATH) {
                finish_four(w, &b->scaling[i], four, to, pixels - half * 4, mask, signs);
            } else {
                __m512i copy[4] = {four[0], four[BLOCKS], four[2 * BLOCKS], four[3 * BLOCKS]};
                finish_slow_path(b, w, i, copy, to, pixels - half * 4);
            }
        }
    }
}

static void dot_tile(const struct block *b, struct walk *w, int8_t *out, int pixels)
{
    if (w->scaling.lowest < w->scaling.out_zero) {
        if (b->count == 3)
            dot_tile_of(b, w, out, pixels, 3, 1, 1);
        else if (b->count == 2)
            dot_tile_of(b, w, out, pixels, 2, 1, 1);
        else
            dot_tile_of(b, w, out, pixels, 1, 0, 1);
    } else {
        if (b->count == 3)
            dot_tile_of(b, w, out, pixels, 3, 1, 0);
        else if (b->count == 2)
            dot_tile_of(b, w, out, pixels, 2, 1, 0);
        else
            dot_tile_of(b, w, out, pixels, 1, 0, 0);
    }
}

#endif
