/* The jar's passes, one after another, each over the whole text as code points: what a pass replaces is not
 * looked at again in that pass, so of overlapping places only the first is replaced. */
#include "losses/meteor_words.h"
#include "losses/meteor_lower.h"
#include "tensor/utf8.h"
#include <stdlib.h>
#include <string.h>

/* Dots that stand together, k of them; no code point. */
enum {
    DOTS = 0x200000,
    SINGLE_OPEN = 0x2018,
    SINGLE_CLOSE,
    DOUBLE_OPEN = 0x201C,
    DOUBLE_CLOSE,
    EN_DASH = 0x2013
};

static const char *const function_words[] = {
    "\"",   "$",     "'",    "'s",    "'t",    "(",     ")",     ",",     "-",     "--",    "-lrb-", "-rrb-",
    ".",    ":",     "?",    "a",     "about", "after", "all",   "also",  "an",    "and",   "are",   "as",
    "at",   "be",    "been", "but",   "by",    "can",   "could", "first", "for",   "from",  "had",   "has",
    "have", "he",    "her",  "his",   "i",     "if",    "in",    "into",  "is",    "it",    "its",   "last",
    "more", "new",   "no",   "not",   "of",    "on",    "one",   "or",    "other", "out",   "over",  "people",
    "s",    "said",  "she",  "so",    "some",  "than",  "that",  "the",   "their", "there", "they",  "this",
    "time", "to",    "two",  "up",    "was",   "we",    "were",  "what",  "when",  "which", "who",   "will",
    "with", "would", "year", "years", "you",   "—",     "’",     "“",     "”"};

/* Before a last dot that is part of the word: these and the 26 capitals; */
static const char *const abbreviations[] = {
    "Adj",  "Adm", "Adv", "Asst", "Bart", "Bldg",   "Brig", "Bros", "Capt", "Cmdr", "Col", "Comdr", "Con",
    "Corp", "Cpl", "DR",  "Dr",   "Drs",  "Ens",    "Gen",  "Gov",  "Hon",  "Hosp", "Hr",  "Insp",  "Lt",
    "MM",   "MR",  "MRS", "MS",   "Maj",  "Messrs", "Mlle", "Mme",  "Mr",   "Mrs",  "Ms",  "Msgr",  "Nos",
    "Nr",   "Op",  "Ord", "Pfc",  "Ph",   "Prof",   "Pvt",  "Rep",  "Reps", "Res",  "Rev", "Rt",    "Sen",
    "Sens", "Sfc", "Sgt", "Sr",   "St",   "Supt",   "Surg", "e.g",  "i.e",  "rev",  "v",   "vs"};
/* these, if a digit follows. */
static const char *const number_abbreviations[] = {"Art", "No", "pp"};

typedef struct Line {
    int32_t *c;
    size_t n;
} Line;

static void put(Line *line, int32_t c) { line->c[line->n++] = c; }

static bool is_ascii_digit(int32_t c) { return c >= '0' && c <= '9'; }
static bool is_not_digit(int32_t c) { return !is_ascii_digit(c); }

static bool is_letter(int32_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= 0xC0 && c <= 0x17E && c != 0xD7 && c != 0xF7) || (c >= 0x400 && c <= 0x527) ||
           (c >= 0xA640 && c <= 0xA66E) || (c >= 0xA67E && c <= 0xA697) || (c >= 0x1D00 && c <= 0x1D7F);
}
static bool is_not_letter(int32_t c) { return !is_letter(c); }
static bool is_neither(int32_t c) { return !is_letter(c) && !is_ascii_digit(c); }
static bool is_either(int32_t c) { return is_letter(c) || is_ascii_digit(c); }
static bool is_either_or_dot(int32_t c) { return is_either(c) || c == '.'; }
static bool is_s(int32_t c) { return c == 's'; }

/* White space that was never made to stand alone; all but the vertical tab ends a word. */
static bool is_space(int32_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool ends_word(int32_t c) { return is_space(c) && c != '\v'; }

/* White space that is a word of its own until the end. */
static bool is_wide_space(int32_t c)
{
    return c == 0xA0 || (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* Code points of the text without the controls and spaces at its ends, a space before and after. */
static void read_text(const char *text, size_t n, Line *out)
{
    size_t at = 0;
    while (at < n && (unsigned char)text[at] <= ' ') at++;
    while (n > at && (unsigned char)text[n - 1] <= ' ') n--;
    put(out, ' ');
    while (at < n) {
        int32_t c;
        at += (size_t)utf8_next(text + at, n - at, &c);
        put(out, c < 0 ? 0xFFFD : c);
    }
    put(out, ' ');
}

static void stand_alone(const Line *in, Line *out)
{
    for (size_t i = 0; i < in->n; i++) {
        int32_t c = in->c[i];
        bool stays = is_either(c) || is_space(c) || c == '.' || c == '\'' || c == '`' || c == ',' || c == '-' ||
                     c == SINGLE_OPEN || c == SINGLE_CLOSE;
        if (!stays) put(out, ' ');
        put(out, c);
        if (!stays) put(out, ' ');
    }
}

/* Dots that stand together become one character. */
static void gather_dots(const Line *in, Line *out)
{
    for (size_t i = 0; i < in->n;) {
        size_t end = i;
        while (in->c[end] == '.') end++; /* the line ends in a space */
        if (end - i > 1) {
            put(out, ' ');
            put(out, DOTS + (int32_t)(end - i));
            put(out, ' ');
            i = end;
        } else {
            put(out, in->c[i++]);
        }
    }
}

/* A middle between two characters of given kinds becomes the text with. */
static void between(const Line *in, Line *out, bool (*left)(int32_t), char middle, bool (*right)(int32_t),
                    const char *with)
{
    size_t i = 0;
    while (i < in->n) {
        put(out, in->c[i++]);
        if (i + 1 >= in->n || in->c[i] != middle || !left(in->c[i - 1]) || !right(in->c[i + 1])) continue;
        for (const char *w = with; *w; w++) put(out, *w);
        put(out, in->c[i + 1]);
        i += 2;
    }
}

/* Two characters pair or one of the characters single (0 ends them) become the text with. */
static void replace(const Line *in, Line *out, int32_t pair, const int32_t *single, const char *with)
{
    for (size_t i = 0; i < in->n;) {
        bool two = in->c[i] == pair && i + 1 < in->n && in->c[i + 1] == pair, one = false;
        for (const int32_t *s = single; *s; s++) one |= in->c[i] == *s;
        if (two || one) {
            for (const char *w = with; *w; w++) put(out, *w);
            i += two ? 2 : 1;
        } else {
            put(out, in->c[i++]);
        }
    }
}

static bool is_in(const char *const *list, size_t n, const int32_t *word, size_t length)
{
    for (size_t i = 0; i < n; i++) {
        int32_t first = (unsigned char)list[i][0];
        if (first < 0x80 ? first != word[0] : word[0] < 0x80) continue;
        size_t at = 0, end = strlen(list[i]), j = 0;
        while (at < end && j < length) {
            int32_t c;
            int bytes = utf8_next(list[i] + at, end - at, &c);
            if (c != word[j]) break;
            at += (size_t)bytes;
            j++;
        }
        if (at == end && j == length) return true;
    }
    return false;
}
#define IS_IN(list, word, length) is_in(list, sizeof(list) / sizeof *(list), word, length)

/* A word with a dot at its end, followed by next (0: the last word). */
static void put_dotted(const int32_t *word, size_t length, int32_t next, Line *out)
{
    size_t before = length - 1, dots = 0, letters = 0;
    for (size_t i = 0; i < before; i++) {
        dots += word[i] == '.';
        letters += is_letter(word[i]);
    }
    bool initials = dots && letters;
    bool stays = IS_IN(abbreviations, word, before) || (before == 1 && word[0] >= 'A' && word[0] <= 'Z') ||
                 (next >= 'a' && next <= 'z') ||
                 (is_ascii_digit(next) && IS_IN(number_abbreviations, word, before));
    for (size_t i = 0; i < before; i++)
        if (!initials || word[i] != '.') put(out, word[i]);
    if (initials) return;
    if (!stays) put(out, ' ');
    put(out, '.');
}

/* The words, one space after each, white space and the controls at the ends left out. */
static void split_dots(const Line *in, Line *out)
{
    size_t i = 0;
    for (;;) {
        while (i < in->n && ends_word(in->c[i])) i++;
        if (i == in->n) break;
        size_t end = i, next;
        while (!ends_word(in->c[end])) end++; /* the line ends in a space */
        for (next = end; next < in->n && ends_word(in->c[next]);) next++;
        const int32_t *word = in->c + i;
        size_t length = end - i;
        if (length > 1 && word[length - 1] == '.')
            put_dotted(word, length, next < in->n ? in->c[next] : 0, out);
        else if (length > 1 || !is_wide_space(*word))
            for (size_t j = 0; j < length; j++) put(out, word[j]);
        put(out, ' ');
        i = end;
    }
    while (out->n && out->c[out->n - 1] <= ' ') out->n--;
    size_t start = 0;
    while (start < out->n && out->c[start] <= ' ') start++;
    memmove(out->c, out->c + start, (out->n - start) * sizeof *out->c);
    out->n -= start;
}

static int32_t lower(int32_t c)
{
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    if (c >= 0x3000 && c < 0xA000) return c; /* most of all Chinese characters */
    size_t low = 0,
           high = sizeof meteor_lower / sizeof *meteor_lower; /* the last row that begins at most at c */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (meteor_lower[middle].first <= c)
            low = middle;
        else
            high = middle;
    }
    bool in = c <= meteor_lower[low].last && (c - meteor_lower[low].first) % meteor_lower[low].step == 0;
    return in ? c + meteor_lower[low].add : c;
}

/* Java's hash of a string: of its UTF-16 units. */
static uint32_t add_key(uint32_t key, int32_t c)
{
    if (c > DOTS) {
        for (int32_t k = DOTS; k < c; k++) key = 31 * key + '.';
        return key;
    }
    if (c < 0x10000) return 31 * key + (uint32_t)c;
    key = 31 * key + 0xD800 + (uint32_t)((c - 0x10000) >> 10);
    return 31 * key + 0xDC00 + (uint32_t)((c - 0x10000) & 0x3FF);
}

uint32_t meteor_key(const char *word)
{
    uint32_t key = 0;
    for (size_t at = 0, n = strlen(word); at < n;) {
        int32_t c;
        at += (size_t)utf8_next(word + at, n - at, &c);
        key = add_key(key, c);
    }
    return key;
}

/* Lower case, and the words' keys. */
static int take_words(Line *line, MeteorWord *words)
{
    int n = 0;
    for (size_t i = 0; i < line->n;) {
        size_t begin = i;
        uint32_t key = 0;
        for (; i < line->n && line->c[i] != ' '; i++) {
            int32_t c = line->c[i] = lower(line->c[i]);
            key = c == 0x130 ? add_key(add_key(key, 'i'), 0x307) : add_key(key, c);
        }
        const int32_t *word = line->c + begin;
        size_t length = i++ - begin;
        if (length)
            words[n++] = (MeteorWord){key, *word < 0x2100 && IS_IN(function_words, word, length),
                                      length <= 7 && *word < 0x2100};
    }
    return n;
}

/* The kinds of marks in a line: a pass over a line without its mark would change nothing. */
enum { DOT = 1, COMMA = 2, QUOTES = 4, DASH = 8 };

static int marks(const Line *line)
{
    int kinds = 0;
    for (size_t i = 0; i < line->n; i++) switch (line->c[i]) {
        case '.': kinds |= DOT; break;
        case ',': kinds |= COMMA; break;
        case '-':
        case EN_DASH: kinds |= DASH; break;
        case '\'':
        case '`':
        case SINGLE_OPEN:
        case SINGLE_CLOSE:
        case DOUBLE_OPEN:
        case DOUBLE_CLOSE: kinds |= QUOTES; break;
        }
    return kinds;
}

static int cut(const char *text, size_t n, Line line[2], MeteorWord *words)
{
    enum { QUOTE = '\'' };
    static const int32_t none[] = {0}, dash[] = {EN_DASH, 0}, single[] = {'`', SINGLE_OPEN, SINGLE_CLOSE, 0},
                         double_[] = {DOUBLE_OPEN, DOUBLE_CLOSE, 0};
    Line *in = &line[0], *out = &line[1];
#define PASS(pass, ...)                                                                                        \
    do {                                                                                                       \
        out->n = 0;                                                                                            \
        pass(in, out, ##__VA_ARGS__);                                                                          \
        Line *swap = in;                                                                                       \
        in = out;                                                                                              \
        out = swap;                                                                                            \
    } while (0)
    read_text(text, n, in);
    int kinds = marks(in);
    PASS(stand_alone);
    if (kinds & DOT) PASS(gather_dots);
    if (kinds & COMMA) {
        PASS(between, is_not_digit, ',', is_not_digit, " , ");
        PASS(between, is_ascii_digit, ',', is_not_digit, " , ");
        PASS(between, is_not_digit, ',', is_ascii_digit, " , ");
    }
    if (kinds & QUOTES) {
        PASS(replace, 0, single, "'");
        PASS(replace, QUOTE, double_, " \" ");
    }
    if (kinds & DASH) {
        PASS(replace, 0, dash, "-");
        PASS(replace, '-', none, "-");
        PASS(between, is_either_or_dot, '-', is_either, " ");
    }
    if (kinds & QUOTES) {
        PASS(between, is_not_letter, QUOTE, is_not_letter, " ' ");
        PASS(between, is_neither, QUOTE, is_letter, " ' ");
        PASS(between, is_letter, QUOTE, is_not_letter, " ' ");
        PASS(between, is_letter, QUOTE, is_letter, " '");
        PASS(between, is_ascii_digit, QUOTE, is_s, " '");
    }
    PASS(split_dots);
#undef PASS
    return take_words(in, words);
}

bool meteor_words(const char *text, MeteorWord **words, int *n, Error *e)
{
    size_t length = strlen(text), room = 5 * length + 8; /* a double quotation mark ends up among four spaces */
    int32_t *c = length < INT32_MAX / 16 ? malloc(2 * room * sizeof *c) : NULL;
    MeteorWord *w = c ? malloc((length + 1) * 2 * sizeof *w) : NULL;
    if (!w) {
        free(c);
        return error_set(e, ERROR_MEMORY, "no memory for the words of a text of %zu bytes", length);
    }
    *n = cut(text, length, (Line[]){{c, 0}, {c + room, 0}}, w);
    free(c);
    *words = w;
    return true;
}
