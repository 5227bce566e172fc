/* The entries of a table of 256 bytes for a run of bytes, by vector instructions where they are faster. */
#ifndef TABLE_LANES_H
#define TABLE_LANES_H

#include "simd/lanes.h"

#if defined(LANES_AVX512) && defined(__AVX512VBMI__)

static void look_up_run(const uint8_t *entries, const uint8_t *from, uint8_t *to, int32_t count)
{
    const __m512i a = _mm512_loadu_si512(entries), b = _mm512_loadu_si512(entries + 64);
    const __m512i c = _mm512_loadu_si512(entries + 128), d = _mm512_loadu_si512(entries + 192);
    for (int32_t first = 0; first < count; first += 64) {
        __mmask64 mask = count - first >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (count - first)) - 1;
        __m512i at = _mm512_maskz_loadu_epi8(mask, from + first);
        __m512i low = _mm512_permutex2var_epi8(a, at, b), high = _mm512_permutex2var_epi8(c, at, d);
        _mm512_mask_storeu_epi8(to + first, mask, _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(at), high));
    }
}

#else

static void look_up_run(const uint8_t *entries, const uint8_t *from, uint8_t *to, int32_t count)
{
    int32_t first = 0;
#if defined(LANES_AVX2)
    for (; first + 32 <= count; first += 32) {
        __m256i at = _mm256_loadu_si256((const __m256i *)(const void *)(from + first)), found = _mm256_setzero_si256();
        for (int k = 0; k < 16; k++) { /* indices of other sixteenths get bit 7, for which the shuffle gives 0 */
            __m128i part = _mm_loadu_si128((const __m128i *)(const void *)(entries + 16 * k));
            __m256i index = _mm256_xor_si256(at, _mm256_set1_epi8((char)(16 * k)));
            index = _mm256_adds_epu8(index, _mm256_set1_epi8(0x70));
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(part), index));
        }
        _mm256_storeu_si256((__m256i *)(void *)(to + first), found);
    }
#elif defined(LANES_NEON) && defined(__aarch64__)
    const uint8x16x4_t a = vld1q_u8_x4(entries), b = vld1q_u8_x4(entries + 64);
    const uint8x16x4_t c = vld1q_u8_x4(entries + 128), d = vld1q_u8_x4(entries + 192);
    const uint8x16_t quarter = vdupq_n_u8(64);
    for (; first + 16 <= count; first += 16) { /* indices beyond a quarter of the table leave what was found before */
        uint8x16_t at = vld1q_u8(from + first), found = vqtbl4q_u8(a, at);
        at = vsubq_u8(at, quarter);
        found = vqtbx4q_u8(found, b, at);
        at = vsubq_u8(at, quarter);
        found = vqtbx4q_u8(found, c, at);
        vst1q_u8(to + first, vqtbx4q_u8(found, d, vsubq_u8(at, quarter)));
    }
#endif
    for (; first < count; first++)
        to[first] = entries[from[first]];
}

#endif

#endif
