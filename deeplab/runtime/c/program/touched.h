/* Measures the memory that a run writes: the arena, the guards around it, and the stack. */
#ifndef TOUCHED_H
#define TOUCHED_H

#include <signal.h>
#include <stdint.h>

#include "program/console.h"

#define PAINT 0xC7
#define PROOF_STACK_BYTES (1 << 18)

struct proof {
    size_t highest;      /* one past the last byte of the arena that a run changed */
    size_t outside;      /* bytes changed in the guards before and after it */
    uint64_t outputs[2]; /* checksum of all outputs, for each run */
    size_t stack;        /* deepest, bytes, of the second run: the first binds lazily linked functions */
};

static uint8_t proof_stack[PROOF_STACK_BYTES];
static size_t proof_stack_top;

/* Runs the network on a stack of known address: that of a signal handler. */
static void run_on_proof_stack(int number)
{
    uint8_t here = (uint8_t)number;
    volatile uint8_t *at = &here;
    proof_stack_top = (size_t)(at - proof_stack);
    network_run();
}

static int run_on_painted_stack(size_t *deepest)
{
    struct sigaction action;
    stack_t other;
    size_t at = 0;
    memset(&action, 0, sizeof action);
    memset(&other, 0, sizeof other);
    memset(proof_stack, PAINT, sizeof proof_stack);
    other.ss_sp = proof_stack;
    other.ss_size = sizeof proof_stack;
    action.sa_handler = run_on_proof_stack;
    action.sa_flags = SA_ONSTACK;
    if (sigaltstack(&other, NULL) || sigaction(SIGUSR1, &action, NULL) || raise(SIGUSR1))
        return refuse_errno("--proof", "a stack of its own cannot be had", errno, "a POSIX system");
    while (at < proof_stack_top && proof_stack[at] == PAINT)
        at++;
    *deepest = proof_stack_top - at;
    return 0;
}

/* FNV-1a, 64 bits. */
static uint64_t checksum_of_outputs(void)
{
    uint64_t sum = 0xcbf29ce484222325u;
    for (int index = 0; index < NETWORK_OUTPUTS; index++) {
        const uint8_t *bytes = network_output(index);
        for (int32_t at = 0; at < network_output_bytes(index); at++)
            sum = (sum ^ bytes[at]) * 0x100000001b3u;
    }
    return sum;
}

static size_t changed(const uint8_t *from, size_t size, int fill)
{
    size_t count = 0;
    for (size_t at = 0; at < size; at++)
        count += from[at] != fill;
    return count;
}

/* One of the two runs, in an arena filled with `fill`; `read` reads the image into it. A byte written with the value of
 * the fill is detected by the other run, whose fill is different. */
static int prove_run(struct proof *found, int run, int fill, int (*read)(const char *), const char *file)
{
    uint8_t *arena = network_arena(), *behind = arena + NETWORK_ARENA_BYTES;
    size_t at = NETWORK_ARENA_BYTES;
    memset(arena - NETWORK_GUARD_BYTES, fill, (size_t)NETWORK_ARENA_BYTES + 2 * NETWORK_GUARD_BYTES);
    if (read(file) || run_on_painted_stack(&found->stack))
        return -1;
    while (at > found->highest && arena[at - 1] == fill)
        at--;
    found->highest = at;
    found->outside += changed(arena - NETWORK_GUARD_BYTES, NETWORK_GUARD_BYTES, fill);
    found->outside += changed(behind, NETWORK_GUARD_BYTES, fill);
    found->outputs[run] = checksum_of_outputs();
    return 0;
}

static void say_bytes(const char *what, unsigned long long bytes, const char *more)
{
    struct line to;
    to.length = 0;
    say(&to, what);
    say_number(&to, bytes);
    say(&to, more);
    show(1, &to);
}

/* Returns 0 if all is as planned, 1 if not, -1 if the image cannot be read. */
static int prove(int (*read)(const char *), const char *file)
{
    struct proof found;
    int is_equal;
    memset(&found, 0, sizeof found);
    if (prove_run(&found, 0, 0xA5, read, file) || prove_run(&found, 1, 0x5A, read, file))
        return -1;
    is_equal = found.outputs[0] == found.outputs[1];
    say_bytes("arena:   ", NETWORK_ARENA_BYTES, " bytes planned");
    say_bytes("touched: ", found.highest, " bytes, up to the highest that two runs wrote");
    say_bytes("outside: ", found.outside, " bytes written, of the guards before and behind it");
    say_bytes("outputs: ", NETWORK_OUTPUT_BYTES, is_equal ? " bytes, equal whatever the arena held before"
                                                          : " bytes, NOT EQUAL: they depend on what the arena held");
    say_bytes("stack:   ", found.stack, " bytes at the deepest");
    return !(is_equal && found.outside == 0);
}

#endif
