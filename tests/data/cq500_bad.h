#include "tests/data/cq500_fixture.h"

/* Malformed reads.csv files and the exact words each must be answered with: the fixture's sound file with
 * `what` replaced once by `with` (what NULL: `with` is the whole file). */
typedef struct BadReads {
    const char *what, *with, *message;
} BadReads;

#define LONG "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" /* 64 */

static const BadReads bad_reads[] = {
    /* no header */
    {NULL, "", "f: empty, expected a line of column names"},
    {NULL, "\xef\xbb\xbf", "f: empty, expected a line of column names"},
    {NULL, "\n\r\n\n", "f: empty, expected a line of column names"},
    {NULL, "\r", "f: line 1: column 1 is \"\", expected name, Category or one like R1:ICH"},
    {NULL, "PK\003\004", "f: line 1: field 1 holds byte 0x03"},
    {NULL, "\xff\xfen", "f: line 1: column 1 is \"\xff\xfen\", expected name, Category or one like R1:ICH"},
    {NULL, "name;Category",
     "f: line 1: column 1 is \"name;Category\", expected name, Category or one like R1:ICH"},
    {NULL, ROW_3, "f: line 1: column 1 is \"CQ500-CT-3\", expected name, Category or one like R1:ICH"},
    {NULL, HEADER, "f: no studies after the column names"},
    {NULL, HEADER "\n\r\n", "f: no studies after the column names"},
    /* columns */
    {NULL, "name\n",
     "f: line 1: missing: Category, R1:ICH, R1:IPH, R1:IVH, R1:SDH, R1:EDH, R1:SAH, R1:BleedLocation-Left and "
     "35 more"},
    {"R2:SAH,", "", "f: line 1: missing: R2:SAH"},
    {",R3:MidlineShift\n", "\n", "f: line 1: missing: R3:MidlineShift"},
    {"name,Category,", "", "f: line 1: missing: name, Category"},
    {"R2:SAH", "R1:SAH", "f: line 1: column R1:SAH twice"},
    {"Category", "name", "f: line 1: column name twice"},
    {"R2:SAH", "R4:SAH", "f: line 1: column 22 is \"R4:SAH\", expected name, Category or one like R1:ICH"},
    {"R2:SAH", "r2:sah", "f: line 1: column 22 is \"r2:sah\", expected name, Category or one like R1:ICH"},
    {"R2:SAH", " R2:SAH", "f: line 1: column 22 is \" R2:SAH\", expected name, Category or one like R1:ICH"},
    {"name,", ",", "f: line 1: column 1 is \"\", expected name, Category or one like R1:ICH"},
    {"name,", "age,name,", "f: line 1: column 1 is \"age\", expected name, Category or one like R1:ICH"},
    {"R3:MidlineShift\n", "R3:MidlineShift,\n",
     "f: line 1: column 45 is \"\", expected name, Category or one like R1:ICH"},
    {"R3:MidlineShift\n", "R3:MidlineShift,name\n", "f: line 1: column name twice"},
    {"name,", LONG ",", "f: line 1: field 1 has more than 63 bytes"},
    /* fields */
    {"B1", "\"B1", "f: line 2: field 2 has more than 63 bytes"},
    {"B1", "\"B1\n\"", "f: line 2: field 2: no closing quote"},
    {"B1", "\"B1\"x", "f: line 2: field 2 goes on after its closing quote"},
    {"B1", "\"B1\" ", "f: line 2: field 2 goes on after its closing quote"},
    {"B1", "B\"1", "f: line 2: field 2: a quote inside a field"},
    {"B1", "\"B1\"\rx", "f: line 2: a carriage return inside the line"},
    {"B1", "B1\r", "f: line 2: field 2 holds byte 0x0d"},
    {"B1", "B1\t", "f: line 2: field 2 holds byte 0x09"},
    {"B1", "\"B\0331\"", "f: line 2: field 2 holds byte 0x1b"},
    {"B1", LONG, "f: line 2: field 2 has more than 63 bytes"},
    {"B1", "\"" LONG "\"", "f: line 2: field 2 has more than 63 bytes"},
    {NULL, HEADER "\"", "f: line 2: field 1: no closing quote"},
    /* values */
    {"CQ500-CT-12", "", "f: line 2: name is \"\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "12", "f: line 2: name is \"12\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "CQ500-CT-", "f: line 2: name is \"CQ500-CT-\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "CQ500-CT-x", "f: line 2: name is \"CQ500-CT-x\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "CQ500-CT-12 ", "f: line 2: name is \"CQ500-CT-12 \", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "CQ500-CT--1", "f: line 2: name is \"CQ500-CT--1\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "CQ500-CT-1.5", "f: line 2: name is \"CQ500-CT-1.5\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "CQ500-CT-1000000",
     "f: line 2: name is \"CQ500-CT-1000000\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "CQ500-CT-99999999999999999999",
     "f: line 2: name is \"CQ500-CT-99999999999999999999\", expected one like CQ500-CT-12"},
    {"CQ500-CT-12", "cq500-ct-12", "f: line 2: name is \"cq500-ct-12\", expected one like CQ500-CT-12"},
    {"B1", "", "f: line 2: Category is \"\", expected B1 or B2"},
    {"B1", "B3", "f: line 2: Category is \"B3\", expected B1 or B2"},
    {"B1", "B12", "f: line 2: Category is \"B12\", expected B1 or B2"},
    {"B1", "1", "f: line 2: Category is \"1\", expected B1 or B2"},
    {"B1,1", "B1,2", "f: line 2: R1:ICH is \"2\", expected 0 or 1"},
    {"B1,1", "B1,", "f: line 2: R1:ICH is \"\", expected 0 or 1"},
    {"B1,1", "B1,1.0", "f: line 2: R1:ICH is \"1.0\", expected 0 or 1"},
    {"B1,1", "B1,-1", "f: line 2: R1:ICH is \"-1\", expected 0 or 1"},
    {"B1,1", "B1, 1", "f: line 2: R1:ICH is \" 1\", expected 0 or 1"},
    {"B1,1", "B1,01", "f: line 2: R1:ICH is \"01\", expected 0 or 1"},
    {"B1,1", "B1,yes", "f: line 2: R1:ICH is \"yes\", expected 0 or 1"},
    {"0,0,0,1\n", "0,0,0,x\n", "f: line 2: R3:MidlineShift is \"x\", expected 0 or 1"},
    /* lines */
    {"0,0,0,1\n", "0,0,0\n", "f: line 2: 43 fields, expected 44"},
    {"0,0,0,1\n", "0,0,0,1,\n", "f: line 2: 45 fields, expected 44"},
    {"0,0,0,1\n", "0,0,0,1,1,1,1\n", "f: line 2: 47 fields, expected 44"},
    {"0,0,0,1\n", "0,0,0,1\n\n\nCQ500-CT-5,B1\n", "f: line 5: 2 fields, expected 44"},
    {"CQ500-CT-3", "CQ500-CT-12", "f: lines 2 and 3: study CQ500-CT-12 twice"},
    {"CQ500-CT-3", "CQ500CT012", "f: lines 2 and 3: study CQ500-CT-12 twice"},
    {"CQ500-CT-490", "CQ500CT3", "f: lines 3 and 4: study CQ500-CT-3 twice"},
};
