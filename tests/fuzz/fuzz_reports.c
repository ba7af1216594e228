/* A list of reports. One that is understood is written as lines and read again as it was. */
#include "data/json.h"
#include "data/report_list.h"
#include "tests/fuzz/fuzz.h"

static void write_lines(const ReportList *l, FILE *f)
{
    for (int i = 0; i < l->n; i++) {
        json_t *o = json_pack("{s:s, s:s}", "id", l->id[i], "report", l->text[i]);
        if (!o || json_dumpf(o, f, 0)) die("report %d cannot be written", i);
        fputc('\n', f);
        json_decref(o);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    ReportList l, again;
    char *input = malloc(n ? n : 1), *text = NULL; /* not one byte more, so that reading behind it is found */
    size_t length;
    memcpy(input, bytes, n);
    bool ok = report_list_parse(input, n, "input", &l, &e);
    free(input);
    if (!ok) {
        fuzz_refused(&e);
        return 0;
    }
    int64_t keys = l.counts.other_keys;
    for (int i = 0; i < l.counts.n_keys; i++) keys += l.counts.key[i].n;
    if (l.counts.reports != l.n || l.counts.empty > l.n || keys < 0) die("wrong counts");
    FILE *f = open_memstream(&text, &length);
    write_lines(&l, f);
    fclose(f);
    if (!report_list_parse(text, length, "again", &again, &e)) die("does not survive writing: %s", e.msg);
    if (again.n != l.n || again.counts.empty != l.counts.empty) die("%d reports became %d", l.n, again.n);
    for (int i = 0; i < l.n; i++)
        if (strcmp(l.id[i], again.id[i]) || strcmp(l.text[i], again.text[i]) ||
            report_list_find(&l, again.id[i]) != i)
            die("report %d became another", i);
    report_list_free(&again);
    report_list_free(&l);
    free(text);
    return 0;
}
