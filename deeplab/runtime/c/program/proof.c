/* Runs a network on frames and reports the memory it wrote: `proof FRAMES OUTPUTS RUNS`. FRAMES holds input tensors one
 * after another; OUTPUTS receives the outputs of each. Prints one line of JSON.
 *
 * Each frame runs twice, with the arena and its guards filled with one pattern and then with another. A byte that is
 * never written keeps both patterns; any value written differs from at least one of them. The stack is measured in the
 * same way: each run has a stack of its own, filled with the pattern (not with PROOF_OWN_STACK 0, since memory checkers
 * reject a change of stacks). RUNS timed runs follow. */
#define _XOPEN_SOURCE 700
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if PROOF_OWN_STACK
#include <ucontext.h>
#endif

enum { STACK_BYTES = 1 << 18, GUARD_BYTES = NETWORK_GUARD_BYTES };

static const uint8_t patterns[2] = {0xA5, 0x5A};

struct findings {
    long high_water, stack;
    int guards_intact, outputs_equal;
};

static int stop(const char *what)
{
    fprintf(stderr, "proof: %s\n", what);
    return 2;
}

#if PROOF_OWN_STACK
static uint8_t own_stack[STACK_BYTES];
static ucontext_t here, there;
static uint8_t *volatile top; /* stack pointer of the caller of network_infer */
static const uint8_t *input;
static uint8_t *output;

/* Stores the stack pointer at the call, where it can be read (else this frame's address): all below is
 * network_infer's. */
static void enter(void)
{
    uint8_t mark;
    top = &mark;
#if defined(__x86_64__)
    __asm__ volatile("mov %%rsp, %0" : "=r"(top));
#elif defined(__arm__) || defined(__aarch64__)
    __asm__ volatile("mov %0, sp" : "=r"(top));
#endif
    network_infer(input, output);
    (void)top; /* prevents a tail call, which would free this frame before the jump */
}

/* Runs the network; returns the bytes of stack that it wrote below the frame of its caller. */
static long run_on_painted_stack(const uint8_t *frame, uint8_t *outputs, uint8_t pattern)
{
    long low = 0;
    input = frame;
    output = outputs;
    memset(own_stack, pattern, sizeof own_stack);
    getcontext(&there);
    there.uc_stack.ss_sp = own_stack;
    there.uc_stack.ss_size = sizeof own_stack;
    there.uc_link = &here;
    makecontext(&there, enter, 0);
    swapcontext(&here, &there);
    while (low < STACK_BYTES && own_stack[low] == pattern)
        low++;
    return (long)(top - own_stack) - low;
}
#else
static long run_on_painted_stack(const uint8_t *frame, uint8_t *outputs, uint8_t pattern)
{
    (void)pattern;
    network_infer(frame, outputs);
    return 0;
}
#endif

static void run_filled(const uint8_t *frame, uint8_t *outputs, uint8_t pattern, struct findings *found)
{
    uint8_t *arena = network_arena();
    long stack, high = NETWORK_ARENA_BYTES;
    memset(arena - GUARD_BYTES, pattern, GUARD_BYTES + (size_t)NETWORK_ARENA_BYTES + GUARD_BYTES);
    stack = run_on_painted_stack(frame, outputs, pattern);
    for (int at = 1; at <= GUARD_BYTES; at++)
        if (*(arena - at) != pattern || arena[NETWORK_ARENA_BYTES + at - 1] != pattern)
            found->guards_intact = 0;
    while (high > 0 && arena[high - 1] == pattern)
        high--;
    found->high_water = high > found->high_water ? high : found->high_water;
    found->stack = stack > found->stack ? stack : found->stack;
}

static void print_times(const uint8_t *frame, long runs)
{
    for (long run = 0; run < runs; run++) {
        struct timespec begun, ended;
        memcpy(network_frame(), frame, NETWORK_INPUT_BYTES);
        clock_gettime(CLOCK_MONOTONIC, &begun);
        network_run();
        clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("%s%.6f", run ? ", " : "",
               1e3 * (double)(ended.tv_sec - begun.tv_sec) + 1e-6 * (double)(ended.tv_nsec - begun.tv_nsec));
    }
}

int main(int count, char **arguments)
{
    static uint8_t frame[NETWORK_INPUT_BYTES], first[NETWORK_OUTPUT_BYTES], second[NETWORK_OUTPUT_BYTES];
    struct findings found = {0, 0, 1, 1};
    long frames = 0;
    FILE *in, *out;
    if (count != 4)
        return stop("give FRAMES OUTPUTS RUNS");
    in = fopen(arguments[1], "rb");
    out = fopen(arguments[2], "wb");
    if (in == NULL || out == NULL)
        return stop("cannot open FRAMES or OUTPUTS");
    for (; fread(frame, sizeof frame, 1, in) == 1; frames++) {
        run_filled(frame, first, patterns[0], &found);
        run_filled(frame, second, patterns[1], &found);
        if (memcmp(first, second, sizeof first) != 0)
            found.outputs_equal = 0;
        if (fwrite(first, sizeof first, 1, out) != 1)
            return stop("cannot write OUTPUTS");
    }
    if (frames == 0)
        return stop("FRAMES holds no whole input");
    printf("{\"frames\": %ld, \"high_water_bytes\": %ld, \"stack_bytes\": %ld, \"guards_intact\": %s, "
           "\"outputs_equal\": %s, \"milliseconds\": [", frames, found.high_water, found.stack,
           found.guards_intact ? "true" : "false", found.outputs_equal ? "true" : "false");
    print_times(frame, strtol(arguments[3], NULL, 10));
    printf("]}\n");
    return fclose(out) == 0 ? 0 : stop("cannot write OUTPUTS");
}
