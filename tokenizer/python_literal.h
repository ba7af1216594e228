/* Python source that is nothing but data: one assignment of a dict of strings to numbers, or to dicts of
 * strings to numbers, as jieba keeps its tables (finalseg/prob_*.py). It is read as text; nothing is run.
 *
 *   file   = { blank line | "#..." line | "from __future__ import ..." line }  NAME "=" dict
 *   dict   = "{" [ string ":" (number | dict) { "," string ":" (number | dict) } [","] ] "}"
 *   string = '...' or "..." without line ends; escapes \\ \' \" \n \r \t \xHH \uHHHH \UHHHHHHHH
 *   number = ["-" | "+"] digits ["." digits] [("e" | "E") ["-" | "+"] digits]
 *
 * Comments may stand between tokens. Dicts go two deep. */
#ifndef TOKENIZER_PYTHON_LITERAL_H
#define TOKENIZER_PYTHON_LITERAL_H
#include "tensor/error.h"

enum { PYTHON_LITERAL_KEY = 64 }; /* bytes of a key, with its NUL */

/* One number: outer is NULL in a flat dict. Keys are UTF-8, no surrogates, no NUL. where: "FILE: line N". */
typedef struct PythonItem {
    const char *outer, *key, *where;
    double value; /* finite */
} PythonItem;

/* Takes one number after the other, in the file's order; false (with *e) ends the reading. */
typedef bool PythonVisit(void *user, const PythonItem *item, Error *e);

bool python_literal_read(const char *path, PythonVisit *visit, void *user, Error *e);
#endif
