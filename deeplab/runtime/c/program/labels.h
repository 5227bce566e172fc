/* Writers of label maps as grey PNG or PGM, and of raw outputs, through a small buffer, without a copy of the image.
 *
 * PNG (W3C PNG specification, third edition): stored deflate blocks (RFC 1951, section 3.2.4) in a zlib stream (RFC
 * 1950), an IDAT chunk for each row. */
#ifndef LABELS_H
#define LABELS_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

#include "program/console.h"

struct sink {
    const char *file;
    int fd;
    int error;                  /* errno after a failure, else 0 */
    size_t used;
    uint32_t crc;               /* of the chunk (PNG, section 5.5) */
    uint32_t sum, sum_of_sums;  /* Adler-32 of the stored bytes (RFC 1950, section 8.2) */
    unsigned char bytes[1024];
};

static int open_sink(struct sink *s, const char *file)
{
    memset(s, 0, sizeof *s);
    s->file = file;
    s->sum = 1;
    s->fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    return s->fd < 0 ? refuse_errno(file, "cannot be written", errno, "a place to write to") : 0;
}

static void flush_sink(struct sink *s)
{
    if (!s->error)
        s->error = write_fully(s->fd, s->bytes, s->used);
    s->used = 0;
}

static void put_through(struct sink *s, const uint8_t *bytes, size_t size)
{
    flush_sink(s);
    if (!s->error)
        s->error = write_fully(s->fd, bytes, size);
}

/* Closes the file; removes one that could not be written in full. */
static int close_sink(struct sink *s)
{
    struct stat about_file;
    int is_file;
    flush_sink(s);
    is_file = fstat(s->fd, &about_file) == 0 && S_ISREG(about_file.st_mode);
    if (close(s->fd) && !s->error)
        s->error = errno;
    if (!s->error)
        return 0;
    if (is_file)
        unlink(s->file);
    return refuse_errno(s->file, "cannot be written", s->error, "room for all of it");
}

static void put(struct sink *s, unsigned byte)
{
    static const uint32_t by_nibble[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    s->crc ^= byte & 255;
    s->crc = by_nibble[s->crc & 15] ^ (s->crc >> 4);
    s->crc = by_nibble[s->crc & 15] ^ (s->crc >> 4);
    s->bytes[s->used++] = (unsigned char)byte;
    if (s->used == sizeof s->bytes)
        flush_sink(s);
}

/* Writes a byte inside a stored block. */
static void put_stored(struct sink *s, unsigned byte)
{
    s->sum = (s->sum + byte) % 65521;
    s->sum_of_sums = (s->sum_of_sums + s->sum) % 65521;
    put(s, byte);
}

static void put_32(struct sink *s, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        put(s, value >> shift);
}

static void put_text(struct sink *s, const char *text)
{
    while (*text)
        put(s, (unsigned char)*text++);
}

static void begin_chunk(struct sink *s, const char *type, uint32_t size)
{
    put_32(s, size);
    s->crc = 0xffffffff;
    put_text(s, type);
}

static void end_chunk(struct sink *s)
{
    put_32(s, s->crc ^ 0xffffffff);
}

static void begin_block(struct sink *s, int is_last, unsigned size)
{
    put(s, is_last != 0);
    put(s, size);
    put(s, size >> 8);
    put(s, ~size);
    put(s, ~size >> 8);
}

typedef uint8_t label_of_pixel(size_t pixel);

static void put_png(struct sink *s, int columns, int rows, label_of_pixel *label)
{
    put(s, 0x89);
    put_text(s, "PNG\r\n\x1a\n");
    begin_chunk(s, "IHDR", 13);
    put_32(s, (uint32_t)columns);
    put_32(s, (uint32_t)rows);
    put_text(s, "\x08"); /* bit depth; then colour type grey, deflate, filter method, no interlace: all 0 */
    put_32(s, 0);
    end_chunk(s);
    for (int row = 0; row < rows; row++) {
        int is_first = row == 0, is_last = row == rows - 1;
        begin_chunk(s, "IDAT", (uint32_t)columns + 11 + (is_first ? 2 : 0) + (is_last ? 4 : 0));
        if (is_first)
            put_text(s, "\x78\x01");
        begin_block(s, 0, 1); /* the filter type, None, is a block of its own, so that a row may fill one */
        put_stored(s, 0);
        begin_block(s, is_last, (unsigned)columns);
        for (int column = 0; column < columns; column++)
            put_stored(s, label((size_t)row * (size_t)columns + (size_t)column));
        if (is_last)
            put_32(s, (s->sum_of_sums << 16) | s->sum);
        end_chunk(s);
    }
    begin_chunk(s, "IEND", 0);
    end_chunk(s);
}

static void put_pgm(struct sink *s, int columns, int rows, label_of_pixel *label)
{
    struct line header;
    header.length = 0;
    say(&header, "P5 ");
    say_number(&header, (unsigned)columns);
    say(&header, " ");
    say_number(&header, (unsigned)rows);
    say(&header, " 255");
    for (size_t at = 0; at < header.length; at++)
        put(s, (unsigned char)header.text[at]);
    put(s, '\n');
    for (size_t pixel = 0; pixel < (size_t)columns * (size_t)rows; pixel++)
        put(s, label(pixel));
}

static int has_suffix(const char *file, const char *suffix)
{
    size_t length = strlen(file), tail = strlen(suffix);
    if (length <= tail)
        return 0;
    for (size_t at = 0; at < tail; at++) {
        char letter = file[length - tail + at];
        if ((letter >= 'A' && letter <= 'Z' ? letter + 'a' - 'A' : letter) != suffix[at])
            return 0;
    }
    return 1;
}

static int check_labels_name(const char *file)
{
    return has_suffix(file, ".png") || has_suffix(file, ".pgm")
        ? 0 : refuse(file, "is no name for a label map, expected one that ends in .png or .pgm");
}

static int write_labels(const char *file, int columns, int rows, label_of_pixel *label)
{
    struct sink s;
    if (open_sink(&s, file))
        return -1;
    (has_suffix(file, ".png") ? put_png : put_pgm)(&s, columns, rows, label);
    return close_sink(&s);
}

#endif
