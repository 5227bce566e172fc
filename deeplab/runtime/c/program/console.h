/* One-line messages by write(2): stdio would be the largest part of a small process. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

struct line {
    size_t length;
    char text[600];
};

static void say(struct line *to, const char *words)
{
    for (; *words && to->length < sizeof to->text - 1; words++) /* room for the newline */
        to->text[to->length++] = (unsigned char)*words < ' ' || *words == 127 ? '?' : *words;
}

static void say_number(struct line *to, unsigned long long value)
{
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    say(to, digits + at);
}

/* Writes all bytes, in several calls if necessary. Returns 0, or errno on failure. */
static int write_fully(int fd, const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    while (size) {
        ssize_t done = write(fd, from, size);
        if (done > 0) {
            from += done;
            size -= (size_t)done;
        } else if (done == 0 || errno != EINTR) {
            return done ? errno : EIO;
        }
    }
    return 0;
}

/* Writes the line with a newline, and empties it. */
static void show(int fd, struct line *from)
{
    from->text[from->length++] = '\n';
    write_fully(fd, from->text, from->length);
    from->length = 0;
}

/* A line that begins "network: FILE: ". */
static struct line about(const char *file)
{
    struct line to;
    to.length = 0;
    say(&to, "network: ");
    say(&to, file);
    say(&to, ": ");
    return to;
}

/* Prints a message about a file to stderr. Returns -1, the value of failure here. */
static int refuse(const char *file, const char *what)
{
    struct line to = about(file);
    say(&to, what);
    show(2, &to);
    return -1;
}

static int refuse_errno(const char *file, const char *what, int error, const char *expected)
{
    struct line to = about(file);
    say(&to, what);
    say(&to, " (");
    say(&to, strerror(error));
    say(&to, "), expected ");
    say(&to, expected);
    show(2, &to);
    return -1;
}

#endif
