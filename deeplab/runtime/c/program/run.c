/* Runs the tables of a network: sections, tiles, calls. */
#include "program/kernels.h"
#include "program/noinline.h"

static struct view view_of(const struct operand *p, const interval *rows, const interval *columns,
                           uint8_t *arena, uint8_t *frame)
{
    struct view v;
    int32_t width = p->columns;
    v.rows = (p->location == EXTERNAL ? frame : arena) + p->offset;
    v.ring = p->ring_rows ? arena + p->ring_offset : NULL;
    v.top = v.left = 0;
    v.ring_rows = p->ring_rows;
    v.pitch = p->pitch;
    v.channel = p->channel;
    v.bits = p->bits;
    if (p->location == TILE || p->location == RING) {
        v.top = p->location == RING ? INT32_MAX : rows[p->span][0];
        v.left = columns[p->span][0];
        width = columns[p->span][1] - columns[p->span][0];
    }
    v.row_bytes = (int32_t)(((int64_t)width * p->pitch * p->bits + 7) / 8);
    return v;
}

/* Only concatenations of many inputs have more than FEW_OPERANDS operands. Their views are on the stack of a function
 * of its own, which is not inlined, so that other calls do not pay for it. */
static inline void run_call(const struct call *c, struct view *views, const interval *rows,
                            const interval *columns, uint8_t *arena, uint8_t *frame)
{
    struct region at = {rows[c->span][0], rows[c->span][1], columns[c->span][0], columns[c->span][1]};
    if (at.top >= at.bottom || at.left >= at.right)
        return;
    for (int i = 0; i < c->reads + c->writes; i++)
        views[i] = view_of(&c->operands[i], rows, columns, arena, frame);
    c->run(c->layer, views, views + c->reads, &at, c->scratch < 0 ? NULL : arena + c->scratch);
}

NOINLINE static void run_few(const struct call *c, const interval *rows, const interval *columns,
                          uint8_t *arena, uint8_t *frame)
{
    struct view views[FEW_OPERANDS];
    run_call(c, views, rows, columns, arena, frame);
}

NOINLINE static void run_many(const struct call *c, const interval *rows, const interval *columns,
                           uint8_t *arena, uint8_t *frame)
{
    struct view views[MOST_OPERANDS];
    run_call(c, views, rows, columns, arena, frame);
}

static void run_tile(const struct section *s, int row_tile, int column_tile, uint8_t *arena, uint8_t *frame)
{
    const interval *rows = s->rows + (size_t)row_tile * s->spans;
    const interval *columns = s->columns + (size_t)column_tile * s->spans;
    for (int index = 0; index < s->call_count; index++) {
        const struct call *c = &s->calls[index];
        if (c->reads + c->writes <= FEW_OPERANDS)
            run_few(c, rows, columns, arena, frame);
        else
            run_many(c, rows, columns, arena, frame);
    }
}

void run_sections(const struct section *sections, int count, uint8_t *arena, uint8_t *frame)
{
    for (int index = 0; index < count; index++) {
        const struct section *s = &sections[index];
        int tiles = s->row_tiles * s->column_tiles;
        for (int tile = 0; tile < tiles; tile++) {
            if (s->rows_outermost)
                run_tile(s, tile / s->column_tiles, tile % s->column_tiles, arena, frame);
            else
                run_tile(s, tile % s->row_tiles, tile / s->row_tiles, arena, frame);
        }
    }
}
