/* The inner product of a few pixels with blocks of 16 output channels: by the instructions that the compiler may use,
 * or in portable C. Each variant has `struct block`, `open_block` and `dot_tile`. */
#ifndef DOT_H
#define DOT_H

#include "lanes.h"

#if defined(LANES_AVX512)
enum { PIXELS = 8 };
#else
enum { PIXELS = 4 };
#endif

#include "walk.h"

#if defined(LANES_AVX512)
#include "dot_avx512.h"
#elif defined(LANES_AVX2)
#include "dot_avx2.h"
#elif defined(LANES_SSE2)
#include "dot_sse2.h"
#elif defined(LANES_NEON)
#include "dot_neon.h"
#else
#include "dot_portable.h"
#endif

#endif
