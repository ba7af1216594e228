/* From an opcode to what runs it: by its whole spelling in the tables of rows, or by the first word for
 * families whose modifiers combine freely. What is in neither is an error. */
#include "tests/ptx/ptx_parse.h"
#include <string.h>

static const Row *const tables[] = {ptx_alu_rows, ptx_float_rows, ptx_warp_rows, ptx_matrix_rows,
                                    ptx_flow_rows};

static const struct {
    const char *name;
    Decode *decode;
} families[] = {{"ld", ptx_decode_ld},     {"st", ptx_decode_st},   {"atom", ptx_decode_atom},
                {"red", ptx_decode_red},   {"mov", ptx_decode_mov}, {"cvt", ptx_decode_cvt},
                {"setp", ptx_decode_setp}, {"set", ptx_decode_set}, {"cp", ptx_decode_cp}};

/* Spellings by hash, open addressing. */
enum { SLOTS = 4096 };
static struct {
    const char *spelling;
    int n;
    const Row *row;
} slots[SLOTS];
static bool filled;

static uint32_t slot(const char *s, int n)
{
    uint32_t h = 2166136261u;
    for (int i = 0; i < n; i++) h = (h ^ (uint8_t)s[i]) * 16777619u;
    h %= SLOTS;
    while (slots[h].row && (slots[h].n != n || memcmp(slots[h].spelling, s, (size_t)n))) h = (h + 1) % SLOTS;
    return h;
}

static void fill(void)
{
    int used = 0;
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const Row *r = tables[t]; r->spellings; r++)
            for (const char *s = r->spellings; *s;) {
                const int n = (int)strcspn(s, " ");
                const uint32_t h = slot(s, n);
                if (slots[h].row) ptx_die("two rows for %.*s", n, s);
                if (++used == SLOTS / 2) ptx_die("more spellings than slots");
                slots[h].spelling = s, slots[h].n = n, slots[h].row = r;
                s += n + (s[n] == ' ');
            }
    filled = true;
}

bool ptx_word(const Words *w, int i, const char *text)
{
    return i < w->count && ptx_same(w->at[i], w->n[i], text);
}

void ptx_decode(Parser *p, Ins *i, const char *opcode, int n)
{
    if (!filled) fill();
    const Row *r = slots[slot(opcode, n)].row;
    if (r) {
        i->run = r->run, i->flow = r->flow, i->members = r->members;
        ptx_operands(p, i, r->operands);
        return;
    }
    Words w = {.count = 0};
    int at = 0, first = 0;
    while (at <= n) {
        int length = 0;
        while (at + length < n && opcode[at + length] != '.') length++;
        if (at == 0) {
            first = length;
        } else {
            if (w.count == 12) break;
            w.at[w.count] = opcode + at, w.n[w.count++] = length;
        }
        at += length + 1;
    }
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        if (at > n && ptx_same(opcode, first, families[f].name)) {
            families[f].decode(p, i, &w);
            if (i->run) return;
        }
    ptx_refuse(p, "unknown opcode '%.*s'", n, opcode);
}
