/* What a report says, as lists of keywords: two of 24, and any list from a file.
 *
 * The *mention* list (clinical_mention.def) asks only whether a word is there. Text is read from left to right,
 * at each place the longest word that the list knows is taken, and counts; the list also knows words that do
 * not count themselves but keep shorter ones in them from counting: 密度影 is not mentioned by 低密度影, 枕叶
 * not by 颞枕叶, and 侧脑室 not by 两侧脑室旁, which is read 两侧|脑室|旁. A negated word is mentioned, too.
 *
 * The *finding* list (clinical_finding.def) asks what the patient has, and on which side:
 *   - Clauses end at ，。；： and , ; : . (but not at the point of 1.5) and line ends; in a clause the longest
 *     known words are taken.
 *   - Places collect until signs follow; the next place after a sign begins a new group. A sign belongs to the
 *     places of its group, so 脑沟增宽、脑回变窄 says two things. Signs before any place belong to the first
 *     group; a last group without a sign has those of the group before (高密度影破入侧脑室).
 *   - 无, 未 (未见, 未示), 没有, 不伴 take back every sign after them in the clause; 正常, 居中, 不明显 those
 *     before them in the group.
 *   - A place is on the last side named before it in the clause, else on the first one after. 左、右侧 is both.
 *     同侧 is the last side of the clauses before, 对侧 the other; 邻近, 相邻 and 周围 are on the side of the
 *     last clause that says something of a place.
 *   - What the clause then says is looked up in the table's rules: 增宽 of ventricles is another finding than
 *     增宽 of sulci, and so is 变窄.
 *
 * Anything else in the text is skipped, so any bytes will do. */
#ifndef DATA_CLINICAL_H
#define DATA_CLINICAL_H
#include "data/findings.h"
#include "tensor/error.h"

enum { CLINICAL_MENTIONS = 24, KEYWORDS_MAX = 256, KEYWORDS_BESIDE = 16, KEYWORD_BYTES = 63 };

enum {
#define CLINICAL(id, chinese, english, sides) CLINICAL_##id,
#include "data/clinical_finding.def"
    CLINICAL_FINDINGS /* 24 */
};

/* How a finding is on a side: SIDED as named, SIDE_NONE where no side is; PAIRED likewise, but without a named
 * side it is on both (脑室扩大); UNSIDED has none. */
typedef enum ClinicalSides { CLINICAL_SIDED, CLINICAL_PAIRED, CLINICAL_UNSIDED } ClinicalSides;
typedef struct ClinicalFinding {
    const char *chinese, *english;
    ClinicalSides sides;
} ClinicalFinding;
const ClinicalFinding *clinical_finding(int finding); /* 0..CLINICAL_FINDINGS-1, the table's order */

/* side[k]: a Side, SIDE_ABSENT where finding k is not claimed. */
void clinical_findings(const char *report, uint8_t side[CLINICAL_FINDINGS]);
/* One more claim. Left and right become both; a named side outweighs an unnamed one. */
void clinical_add(uint8_t side[CLINICAL_FINDINGS], int finding, Side now);

/* A list of keywords under the mention rule. */
typedef struct Keywords {
    int n; /* that count */
    char word[KEYWORDS_MAX + KEYWORDS_BESIDE][KEYWORD_BYTES + 1];
    const char *english[KEYWORDS_MAX + KEYWORDS_BESIDE]; /* NULL in a list from a file */
    int n_other; /* words that are matched and do not count: word[n] ... word[n + n_other - 1] */
} Keywords;

/* The list of 24. */
void keywords_mention(Keywords *out);

/* One keyword a line, UTF-8; white space round it and empty lines do not count. Matched and not counted are
 * 左侧, 右侧, 双侧 and 两侧, unless the file has them. Errors name the line: no UTF-8, a keyword that is too
 * long, twice the same, none, or more than fit. */
bool keywords_read(const char *path, Keywords *out, Error *e);

/* named[i], i < k->n: 1 where keyword i is mentioned, else 0. */
void keywords_named(const Keywords *k, const char *report, uint8_t *named);
#endif
