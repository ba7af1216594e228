/* Curves and page of a run folder: what is drawn is what was logged, at its place; every file is well-formed
 * and nothing in log or settings can break out of it; a damaged log names its line. */
#include "data/file.h"
#include "tests/tools/run.h"
#include "tools/curves.h"
#include "tools/markup.h"
#include "tools/run_page.h"
#include <check.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/pcrl-run-XXXXXX", log_path[64], settings_path[64], svg_path[64], page_path[64];

static char *read_text(const char *path)
{
    uint8_t *bytes;
    size_t n;
    Error e = {0};
    ck_assert_msg(file_read(path, 64 << 20, &bytes, &n, &e), "%s", e.msg);
    return (char *)bytes;
}

static void write_text(const char *path, const char *text)
{
    ck_assert(file_write(path, text, strlen(text), NULL));
}

/* NULL, or what is wrong: tags that do not nest, attributes without quotes, a stray '<' or '&', a control. */
static const char *fault_of(const char *p)
{
    char open[32][24];
    int depth = 0;
    bool root = false;
    if (!strncmp(p, "<!DOCTYPE html>", 15)) p += 15;
    while (*p) {
        if ((unsigned char)*p < 0x20 && !strchr("\t\n\r", *p)) return p;
        if (*p == '&') {
            size_t n = strcspn(p, ";<\" ");
            if (p[n] != ';' || (strncmp(p, "&lt;", 4) && strncmp(p, "&gt;", 4) && strncmp(p, "&amp;", 5) &&
                                strncmp(p, "&quot;", 6) && strncmp(p, "&#39;", 5)))
                return p;
        }
        if (*p != '<') {
            if (!depth && !isspace((unsigned char)*p)) return p;
            p++;
            continue;
        }
        bool close = p[1] == '/';
        const char *tag = p, *name = p + 1 + close;
        size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
        if (!n || n > 23 || (!depth && root)) return p;
        root = true;
        for (p = name + n; *p && *p != '>';) {
            while (isspace((unsigned char)*p)) p++;
            if (*p == '>' || (*p == '/' && p[1] == '>')) {
                p += *p == '/';
                break;
            }
            p += strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:");
            if (close || p[0] != '=' || p[1] != '"') return tag;
            for (p += 2; *p && *p != '"'; p++)
                if (*p == '<') return tag;
            if (*p++ != '"') return tag;
        }
        if (*p != '>') return tag;
        if (close) {
            if (!depth-- || strncmp(open[depth], name, n) || open[depth][n]) return tag;
        } else if (p[-1] != '/') {
            if (depth == 32) return tag;
            snprintf(open[depth++], sizeof open[0], "%.*s", (int)n, name);
        }
        p++;
    }
    return depth || !root ? p : NULL;
}

static void expect_well_formed(const char *text)
{
    const char *at = fault_of(text);
    ck_assert_msg(!at, "not well-formed at: %.80s", at);
}

static int count(const char *text, const char *needle)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, needle)); p++) n++;
    return n;
}

/* Writes the log, makes both files, checks them; the svg, the caller's. *page: the page, or NULL. */
static char *make(const char *log, char **page)
{
    Error e = {0};
    write_text(log_path, log);
    ck_assert_msg(run_page_write(folder, &e), "%s", e.msg);
    char *svg = read_text(svg_path), *html = read_text(page_path);
    expect_well_formed(svg);
    expect_well_formed(html);
    ck_assert_int_eq(count(html, " src=\"") + count(html, " href=\"") + count(html, "url(") +
                         count(html, "@import") + count(html, "<script"),
                     0);
    if (page)
        *page = html;
    else
        free(html);
    return svg;
}

START_TEST(checker)
{
    static const char *const bad[] = {
        "",         "text",          "<a>",          "<a></b>",      "<a><b></a></b>", "<a x=1/>", "<a x=\"1/>",
        "<a>&</a>", "<a>&nbsp;</a>", "<a>1 < 2</a>", "<a x=\"<\"/>", "<a>\x01</a>",    "<a/><b/>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) ck_assert_msg(fault_of(bad[i]), "%s", bad[i]);
    ck_assert(!fault_of("<!DOCTYPE html>\n<a x=\"1\" y=\"'\"><b/>t &lt; u<c d=\"e\" /></a>\n"));
}
END_TEST

START_TEST(numbers)
{
    char out[MARKUP_ROOM];
    static const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {{0.07061, 4, "0.07061"}, {1200, 4, "1200"},     {2e-5, 4, "2e-5"},
                 {3.14e12, 4, "3.14e12"}, {0, 4, "0"},           {-1e-100, 4, "-1e-100"},
                 {0.1 * 3, 10, "0.3"},    {123456, 4, "1.235e5"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_str_eq(markup_number(cases[i].value, cases[i].digits, out), cases[i].text);
    ck_assert_str_eq(markup_duration(8.24, out), "8.2 s");
    ck_assert_str_eq(markup_duration(59.97, out), "1 min 00 s");
    ck_assert_str_eq(markup_duration(686, out), "11 min 26 s");
    ck_assert_str_eq(markup_duration(3599.7, out), "1 h 00 min");
    ck_assert_str_eq(markup_duration(7500, out), "2 h 05 min");
    ck_assert_str_eq(markup_duration(3.59999999e9, out), "1000000 h 00 min");
    ck_assert_str_eq(markup_duration(1e100, out), "over 1000000 h");
}
END_TEST

START_TEST(empty)
{
    char *page, *svg = make("", &page);
    ck_assert(strstr(svg, "No line in log.jsonl yet"));
    ck_assert(strstr(page, "No line in log.jsonl yet"));
    free(svg);
    free(page);
    svg = make("{\"stage\": \"a\", \"st", NULL); /* cut at once */
    ck_assert(strstr(svg, "No line in log.jsonl yet"));
    free(svg);
}
END_TEST

START_TEST(one_line)
{
    char *page, *svg = make("{\"stage\": \"a\", \"step\": 0, \"loss\": 3}\n", &page);
    ck_assert_int_eq(count(svg, "class=\"panel\""), 1);
    ck_assert(strstr(svg, "d=\"M58.0,101.0\"") && strstr(svg, "aria-label=\"a, loss, training from 3 to 3\""));
    ck_assert(strstr(page, "step 0</p>") && !strstr(page, "class=\"bar\"") && !strstr(page, "Settings"));
    free(svg);
    free(page);
}
END_TEST

/* Plot area: x 58 to 288, y 160 (low) to 42 (high); room of 5 % above, and below where 0 is not the low end. */
START_TEST(places)
{
    char *svg = make("{\"stage\": \"a\", \"step\": 50, \"loss\": 0.25, \"lr\": 1}\n"
                     "{\"stage\": \"a\", \"step\": 100, \"loss\": 1, \"lr\": 0.01}\n"
                     "{\"stage\": \"a\", \"step\": 200, \"loss\": 0.5, \"lr\": 0.001}\n"
                     "{\"stage\": \"a\", \"step\": 200, \"validation\": true, \"loss\": 0.75}\n",
                     NULL);
    char expected[160];
    double h = 118 / 1.05;
    snprintf(expected, sizeof expected, "class=\"line\" d=\"M115.5,%.1f 173.0,%.1f 288.0,%.1f\"", 160 - h / 4,
             160 - h, 160 - h / 2);
    ck_assert_msg(strstr(svg, expected), "%s\n%s", expected, svg);
    snprintf(expected, sizeof expected,
             "class=\"v\" cx=\"288.0\" cy=\"%.1f\" r=\"2.6\"><title>step 200: 0.75</title>", 160 - h * 0.75);
    ck_assert_msg(strstr(svg, expected), "%s\n%s", expected, svg);
    ck_assert_int_eq(count(svg, "class=\"panel\""), 2);
    ck_assert(strstr(svg, ">0.2</text>") && strstr(svg, ">0.8</text>") && strstr(svg, ">200</text>"));
    ck_assert_int_eq(count(svg, ">log</tspan>"), 0); /* the loss rises; lr is never logarithmic */
    free(svg);

    svg = make(
        "{\"stage\": \"a\", \"step\": 0, \"loss\": 100}\n{\"stage\": \"a\", \"step\": 20000, \"loss\": 1}\n",
        NULL);
    snprintf(expected, sizeof expected, "class=\"line\" d=\"M58.0,%.1f 288.0,%.1f\"", 42 + 118 * 0.1 / 2.2,
             160 - 118 * 0.1 / 2.2);
    ck_assert_msg(strstr(svg, expected), "%s\n%s", expected, svg);
    ck_assert_int_eq(count(svg, ">log</tspan>"), 1);
    ck_assert(strstr(svg, ">3</text>") && strstr(svg, ">100</text>") && strstr(svg, ">20k</text>"));
    free(svg);
}
END_TEST

START_TEST(extremes)
{
    static const char *const value[] = {"0",      "-1e99",  "1e-300", "5e-324",         "1e100",
                                        "-1e-30", "1e99",   "1e308",  "1000000000.125", "1000000000.25",
                                        "null",   "-0.001", "3"};
    enum { VALUES = sizeof value / sizeof *value };
    for (int i = 0; i < VALUES; i++)
        for (int k = 0; k < VALUES; k++) {
            char log[512];
            snprintf(
                log, sizeof log,
                "{\"stage\": \"a\", \"step\": 0, \"x\": %s}\n{\"stage\": \"a\", \"step\": 9007199254740992, "
                "\"x\": %s, \"lr\": %s}\n",
                value[i], value[k], value[i]);
            char *svg = make(log, NULL);
            ck_assert_msg(!strstr(svg, "nan") && !strstr(svg, "inf"), "%s, %s: %s", value[i], value[k], svg);
            free(svg);
        }
}
END_TEST

START_TEST(going_back)
{
    char *page, *svg = make("{\"stage\": \"a\", \"step\": 10, \"seconds\": 5, \"x\": 1}\n"
                            "{\"stage\": \"a\", \"step\": 20, \"seconds\": 9, \"x\": 2, \"skipped\": 1}\n"
                            "{\"stage\": \"a\", \"step\": 20, \"validation\": true, \"x\": 7}\n"
                            "{\"stage\": \"a\", \"step\": 30, \"seconds\": 14, \"x\": 3}\n"
                            "{\"stage\": \"a\", \"step\": 30, \"validation\": true, \"x\": 9, \"score\": 2}\n"
                            "\n"
                            "{\"stage\": \"b\", \"step\": 5, \"seconds\": 1, \"x\": null}\n"
                            "{\"stage\": \"a\", \"step\": 20, \"validation\": true, \"x\": 8, \"score\": 1}\n"
                            "{\"stage\": \"a\", \"step\": 20, \"seconds\": 6, \"x\": 4}\n"
                            "{\"stage\": \"a\", \"step\": 25, \"seco",
                            &page);
    ck_assert(strstr(svg, "a, x, training from 1 to 4, validation from 8 to 8"));
    ck_assert_int_eq(count(svg, "class=\"skip\"") + count(page, "class=\"skipped\""), 0);
    ck_assert_int_eq(count(svg, "class=\"panel\""), 1); /* b has no number to draw */
    ck_assert(strstr(page, "<h1>Training: a</h1>") && strstr(page, "step 20, 20.0 s") &&
              strstr(page, "<dd>1 <small>at step 20<"));
    free(svg);
    free(page);
}
END_TEST

/* Several runs in one log: none takes another's lines. */
START_TEST(arms)
{
    char *page, *svg = make("{\"stage\": \"a\", \"step\": 9, \"x\": 1}\n"
                            "{\"arm\": \"one\", \"stage\": \"a\", \"step\": 10, \"x\": 2}\n"
                            "{\"arm\": \"one\", \"stage\": \"a\", \"step\": 20, \"x\": 3}\n"
                            "{\"arm\": \"two\", \"stage\": \"a\", \"step\": 10, \"x\": 4}\n",
                            &page);
    ck_assert_int_eq(count(svg, "class=\"panel\""), 3);
    ck_assert(strstr(svg, "a, x, training from 1 to 1") && strstr(svg, "one a, x, training from 2 to 3") &&
              strstr(svg, "two a, x, training from 4 to 4"));
    ck_assert(strstr(page, "<h1>Training: two a</h1>"));
    free(svg);
    free(page);
}
END_TEST

START_TEST(validations)
{
    write_text(settings_path, "{\"stage\": \"a\", \"steps\": 80}");
    char *page,
        *svg = make("{\"stage\": \"a\", \"step\": 20, \"seconds\": 10, \"loss\": 2, \"skipped\": 2}\n"
                    "{\"stage\": \"a\", \"step\": 20, \"validation\": true, \"loss\": 3, \"tuple_f1\": 0.9, "
                    "\"score\": 5}\n"
                    "{\"stage\": \"a\", \"step\": 40, \"validation\": true, \"loss\": 2, \"tuple_f1\": 0.75, "
                    "\"score\": 7.5}\n"
                    "{\"stage\": \"a\", \"step\": 60, \"validation\": true, \"loss\": 1, \"score\": 7.5}\n"
                    "{\"stage\": \"a\", \"step\": 60, \"seconds\": 30, \"loss\": 1}\n",
                    &page);
    ck_assert_int_eq(count(svg, "class=\"panel\""), 2);
    ck_assert(strstr(page, "best: highest score") && strstr(page, "7.5 <small>at step 40<"));
    ck_assert_int_eq(count(page, "class=\"best\""), 1);
    ck_assert(strstr(page, "<tr class=\"best\"><td>40<span class=\"mark\">best</span></td><td>2.0000</td>"
                           "<td>0.7500</td></tr>"));
    ck_assert(strstr(page, "<tr><td>60</td><td>1.0000</td><td>–</td></tr>"));
    ck_assert(strstr(page, "step 60 of 80, 75 %") && strstr(page, "about 10.0 s to go"));
    ck_assert(strstr(page, "their gradient was not finite: step 20</p>"));
    free(svg);
    free(page);

    write_text(settings_path, "{\"stage\": \"other\", \"steps\": 80}");
    svg = make("{\"stage\": \"a\", \"step\": 20, \"validation\": true, \"loss\": 3}\n"
               "{\"stage\": \"a\", \"step\": 40, \"validation\": true, \"loss\": 2}\n",
               &page);
    ck_assert(strstr(page, "Validations of a<small></small>") && !strstr(page, "Best validation"));
    ck_assert(strstr(page, "<tr><td>40</td><td>2.0000</td></tr>") && strstr(svg, ">validation</tspan>"));
    ck_assert(!strstr(page, " of 80"));
    unlink(settings_path);
    free(svg);
    free(page);
}
END_TEST

START_TEST(hostile)
{
    write_text(
        settings_path,
        "{\"</td><script>alert(1)</script>\": \"\\\"'<b>&amp;\", \"c\\u0001\": \"\\u0008\\uffff\", \"n\": 0.5, "
        "\"t\": true, \"z\": null, \"list\": [\"<i>\", 2], \"steps\": \"many\"}");
    char *page,
        *svg =
            make("{\"stage\": \"<a href='x'>\\u0002\", \"step\": 1, \"</svg>&\\\"\": 1, \"s\": \"<\"}\n"
                 "{\"stage\": \"{{BODY}}\", \"step\": 1, \"一二三四五六七八九十一二三四五六七八九十一\": 1}\n",
                 &page);
    ck_assert_int_eq(count(svg, "<svg"), 3);
    ck_assert_int_eq(count(page, "<svg"), 2);
    ck_assert_int_eq(count(page, "<i>") + count(page, "<b>&amp;") + count(svg, "href='"), 0);
    ck_assert(strstr(page, "<td>&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;</td>"));
    ck_assert(strstr(page, "<code>&quot;&#39;&lt;b&gt;&amp;amp;</code>") && strstr(page, "<code>0.5</code>"));
    ck_assert(strstr(page, "<code>[&quot;&lt;i&gt;&quot;,2]</code>") && strstr(page, "<code>null</code>"));
    ck_assert(strstr(page, "<td>c\xef\xbf\xbd</td><td><code>\xef\xbf\xbd\xef\xbf\xbd</code>"));
    ck_assert(strstr(svg, ">一二三四五六七八九十一二三四五六七八九十…<"));
    unlink(settings_path);
    free(svg);
    free(page);
}
END_TEST

/* The largest and smallest value of a long curve are drawn though one point in two hundred is. */
START_TEST(long_log)
{
    enum { LINES = 100000 };
    FILE *f = fopen(log_path, "w");
    for (int i = 1; i <= LINES; i++)
        fprintf(f, "{\"stage\": \"a\", \"step\": %d, \"seconds\": %d, \"x\": %g, \"lr\": 0.1%s}\n", i, i,
                i == 51234   ? 99.0
                : i == 77777 ? -99.0
                             : sin(i),
                i % 100 ? "" : ", \"skipped\": 1");
    for (int i = 1; i <= 2000; i++)
        fprintf(f, "{\"stage\": \"a\", \"step\": %d, \"validation\": true, \"x\": 1, \"score\": %d}\n", i * 50,
                i == 7 ? 2 : 1);
    fclose(f);
    Error e = {0};
    ck_assert_msg(run_page_write(folder, &e), "%s", e.msg);
    char *svg = read_text(svg_path), *page = read_text(page_path), *line = strstr(svg, "class=\"line\" d=\"M");
    expect_well_formed(svg);
    expect_well_formed(page);
    char *end = strchr(line, '>');
    int points = 1;
    double low = 1e9, high = 0;
    for (char *p = strchr(line, 'M'); p && p < end; p = strchr(p + 1, ' ')) {
        double y = strtod(strchr(p, ',') + 1, NULL);
        low = fmin(low, y);
        high = fmax(high, y);
        points++;
    }
    ck_assert_int_le(points - 1, CURVES_POINTS);
    ck_assert_int_ge(points - 1, CURVES_POINTS - 10);
    ck_assert_msg(fabs(low - (42 + 118 * 0.05 / 1.1)) < 0.06 && fabs(high - (160 - 118 * 0.05 / 1.1)) < 0.06,
                  "%g %g", low, high);
    ck_assert_int_le(count(svg, "<circle"), CURVES_POINTS + 2);
    ck_assert_uint_lt(strlen(svg), 100000);
    ck_assert_uint_lt(strlen(page), 130000);
    ck_assert(strstr(page, "<td>350<span class=\"mark\">best</span></td>") &&
              strstr(page, "the last 100 of 2000"));
    ck_assert_int_eq(count(page, "<tr"), 102);
    ck_assert(strstr(page, " and 940 more"));
    free(svg);
    free(page);
}
END_TEST

static void expect_fault(const char *log, const char *where, const char *what)
{
    Error e = {0};
    write_text(log_path, log);
    ck_assert_msg(!run_page_write(folder, &e), "accepted: %s", log);
    ck_assert_msg(e.code == ERROR_INPUT && strstr(e.msg, where) && strstr(e.msg, what), "%s", e.msg);
}

START_TEST(faults)
{
    static const char good[] = "{\"stage\": \"a\", \"step\": 1, \"x\": 1}\n";
    char log[16384];
    static const struct {
        const char *line, *what;
    } cases[] = {{"{\"stage\": \"a\", \"st", "not JSON"},
                 {"{\"stage\": \"a\", \"step\": 1, \"x\": NaN}", "not JSON"},
                 {"{\"stage\": \"a\", \"step\": 1, \"x\": 1e999}", "not JSON"},
                 {"{\"stage\": \"a\", \"step\": 1, \"x\": 1, \"x\": 2}", "duplicate"},
                 {"[1]", "an object"},
                 {"{\"step\": 1}", "\"stage\" is missing"},
                 {"{\"stage\": 1, \"step\": 1}", "a string"},
                 {"{\"stage\": \"a\"}", "\"step\" is missing"},
                 {"{\"stage\": \"a\", \"step\": 1.5}", "an integer"},
                 {"{\"stage\": \"a\", \"step\": -1}", "0 or more"},
                 {"{\"stage\": \"a\", \"step\": 1, \"x\": [1]}", "\"x\": expected a number"},
                 {"{\"stage\": \"a\", \"step\": 1, \"seconds\": \"1\"}", "\"seconds\""},
                 {"{\"stage\": \"a\", \"step\": 1, \"validation\": 1}", "true or false"},
                 {"{\"stage\": \"a\", \"step\": 1, \"arm\": 1}", "\"arm\": expected a string"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(log, sizeof log, "%s%s\n%s", good, cases[i].line, good);
        expect_fault(log, "/log.jsonl: line 2:", cases[i].what);
    }
    int n = snprintf(log, sizeof log, "{\"stage\": \"a\", \"step\": 1");
    for (int i = 0; i < RUN_CURVES + 1; i++) n += snprintf(log + n, sizeof log - (size_t)n, ", \"x%d\": 1", i);
    snprintf(log + n, sizeof log - (size_t)n, "}\n");
    expect_fault(log, "line 1:", "one more value than 64");
    for (int i = n = 0; i < RUN_STAGES + 1; i++)
        n += snprintf(log + n, sizeof log - (size_t)n, "{\"stage\": \"%d\", \"step\": 1}\n", i);
    expect_fault(log, "line 33:", "one more than 32");

    Error e = {0};
    write_text(settings_path, "[]");
    expect_fault(good, "run.json", "an object of settings");
    write_text(settings_path, "{");
    expect_fault(good, "run.json", "not JSON");
    unlink(settings_path);
    unlink(log_path);
    ck_assert(!run_page_write(folder, &e) && e.code == ERROR_IO && strstr(e.msg, "log.jsonl"));
    ck_assert(!run_page_write("/nowhere", &e) && e.code == ERROR_IO);
}
END_TEST

START_TEST(program)
{
    Run r;
    write_text(log_path, "{\"stage\": \"a\", \"step\": 1, \"x\": 1}\n");
    unlink(svg_path);
    unlink(page_path);
    run_tool(&r, "pcrl-page", (const char *const[]){"--run", folder, NULL});
    ck_assert_msg(r.code == 0 && !*r.out && !*r.err, "%d %s", r.code, r.err);
    ck_assert(access(svg_path, F_OK) == 0 && access(page_path, F_OK) == 0);
    run_tool(&r, "pcrl-page", (const char *const[]){"--run", folder, "--text", NULL});
    ck_assert_int_eq(r.code, 1);
    run_tool(&r, "pcrl-page", (const char *const[]){"--run", folder, "--masks", "m", NULL});
    ck_assert_int_eq(r.code, 1);
    write_text(log_path, "x\n");
    run_tool(&r, "pcrl-page", (const char *const[]){"--run", folder, NULL});
    ck_assert_msg(r.code == 2 && strstr(r.err, "log.jsonl: line 1:"), "%d %s", r.code, r.err);
    run_tool(&r, "pcrl-page", (const char *const[]){"--run", "/nowhere", NULL});
    ck_assert_int_eq(r.code, 3);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    snprintf(log_path, sizeof log_path, "%s/log.jsonl", folder);
    snprintf(settings_path, sizeof settings_path, "%s/run.json", folder);
    snprintf(svg_path, sizeof svg_path, "%s/curves.svg", folder);
    snprintf(page_path, sizeof page_path, "%s/index.html", folder);
    Suite *s = suite_create("run_page");
    TCase *t = tcase_create("run_page");
    tcase_add_test(t, checker);
    tcase_add_test(t, numbers);
    tcase_add_test(t, empty);
    tcase_add_test(t, one_line);
    tcase_add_test(t, places);
    tcase_add_test(t, extremes);
    tcase_add_test(t, going_back);
    tcase_add_test(t, arms);
    tcase_add_test(t, validations);
    tcase_add_test(t, hostile);
    tcase_add_test(t, long_log);
    tcase_add_test(t, faults);
    tcase_add_test(t, program);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    const char *const path[] = {log_path, settings_path, svg_path, page_path};
    for (int i = 0; i < 4; i++) unlink(path[i]);
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
