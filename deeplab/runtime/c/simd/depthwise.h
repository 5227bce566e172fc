/* One pixel of a depthwise convolution, by vector instructions or in portable C. Each variant defines CHANNELS,
 * FEWEST_CHANNELS, `struct channels`, `open_channels`, `depthwise_pixel` and `depthwise_slide`; the last computes part
 * of a row where the variant has a faster form, and returns 0 where it has none. */
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
