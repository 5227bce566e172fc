/* Readers of binary PPM and PGM images (netpbm's ppm(5), pgm(5)) and raw tensors, straight into the input buffer. */
#ifndef IMAGE_H
#define IMAGE_H

#include <fcntl.h>
#include <stdint.h>

#include "program/console.h"

struct source {
    const char *file;
    int fd;
    int error;      /* errno after a failure, else 0 */
    size_t at, end; /* of the bytes in `ahead` */
    unsigned char ahead[256];
};

static int open_source(struct source *s, const char *file, const char *expected)
{
    s->file = file;
    s->error = 0;
    s->at = s->end = 0;
    s->fd = open(file, O_RDONLY);
    return s->fd < 0 ? refuse_errno(file, "cannot be opened", errno, expected) : 0;
}

/* Reads up to `most` bytes; returns 0 at the end of the file or on failure. */
static size_t read_some(struct source *s, unsigned char *to, size_t most)
{
    ssize_t done;
    do
        done = read(s->fd, to, most);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        s->error = errno;
    return done < 0 ? 0 : (size_t)done;
}

/* The next byte, -1 at the end of the file or on failure. */
static int next_byte(struct source *s)
{
    if (s->at == s->end) {
        s->at = 0;
        s->end = read_some(s, s->ahead, sizeof s->ahead);
        if (!s->end)
            return -1;
    }
    return s->ahead[s->at++];
}

/* Reads exactly `size` bytes. Returns 0, or -1 with a message. */
static int read_fully(struct source *s, unsigned char *to, size_t size)
{
    size_t done = s->end - s->at, some;
    struct line wrong;
    if (done > size)
        done = size;
    memcpy(to, s->ahead + s->at, done);
    s->at += done;
    while (done < size && (some = read_some(s, to + done, size - done)) > 0)
        done += some;
    if (done == size)
        return 0;
    if (s->error)
        return refuse_errno(s->file, "cannot be read", s->error, "a file of data");
    wrong = about(s->file);
    say(&wrong, "ends after ");
    say_number(&wrong, done);
    say(&wrong, " bytes of data, expected ");
    say_number(&wrong, size);
    show(2, &wrong);
    return -1;
}

/* The next byte of a header; a comment is read as the line end after it. */
static int next_of_header(struct source *s)
{
    int byte = next_byte(s);
    if (byte == '#')
        while (byte >= 0 && byte != '\n' && byte != '\r')
            byte = next_byte(s);
    return byte;
}

static int is_space(int byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

#define LARGEST_NUMBER 99999999 /* larger than any image dimension; the arithmetic cannot overflow */

/* A decimal number after white space, -1 if there is none. `byte`: the byte before it; on return the byte after it. */
static long header_number(struct source *s, int *byte)
{
    long value = 0;
    if (!is_space(*byte))
        return -1;
    while (is_space(*byte))
        *byte = next_of_header(s);
    if (*byte < '0' || *byte > '9')
        return -1;
    for (; *byte >= '0' && *byte <= '9'; *byte = next_of_header(s)) {
        value = 10 * value + (*byte - '0');
        if (value > LARGEST_NUMBER)
            return -1;
    }
    return value;
}

static int refuse_size(const char *file, long columns, long rows, int want_columns, int want_rows)
{
    struct line wrong = about(file);
    say(&wrong, "is ");
    say_number(&wrong, (unsigned long)columns);
    say(&wrong, " x ");
    say_number(&wrong, (unsigned long)rows);
    say(&wrong, " pixels, expected ");
    say_number(&wrong, (unsigned)want_columns);
    say(&wrong, " x ");
    say_number(&wrong, (unsigned)want_rows);
    say(&wrong, " (width x height); scale it to that size");
    show(2, &wrong);
    return -1;
}

static int refuse_maxval(const char *file, long maxval)
{
    struct line wrong = about(file);
    say(&wrong, "has maxval ");
    say_number(&wrong, (unsigned long)maxval);
    say(&wrong, ", expected 255");
    show(2, &wrong);
    return -1;
}

/* Reads a header and checks that it describes exactly this image: P6 for three channels, P5 for one. */
static int read_header(struct source *s, int columns, int rows, int channels)
{
    long found_columns, found_rows, maxval;
    int byte, is_magic = next_byte(s) == 'P' && next_byte(s) == (channels == 3 ? '6' : '5');
    if (s->error)
        return refuse_errno(s->file, "cannot be read", s->error, "an image");
    if (!is_magic)
        return refuse(s->file, channels == 3 ? "is no binary PPM, expected it to begin with P6"
                                             : "is no binary PGM, expected it to begin with P5");
    byte = next_of_header(s);
    found_columns = header_number(s, &byte);
    found_rows = found_columns < 0 ? -1 : header_number(s, &byte);
    maxval = found_rows < 0 ? -1 : header_number(s, &byte);
    if (maxval < 0 || !is_space(byte))
        return refuse(s->file, "has a broken header, expected width, height and maxval as decimal numbers up to 99999999");
    if (found_columns != columns || found_rows != rows)
        return refuse_size(s->file, found_columns, found_rows, columns, rows);
    return maxval == 255 ? 0 : refuse_maxval(s->file, maxval);
}

/* Reads an image of exactly this size to `to`, (rows, columns, channels). `is_signed`: 128 is subtracted, for int8. */
static int read_image(const char *file, uint8_t *to, int columns, int rows, int channels, int is_signed)
{
    size_t size = (size_t)columns * (size_t)rows * (size_t)channels;
    struct source s;
    int failed;
    if (open_source(&s, file, "an image"))
        return -1;
    failed = read_header(&s, columns, rows, channels) || read_fully(&s, to, size);
    close(s.fd);
    for (size_t at = 0; is_signed && !failed && at < size; at++)
        to[at] ^= 0x80;
    return failed ? -1 : 0;
}

/* Reads a file of exactly `size` bytes. */
static int read_raw(const char *file, uint8_t *to, size_t size)
{
    struct source s;
    int failed;
    if (open_source(&s, file, "a file of the input's bytes"))
        return -1;
    failed = read_fully(&s, to, size);
    if (!failed && next_byte(&s) >= 0) {
        struct line wrong = about(file);
        say(&wrong, "goes on after ");
        say_number(&wrong, size);
        say(&wrong, " bytes of data, expected it to end there");
        show(2, &wrong);
        failed = -1;
    }
    close(s.fd);
    return failed;
}

#endif
