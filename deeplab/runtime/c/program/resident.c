/* Runs a command and prints its resident memory: `resident PROGRAM ARGUMENTS`. Linux.
 *
 * The program is stopped as it exits, while its memory is still mapped, and /proc/PID/smaps is printed: the resident
 * pages of each mapping. The last line is "peak N", the kernel's high-water mark in kB; the exit status is the
 * program's. This launcher must be small, because the high-water mark of a child includes its parent's size at the
 * fork. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void print_maps(pid_t child)
{
    char name[32], bytes[4096];
    ssize_t count;
    int file;
    snprintf(name, sizeof name, "/proc/%d/smaps", (int)child);
    file = open(name, O_RDONLY);
    while (file >= 0 && (count = read(file, bytes, sizeof bytes)) > 0)
        if (write(1, bytes, (size_t)count) != count)
            break;
    if (file >= 0)
        close(file);
}

int main(int count, char **arguments)
{
    struct rusage usage;
    int status = 0, number;
    pid_t child;
    if (count < 2)
        return 125;
    child = fork();
    if (child == 0) {
        number = open("/dev/null", O_WRONLY);
        dup2(number, 1);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        execv(arguments[1], arguments + 1);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child)
        return 125;
    if (WIFSTOPPED(status))
        ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(long)(PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL));
    while (WIFSTOPPED(status)) {
        int is_exit = status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXIT << 8));
        int number_to_pass = WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
        if (is_exit)
            print_maps(child);
        ptrace(PTRACE_CONT, child, NULL, (void *)(long)number_to_pass);
        if (wait4(child, &status, 0, &usage) != child)
            return 125;
    }
    dprintf(1, "peak %ld\n", usage.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
