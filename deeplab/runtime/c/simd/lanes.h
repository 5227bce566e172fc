/* The vector instructions that the kernels use, by the compiler's predefined macros; PORTABLE_KERNELS turns them off.
 *
 * kernels.c contains each header at its first inclusion, so headers that several variants share are included outside
 * the conditions. */
#ifndef LANES_H
#define LANES_H

#include "int8/scaling.h"

#if defined(PORTABLE_KERNELS)
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define LANES_AVX512
#include "simd/lanes_avx512.h"
#elif defined(__AVX2__)
#define LANES_AVX2
#include "simd/lanes_avx2.h"
#elif defined(__SSE2__)
#define LANES_SSE2
#elif defined(__ARM_NEON)
#define LANES_NEON
#include "simd/lanes_neon.h"
#elif defined(__ARM_FEATURE_SIMD32)
#define LANES_SIMD32
#include "simd/lanes_simd32.h"
#endif

#endif
