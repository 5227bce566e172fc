/* The sums of one pixel of a depthwise convolution, by the instructions that the compiler may use, or in portable C.
 * Each variant has CHANNELS, FEWEST_CHANNELS, `struct channels`, `open_channels` and `depthwise_pixel`;
 * `depthwise_slide` computes part of a row where it knows a faster way. */
#ifndef DEPTHWISE_LANES_H
#define DEPTHWISE_LANES_H

#include "simd/lanes.h"
#if defined(LANES_AVX512)
enum { TAP_GROUP = 4 };
#elif defined(LANES_AVX2) || defined(LANES_NEON)
enum { TAP_GROUP = 2 };
#else
enum { TAP_GROUP = 1 };
#endif

#include "int8/taps.h"

#if defined(LANES_AVX512)
#include "simd/depthwise_avx512.h"
#elif defined(LANES_AVX2)
#include "simd/depthwise_avx2.h"
#elif defined(LANES_NEON)
#include "simd/depthwise_neon.h"
#else
#include "simd/depthwise_portable.h"
#endif

#endif
