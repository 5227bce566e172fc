/* Sixteen sub-byte elements at a time as signed bytes, by AVX2. */
#ifndef SIMD_ELEMENTS_H
#define SIMD_ELEMENTS_H

#include "simd/lanes.h"

enum { ELEMENTS_OF_VECTOR = 16, LEAST_VECTOR_BITS = 4 }; /* narrower ones fill less than 8 bytes */

#if defined(LANES_AVX512) || defined(LANES_AVX2)

/* `bytes` bytes, 8 to 16, by two loads that may overlap. */
INLINED __m128i bytes_at(const uint8_t *from, int bytes)
{
    uint64_t low, high;
    memcpy(&low, from, sizeof low);
    memcpy(&high, from + bytes - 8, sizeof high);
    return _mm_set_epi64x(bytes == 8 ? 0 : (int64_t)(high >> (128 - 8 * bytes)), (int64_t)low);
}

/* Loads elements that begin at bit `phase` of the first byte, 16 at a time; returns how many. An element is taken from
 * the 16 bits at its first byte: a product shifts it to the top, an arithmetic shift down again extends its sign. */
static inline int load_vectors(const uint8_t *from, int bits, int phase, int count, int8_t *to)
{
    const __m256i index = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m256i powers = _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0));
    __m256i first = _mm256_add_epi16(_mm256_mullo_epi16(index, _mm256_set1_epi16((int16_t)bits)),
                                     _mm256_set1_epi16((int16_t)phase));
    __m256i byte = _mm256_srli_epi16(first, 3);
    __m256i bytes = _mm256_add_epi16(_mm256_or_si256(byte, _mm256_slli_epi16(byte, 8)), _mm256_set1_epi16(0x0100));
    /* 2 ** (16 - bits - bit in byte), as 2 ** (7 - bit in byte) * 2 ** (9 - bits) */
    __m256i bit = _mm256_xor_si256(_mm256_and_si256(first, _mm256_set1_epi16(7)), _mm256_set1_epi16((int16_t)0x8007));
    __m256i power = _mm256_mullo_epi16(_mm256_shuffle_epi8(powers, bit), _mm256_set1_epi16((int16_t)(1 << (9 - bits))));
    int used = (phase + ELEMENTS_OF_VECTOR * bits + 7) >> 3, done = 0;
    const __m128i down = _mm_cvtsi32_si128(16 - bits);
    for (; done + ELEMENTS_OF_VECTOR <= count; done += ELEMENTS_OF_VECTOR, from += 2 * bits) {
        __m256i packed = _mm256_broadcastsi128_si256(bytes_at(from, used));
        __m256i values = _mm256_mullo_epi16(_mm256_shuffle_epi8(packed, bytes), power);
        values = _mm256_sra_epi16(values, down);
        values = _mm256_permute4x64_epi64(_mm256_packs_epi16(values, values), 0xD8);
        _mm_storeu_si128((__m128i *)(void *)(to + done), _mm256_castsi256_si128(values));
    }
    return done;
}

#else

static inline int load_vectors(const uint8_t *from, int bits, int phase, int count, int8_t *to)
{
    (void)from, (void)bits, (void)phase, (void)count, (void)to;
    return 0;
}

#endif
#endif
