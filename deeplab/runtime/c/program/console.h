/* Messages of one line, by write(2) alone: stdio would be the largest thing in a small process. */
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
    for (; *words && to->length < sizeof to->text - 1; words++) /* room is kept for the line's end */
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

/* Writes bytes, however many pieces it takes; errno of a failure, else 0. */
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

/* Ends the line and shows it; it is empty again. */
static void show(int fd, struct line *from)
{
    from->text[from->length++] = '\n';
    write_fully(fd, from->text, from->length);
    from->length = 0;
}

/* "network: FILE: " */
static struct line about(const char *file)
{
    struct line to;
    to.length = 0;
    say(&to, "network: ");
    say(&to, file);
    say(&to, ": ");
    return to;
}

/* Says what is wrong with a file, and what was expected. Returns -1, as those who fail do. */
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
