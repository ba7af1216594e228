#include "tools/settings.h"
#include "data/file.h"
#include "tensor/utf8.h"
#include "tools/settings_parts.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_LENGTH = 4, TEXT_BYTES = 4000 };
#define VARIABLE "PCRL_TRAIN_"

static void *field(TrainOptions *o, const Setting *r) { return (char *)o + r->offset; }
static const void *const_field(const TrainOptions *o, const Setting *r) { return (const char *)o + r->offset; }

/* slot-steps -> slot_steps or SLOT_STEPS. */
static void name_key(const char *name, bool upper, char key[64])
{
    size_t i = 0;
    for (; name[i] && i < 63; i++) key[i] = name[i] == '-' ? '_' : (char)(upper ? toupper(name[i]) : name[i]);
    key[i] = 0;
}

/* ---- values ---- */

static void expected(const Setting *r, char *out, size_t room)
{
    switch (r->type) {
    case SETTING_INT: snprintf(out, room, "a whole number from %.0f to %.0f", r->low, r->high); break;
    case SETTING_NUMBER: snprintf(out, room, "a number from %g to %g", r->low, r->high); break;
    case SETTING_LIST: snprintf(out, room, "four whole numbers from %.0f to %.0f", r->low, r->high); break;
    case SETTING_FLAG: snprintf(out, room, "yes or no"); break;
    case SETTING_SIZE: snprintf(out, room, "a size such as 512M"); break;
    case SETTING_TEXT:
    case SETTING_CHOICE:
        if (r->choices)
            snprintf(out, room, "%s", r->choices);
        else
            snprintf(out, room, "UTF-8 of 1 to %d bytes", TEXT_BYTES);
    }
}

/* Which word of "a|b|c"; -1: none. */
static int word_index(const char *choices, const char *word)
{
    size_t n = strlen(word);
    for (int i = 0; n; i++) {
        size_t length = strcspn(choices, "|");
        if (length == n && !strncmp(choices, word, n)) return i;
        if (!choices[length]) break;
        choices += length + 1;
    }
    return -1;
}

static void set_int(const Setting *r, void *to, int64_t v)
{
    if (r->bytes == sizeof(int))
        *(int *)to = (int)v;
    else
        *(int64_t *)to = v;
}

static bool set_list(const Setting *r, const char *text, int64_t *to)
{
    double v[LIST_LENGTH];
    if (!cli_numbers(text, ',', LIST_LENGTH, v)) return false;
    for (int i = 0; i < LIST_LENGTH; i++)
        if (v[i] < r->low || v[i] > r->high || v[i] != floor(v[i])) return false;
    for (int i = 0; i < LIST_LENGTH; i++) to[i] = (int64_t)v[i];
    return true;
}

bool setting_from_text(const Setting *r, const char *text, void *to)
{
    int64_t i;
    int word;
    switch (r->type) {
    case SETTING_INT:
        if (!cli_int(text, (int64_t)r->low, (int64_t)r->high, &i)) return false;
        set_int(r, to, i);
        return true;
    case SETTING_NUMBER: return cli_number(text, r->low, r->high, to);
    case SETTING_TEXT:
        if (!*text || strlen(text) > TEXT_BYTES || utf8_valid_prefix(text, strlen(text)) < strlen(text))
            return false;
        if (r->choices && word_index(r->choices, text) < 0) return false;
        *(const char **)to = text;
        return true;
    case SETTING_CHOICE:
        word = word_index(r->choices, text);
        if (word >= 0) *(int *)to = word;
        return word >= 0;
    case SETTING_FLAG:
        word = word_index("no|yes|false|true|0|1", text);
        if (word >= 0) *(bool *)to = word & 1;
        return word >= 0;
    case SETTING_LIST: return set_list(r, text, to);
    case SETTING_SIZE: return cli_size(text, to);
    }
    return false;
}

static bool list_from_json(const Setting *r, const json_t *v, int64_t *to)
{
    if (!json_is_array(v) || json_array_size(v) != LIST_LENGTH) return false;
    int64_t x[LIST_LENGTH];
    for (size_t i = 0; i < LIST_LENGTH; i++) {
        const json_t *item = json_array_get(v, i);
        x[i] = json_integer_value(item);
        if (!json_is_integer(item) || (double)x[i] < r->low || (double)x[i] > r->high) return false;
    }
    memcpy(to, x, sizeof x);
    return true;
}

static bool from_json(const Setting *r, const json_t *v, void *to)
{
    int64_t i = json_integer_value(v);
    double x = json_number_value(v);
    switch (r->type) {
    case SETTING_INT:
        if (!json_is_integer(v) || i < (int64_t)r->low || i > (int64_t)r->high) return false;
        set_int(r, to, i);
        return true;
    case SETTING_NUMBER:
        if (!json_is_number(v) || x < r->low || x > r->high) return false;
        *(double *)to = x;
        return true;
    case SETTING_FLAG:
        if (json_is_boolean(v)) *(bool *)to = json_is_true(v);
        return json_is_boolean(v);
    case SETTING_LIST: return list_from_json(r, v, to);
    case SETTING_SIZE:
        if (json_is_integer(v) && i >= 0) *(uint64_t *)to = (uint64_t)i;
        if (json_is_integer(v)) return i >= 0;
        return json_is_string(v) && setting_from_text(r, json_string_value(v), to);
    case SETTING_TEXT:
        if (json_is_null(v) && !r->value) *(const char **)to = NULL;
        if (json_is_null(v)) return !r->value;
        return json_is_string(v) && setting_from_text(r, json_string_value(v), to);
    case SETTING_CHOICE: return json_is_string(v) && setting_from_text(r, json_string_value(v), to);
    }
    return false;
}

/* The shortest decimal that is read back as x. */
static void number_text(double x, char *out, size_t room)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, room, "%.*g", digits, x);
        if (strtod(out, NULL) == x) return;
    }
}

static void quoted(const char *text, size_t n, char *out, size_t room)
{
    json_t *s = json_stringn(text, n);
    char *dump = s ? json_text(s, JSON_ENCODE_ANY) : NULL;
    if (!dump) die("settings: out of host memory");
    snprintf(out, room, "%s", dump);
    free(dump);
    json_decref(s);
}

void setting_text(const Setting *r, const TrainOptions *o, char *out, size_t room)
{
    const void *from = const_field(o, r);
    const int64_t *list = from;
    const char *word = r->choices, *text;
    switch (r->type) {
    case SETTING_INT:
        snprintf(out, room, "%lld", r->bytes == sizeof(int) ? (long long)*(const int *)from : (long long)*list);
        break;
    case SETTING_NUMBER: number_text(*(const double *)from, out, room); break;
    case SETTING_SIZE: snprintf(out, room, "%llu", (unsigned long long)*(const uint64_t *)from); break;
    case SETTING_FLAG: snprintf(out, room, "%s", *(const bool *)from ? "true" : "false"); break;
    case SETTING_LIST:
        snprintf(out, room, "[%lld, %lld, %lld, %lld]", (long long)list[0], (long long)list[1],
                 (long long)list[2], (long long)list[3]);
        break;
    case SETTING_CHOICE:
        for (int i = *(const int *)from; i > 0; i--) word += strcspn(word, "|") + 1;
        quoted(word, strcspn(word, "|"), out, room);
        break;
    case SETTING_TEXT:
        text = *(const char *const *)from;
        if (text)
            quoted(text, strlen(text), out, room);
        else
            snprintf(out, room, "null");
    }
}

/* ---- sources ---- */

void settings_open(Settings *s)
{
    *s = (Settings){0};
    for (int i = 0; i < settings_count; i++) {
        const Setting *r = &settings_table[i];
        if (r->value && !setting_from_text(r, r->value, field(&s->train, r)))
            die("settings: %s: default %s is not allowed", r->name, r->value);
    }
}

void settings_close(Settings *s) { json_decref(s->file); }

/* Checks every value, also one that a stronger source overrules. */
static bool take(Settings *s, int row, const char *text, const json_t *value, SettingSource from)
{
    const Setting *r = &settings_table[row];
    TrainOptions kept = s->train;
    bool ok =
        value ? from_json(r, value, field(&s->train, r)) : setting_from_text(r, text, field(&s->train, r));
    if (!ok || s->from[row] > from)
        s->train = kept;
    else
        s->from[row] = from;
    return ok;
}

bool settings_set(Settings *s, int row, const char *text, SettingSource from, const char *what, Error *e)
{
    const Setting *r = &settings_table[row];
    char want[160];
    if (!text) text = r->type == SETTING_FLAG ? "yes" : "";
    if (take(s, row, text, NULL, from)) return true;
    expected(r, want, sizeof want);
    return error_set(e, ERROR_USAGE, "%s: expected %s, found '%.100s'", what, want, text);
}

static int find_key(const char *key, size_t n, bool upper)
{
    char name[64];
    for (int i = 0; i < settings_count; i++) {
        name_key(settings_table[i].name, upper, name);
        if (strlen(name) == n && !strncmp(name, key, n)) return i;
    }
    return -1;
}

bool settings_environment(Settings *s, char *const *variables, Error *e)
{
    const size_t prefix = sizeof VARIABLE - 1;
    for (; *variables; variables++) {
        if (strncmp(*variables, VARIABLE, prefix)) continue;
        size_t n = strcspn(*variables, "=");
        char what[96];
        snprintf(what, sizeof what, "%.*s", (int)n, *variables);
        int row = find_key(*variables + prefix, n - prefix, true);
        if (row < 0) return error_set(e, ERROR_USAGE, "%s: no setting of that name (see --help)", what);
        const char *text = (*variables)[n] ? *variables + n + 1 : "";
        if (!settings_set(s, row, text, FROM_ENVIRONMENT, what, e)) return false;
    }
    return true;
}

static bool file_key(Settings *s, const char *path, const char *key, const json_t *value, Error *e)
{
    if (!strcmp(key, "stage")) {
        if (!json_is_string(value))
            return error_set(e, ERROR_INPUT, "%s: key \"stage\": expected " STAGE_NAMES, path);
        if (!s->stage) s->stage = json_string_value(value);
        return true;
    }
    if (!strcmp(key, "version")) return true;
    int row = find_key(key, strlen(key), false);
    if (row < 0) return error_set(e, ERROR_INPUT, "%s: key \"%.80s\" is no setting (see --help)", path, key);
    if (take(s, row, NULL, value, FROM_FILE)) return true;
    char want[160];
    char *found = json_text(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10));
    expected(&settings_table[row], want, sizeof want);
    error_set(e, ERROR_INPUT, "%s: key \"%s\": expected %s, found %.100s", path, key,
              settings_table[row].type == SETTING_FLAG ? "true or false" : want, found ? found : "?");
    free(found);
    return false;
}

bool settings_file(Settings *s, const char *path, Error *e)
{
    const char *key;
    json_t *value;
    s->file = json_read(path, e);
    if (!s->file) return false;
    if (!json_is_object(s->file))
        return error_set(e, ERROR_INPUT, "%s: expected an object of settings, found something else", path);
    json_object_foreach(s->file, key, value) if (!file_key(s, path, key, value, e)) return false;
    return true;
}

bool settings_write(const Settings *s, const char *path, Error *e)
{
    FileWriter w;
    char key[64], text[SETTING_TEXT_ROOM];
    int stages = stage_bit(s->stage);
    if (!file_create(&w, path, e)) return false;
    fprintf(w.stream, "{\n  \"stage\": \"%s\",\n  \"version\": \"%s\"", s->stage, argp_program_version);
    for (int i = 0; i < settings_count; i++) {
        const Setting *r = &settings_table[i];
        if (!(r->stages & stages) || r->stages & STAGE_CALL) continue;
        name_key(r->name, false, key);
        setting_text(r, &s->train, text, sizeof text);
        fprintf(w.stream, ",\n  \"%s\": %s", key, text);
    }
    fputs("\n}\n", w.stream);
    return file_commit(&w, e);
}
