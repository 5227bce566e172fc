/* Runs a network on an ARM Cortex-M without an operating system, and reports the memory it wrote.
 *
 * By semihosting, frames are read from the file `frames`, outputs written to `outputs` and `found` to `findings`.
 * Each frame runs twice, arena and stack filled with one pattern and then with another, as in `proof.c`. The stack and
 * variables of this code are outside the network's memory. */
#include "network.h"

#include <stddef.h>

enum { READ_ONLY = 1, WRITE_ONLY = 5, GUARD_BYTES = 4096 };
enum { SYS_OPEN = 0x01, SYS_CLOSE = 0x02, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { APPLICATION_EXIT = 0x20026, NO_FILES = 2, NO_FRAMES = 3, FAULT = 4 };

extern uint8_t network_stack[], network_stack_top[], bench_stack_top[];
void reset(void);
int run_on_stack(int (*call)(void), uint8_t *top);

static struct {
    uint32_t frames, high_water, stack, guards_intact, outputs_equal;
} found;
static uint8_t first[NETWORK_OUTPUT_BYTES];

static long request(long number, const void *arguments)
{
    register long r0 __asm__("r0") = number;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void leave(long status)
{
    long block[2] = {APPLICATION_EXIT, status};
    for (;;)
        request(SYS_EXIT_EXTENDED, block);
}

static long open_file(const char *name, long length, long mode)
{
    long block[3] = {(long)name, mode, length};
    return request(SYS_OPEN, block);
}

/* Reads or writes; returns the number of bytes NOT transferred, as semihosting does. */
static long move(long number, long file, void *bytes, long size)
{
    long block[3] = {file, (long)bytes, size};
    return request(number, block);
}

static void fill(uint8_t *from, size_t size, uint8_t pattern)
{
    for (volatile uint8_t *at = from; size--; at++)
        *at = pattern;
}

static uint32_t largest(uint32_t a, uint32_t b) { return a > b ? a : b; }

static void run_filled(long file, uint8_t pattern)
{
    uint8_t *arena = network_arena();
    uint32_t high = NETWORK_ARENA_BYTES, low = 0, room = (uint32_t)(network_stack_top - network_stack);
    fill(network_stack, room, pattern);
    fill(arena, NETWORK_ARENA_BYTES + GUARD_BYTES, pattern);
    if (move(SYS_READ, file, network_frame(), NETWORK_INPUT_BYTES))
        leave(NO_FRAMES);
    run_on_stack(network_run, network_stack_top);
    for (int at = 0; at < GUARD_BYTES; at++)
        if (arena[NETWORK_ARENA_BYTES + at] != pattern)
            found.guards_intact = 0;
    while (high > 0 && arena[high - 1] == pattern)
        high--;
    while (low < room && network_stack[low] == pattern)
        low++;
    found.high_water = largest(found.high_water, high);
    found.stack = largest(found.stack, room - low);
}

/* Copies the outputs to `to`, or compares them with it; returns whether they are equal. */
static int outputs_are(uint8_t *to, int copies)
{
    int equal = 1;
    for (int index = 0; index < NETWORK_OUTPUTS; index++) {
        const uint8_t *bytes = network_output(index);
        for (int32_t at = 0; at < network_output_bytes(index); at++, to++) {
            if (copies)
                *to = bytes[at];
            equal &= *to == bytes[at];
        }
    }
    return equal;
}

static void run_all(void)
{
    long frames = open_file("frames", 6, READ_ONLY), again = open_file("frames", 6, READ_ONLY);
    long outputs = open_file("outputs", 7, WRITE_ONLY), findings = open_file("findings", 8, WRITE_ONLY);
    if (frames < 0 || again < 0 || outputs < 0 || findings < 0)
        leave(NO_FILES);
    found.guards_intact = found.outputs_equal = 1;
    for (uint32_t count = FRAME_COUNT; count--;) {
        run_filled(frames, 0xA5);
        outputs_are(first, 1);
        run_filled(again, 0x5A);
        found.outputs_equal &= (uint32_t)outputs_are(first, 0);
        move(SYS_WRITE, outputs, first, sizeof first);
        found.frames++;
    }
    move(SYS_WRITE, findings, &found, sizeof found);
    request(SYS_CLOSE, &findings);
    request(SYS_CLOSE, &outputs);
    leave(0);
}

/* Calls a function on the stack that ends at `top`. */
__attribute__((naked)) int run_on_stack(int (*call)(void), uint8_t *top)
{
    (void)call, (void)top;
    __asm__ volatile("push {r4, lr}\n mov r4, sp\n mov sp, r1\n blx r0\n mov sp, r4\n pop {r4, pc}");
}

static void set(uint32_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}

/* Makes the memory protection unit fault on accesses below the stack: the emulator ignores writes to unmapped
 * memory. */
static void forbid_below_stack(void)
{
    enum { LOG2_BYTES = 20, SIZE_FIELD = (LOG2_BYTES - 1) << 1, NEVER_EXECUTED = 1 << 28, ENABLE = 1, ELSE_ALLOWED = 4 };
    set(0xE000ED98, 0);                                              /* MPU_RNR */
    set(0xE000ED9C, (uint32_t)network_stack - (1u << LOG2_BYTES));   /* MPU_RBAR */
    set(0xE000EDA0, NEVER_EXECUTED | SIZE_FIELD | ENABLE);           /* MPU_RASR: no access */
    set(0xE000ED94, ELSE_ALLOWED | ENABLE);                          /* MPU_CTRL */
}

void reset(void)
{
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: enables the floating-point unit */
    forbid_below_stack();
    __asm__ volatile("dsb\n isb");
    fill((uint8_t *)&found, sizeof found, 0);
    run_all();
}

__attribute__((used)) static void leave_faulted(void)
{
    leave(FAULT);
}

/* After a stack overflow nothing can be pushed to the network's stack, so the handler returns to the bench's. */
__attribute__((naked)) static void fault(void)
{
    __asm__ volatile("ldr r0, =bench_stack_top\n mov sp, r0\n b leave_faulted");
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    bench_stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault,
};
