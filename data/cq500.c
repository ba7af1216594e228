#include "data/cq500.h"
#include "data/file.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 2 + CQ500_READERS * CQ500_LABELS, NAME = 0, CATEGORY = 1, VOTES = 2, FIELD = 64 };
enum { LEAST_ROW = 2 * COLUMNS - 2 }; /* bytes: every vote is one, and commas between all */
static const size_t MAX_FILE = (size_t)64 << 20;

const char *const cq500_label[CQ500_LABELS] = {"ICH",
                                               "IPH",
                                               "IVH",
                                               "SDH",
                                               "EDH",
                                               "SAH",
                                               "BleedLocation-Left",
                                               "BleedLocation-Right",
                                               "ChronicBleed",
                                               "Fracture",
                                               "CalvarialFracture",
                                               "OtherFracture",
                                               "MassEffect",
                                               "MidlineShift"};

uint32_t cq500_majority(const uint8_t vote[CQ500_LABELS])
{
    uint32_t labels = 0;
    for (int l = 0; l < CQ500_LABELS; l++) labels |= (uint32_t)(2 * vote[l] > CQ500_READERS) << l;
    return labels;
}

uint32_t cq500_mirror(uint32_t labels)
{
    uint32_t left = labels >> CQ500_LEFT & 1, right = labels >> CQ500_RIGHT & 1;
    return (labels & ~(1u << CQ500_LEFT | 1u << CQ500_RIGHT)) | left << CQ500_RIGHT | right << CQ500_LEFT;
}

/* *end: what follows the number. */
static int read_number(const char *name, const char **end)
{
    int number = 0, digits = 0;
    if (strncmp(name, "CQ500", 5)) return -1;
    name += 5;
    name += *name == '-';
    if (strncmp(name, "CT", 2)) return -1;
    name += 2;
    name += *name == '-';
    for (; isdigit((unsigned char)*name) && digits < 7; name++, digits++) number = 10 * number + *name - '0';
    *end = name;
    return digits && number <= CQ500_MAX_NUMBER && !isalnum((unsigned char)*name) ? number : -1;
}

int cq500_number(const char *name)
{
    const char *end;
    return read_number(name, &end);
}

/* ---- comma-separated values ---- */

typedef struct Csv {
    const char *at, *end, *what;
    int line;
    Error *e;
    char field[FIELD]; /* the last one read */
} Csv;

static bool is_end(const Csv *c) { return c->at == c->end || *c->at == '\n'; }

static bool put(Csv *c, int column, size_t *n)
{
    unsigned char byte = (unsigned char)*c->at;
    if (byte < ' ' || byte == 127)
        return error_set(c->e, ERROR_INPUT, "%s: line %d: field %d holds byte 0x%02x", c->what, c->line,
                         column + 1, byte);
    if (*n == FIELD - 1)
        return error_set(c->e, ERROR_INPUT, "%s: line %d: field %d has more than %d bytes", c->what, c->line,
                         column + 1, FIELD - 1);
    c->field[(*n)++] = *c->at++;
    return true;
}

static bool read_quoted(Csv *c, int column, size_t *n)
{
    for (c->at++;;) {
        if (is_end(c))
            return error_set(c->e, ERROR_INPUT, "%s: line %d: field %d: no closing quote", c->what, c->line,
                             column + 1);
        if (*c->at == '"' && (c->at + 1 == c->end || *++c->at != '"')) break;
        if (!put(c, column, n)) return false;
    }
    c->at += c->at < c->end && *c->at == '"'; /* the last byte of the file */
    if (is_end(c) || *c->at == ',' || *c->at == '\r') return true;
    return error_set(c->e, ERROR_INPUT, "%s: line %d: field %d goes on after its closing quote", c->what,
                     c->line, column + 1);
}

/* The next field of the line; *last: the line ends after it. */
static bool read_field(Csv *c, int column, bool *last)
{
    size_t n = 0;
    if (c->at < c->end && *c->at == '"') {
        if (!read_quoted(c, column, &n)) return false;
    } else {
        while (!is_end(c) && *c->at != ',' && !(*c->at == '\r' && (c->at + 1 == c->end || c->at[1] == '\n'))) {
            if (*c->at == '"')
                return error_set(c->e, ERROR_INPUT, "%s: line %d: field %d: a quote inside a field", c->what,
                                 c->line, column + 1);
            if (!put(c, column, &n)) return false;
        }
    }
    c->field[n] = 0;
    if (c->at < c->end && *c->at == '\r') {
        c->at++;
        if (!is_end(c))
            return error_set(c->e, ERROR_INPUT, "%s: line %d: a carriage return inside the line", c->what,
                             c->line);
    }
    *last = is_end(c);
    c->at += c->at < c->end; /* the comma or the end of the line */
    return true;
}

/* Passes over empty lines; false at the end of the file. */
static bool next_line(Csv *c)
{
    while (c->at < c->end) {
        c->line++;
        if (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n') c->at++;
        if (*c->at != '\n') return true;
        c->at++;
    }
    return false;
}

/* ---- the header ---- */

/* NAME, CATEGORY, or VOTES + reader * CQ500_LABELS + label. */
static void column_name(int role, char out[FIELD])
{
    if (role < VOTES)
        snprintf(out, FIELD, "%s", role == NAME ? "name" : "Category");
    else
        snprintf(out, FIELD, "R%d:%s", (role - VOTES) / CQ500_LABELS + 1,
                 cq500_label[(role - VOTES) % CQ500_LABELS]);
}

static int role_of(const char *field)
{
    char name[FIELD];
    for (int role = 0; role < COLUMNS; role++) {
        column_name(role, name);
        if (!strcmp(field, name)) return role;
    }
    return -1;
}

static bool all_there(Csv *c, const bool *seen)
{
    char list[320] = "", name[FIELD];
    int missing = 0;
    for (int role = 0; role < COLUMNS; role++) {
        size_t at = strlen(list);
        if (seen[role]) continue;
        column_name(role, name);
        if (missing++ < 8) snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", name);
    }
    if (!missing) return true;
    char more[32] = "";
    if (missing > 8) snprintf(more, sizeof more, " and %d more", missing - 8);
    return error_set(c->e, ERROR_INPUT, "%s: line %d: missing: %s%s", c->what, c->line, list, more);
}

static bool read_header(Csv *c, int role[COLUMNS])
{
    bool seen[COLUMNS] = {0}, last = false;
    if (c->end - c->at >= 3 && !memcmp(c->at, "\xef\xbb\xbf", 3)) c->at += 3;
    if (!next_line(c))
        return error_set(c->e, ERROR_INPUT, "%s: empty, expected a line of column names", c->what);
    for (int k = 0; !last; k++) {
        if (!read_field(c, k, &last)) return false;
        int r = role_of(c->field);
        if (r < 0)
            return error_set(c->e, ERROR_INPUT,
                             "%s: line %d: column %d is \"%s\", expected name, Category or one like R1:ICH",
                             c->what, c->line, k + 1, c->field);
        if (seen[r])
            return error_set(c->e, ERROR_INPUT, "%s: line %d: column %s twice", c->what, c->line, c->field);
        seen[r] = true;
        role[k] = r;
    }
    return all_there(c, seen);
}

/* ---- the lines ---- */

static bool take(Csv *c, int role, Cq500Read *r)
{
    const char *f = c->field, *end = "";
    char name[FIELD];
    if (role == NAME) {
        r->number = read_number(f, &end);
        if (r->number >= 0 && !*end) return true;
        return error_set(c->e, ERROR_INPUT, "%s: line %d: name is \"%s\", expected one like CQ500-CT-12",
                         c->what, c->line, f);
    }
    if (role == CATEGORY) {
        r->batch = f[0] == 'B' && (f[1] == '1' || f[1] == '2') && !f[2] ? f[1] - '0' : 0;
        return r->batch || error_set(c->e, ERROR_INPUT, "%s: line %d: Category is \"%s\", expected B1 or B2",
                                     c->what, c->line, f);
    }
    if ((f[0] == '0' || f[0] == '1') && !f[1]) {
        if (f[0] == '1') r->vote[(role - VOTES) % CQ500_LABELS]++;
        return true;
    }
    column_name(role, name);
    return error_set(c->e, ERROR_INPUT, "%s: line %d: %s is \"%s\", expected 0 or 1", c->what, c->line, name,
                     f);
}

static bool read_row(Csv *c, const int role[COLUMNS], Cq500Read *r)
{
    bool last = false;
    int k = 0;
    *r = (Cq500Read){.line = c->line};
    while (!last) {
        if (!read_field(c, k, &last)) return false;
        if (k < COLUMNS && !take(c, role[k], r)) return false;
        k++;
    }
    return k == COLUMNS ||
           error_set(c->e, ERROR_INPUT, "%s: line %d: %d fields, expected %d", c->what, c->line, k, COLUMNS);
}

static int by_number(const void *a, const void *b)
{
    const Cq500Read *x = a, *y = b;
    return x->number != y->number ? (x->number > y->number) - (x->number < y->number) : x->line - y->line;
}

static bool read_rows(Csv *c, const int role[COLUMNS], Cq500Reads *r)
{
    while (next_line(c))
        if (!read_row(c, role, &r->read[r->n++])) return false;
    if (!r->n) return error_set(c->e, ERROR_INPUT, "%s: no studies after the column names", c->what);
    qsort(r->read, (size_t)r->n, sizeof *r->read, by_number);
    for (int i = 1; i < r->n; i++)
        if (r->read[i].number == r->read[i - 1].number)
            return error_set(c->e, ERROR_INPUT, "%s: lines %d and %d: study CQ500-CT-%d twice", c->what,
                             r->read[i - 1].line, r->read[i].line, r->read[i].number);
    return true;
}

bool cq500_reads_parse(const char *bytes, size_t n, const char *what, Cq500Reads *r, Error *e)
{
    Csv c = {.at = bytes, .end = bytes + n, .what = what, .e = e};
    Cq500Reads made = {0};
    int role[COLUMNS];
    if (n > MAX_FILE)
        return error_set(e, ERROR_INPUT, "%s: %zu bytes, expected at most %zu", what, n, MAX_FILE);
    if (!read_header(&c, role)) return false;
    made.read =
        malloc((n / LEAST_ROW + 2) * sizeof *made.read); /* one more: a short row, before it is refused */
    if (!made.read) return error_set(e, ERROR_MEMORY, "%s: no memory for its studies", what);
    if (!read_rows(&c, role, &made)) {
        free(made.read);
        return false;
    }
    *r = made;
    return true;
}

bool cq500_reads(const char *path, Cq500Reads *r, Error *e)
{
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, MAX_FILE, &bytes, &n, e)) return false;
    bool ok = cq500_reads_parse((const char *)bytes, n, path, r, e);
    free(bytes);
    return ok;
}

void cq500_reads_free(Cq500Reads *r)
{
    free(r->read);
    *r = (Cq500Reads){0};
}
