/* NOINLINE: a function with a stack frame of its own, for which its callers pay only while they call it. */
#ifndef NOINLINE_H
#define NOINLINE_H

#if defined(__GNUC__)
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE
#endif

#endif
