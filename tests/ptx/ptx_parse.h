/* Between the files that read PTX text. A fault ends the reading by longjmp to ptx_open, with file and line. */
#ifndef TESTS_PTX_PTX_PARSE_H
#define TESTS_PTX_PTX_PARSE_H
#include "tests/ptx/ptx_code.h"
#include <setjmp.h>

typedef enum TokenKind { TOKEN_END, TOKEN_WORD, TOKEN_NUMBER, TOKEN_STRING, TOKEN_MARK } TokenKind;
typedef struct Token {
    TokenKind kind;
    int n;
    const char *at;
} Token;

typedef enum SymbolKind {
    SYMBOL_REGISTER,
    SYMBOL_RANGE,   /* .reg .b32 %r<count>: value is the first one's place */
    SYMBOL_VALUE,   /* an address that is known: value */
    SYMBOL_SHARED,  /* of the module: gets its place in each kernel that names it */
    SYMBOL_DYNAMIC, /* shared memory behind all that is declared */
    SYMBOL_LOCAL,   /* a register with each thread's own address */
} SymbolKind;

typedef struct Symbol {
    SymbolKind kind;
    int n;
    const char *name;
    uint8_t bits;
    uint32_t count, bytes, align;
    uint64_t value;
    const Kernel *user; /* of SHARED: the kernel that value is for */
} Symbol;

/* A place in the program that is named before it is known. */
typedef struct Fixup {
    const char *name;
    int n, line;
    bool table; /* of a branch table, else of an instruction */
    uint32_t at;
} Fixup;

typedef struct Label {
    const char *name;
    int n;
    bool table;
    uint32_t at;
} Label;

/* A number among the constants. */
typedef struct Known {
    uint64_t v;
    uint32_t at;
} Known;

typedef struct Parser {
    const char *file, *at;
    int line;
    Token token;
    Kernel *kernel;
    Symbol *symbols;
    Label *labels;
    Fixup *fixups;
    Known *known;
    Arg *dynamic;     /* constants that wait for the end of shared memory */
    uint32_t *scopes; /* symbols when each began */
    uint32_t n_symbols, n_labels, n_fixups, n_known, n_dynamic, n_scopes, dynamic_align;
    Error *error;
    jmp_buf fail;
} Parser;

/* Types by name; kind b u s f (binary16, 32, 64) g (bfloat16) p. */
typedef struct Type {
    char name[6];
    char kind;
    uint8_t bits;
} Type;
extern const Type ptx_types[];
int ptx_type(const char *name, int n); /* -1: none */

/* ptx_lex.c */
__attribute__((noreturn, format(printf, 2, 3))) void ptx_refuse(Parser *p, const char *format, ...);
void ptx_next(Parser *p);
bool ptx_is(const Parser *p, const char *text);
bool ptx_accept(Parser *p, const char *text);
void ptx_expect(Parser *p, const char *text);
uint64_t ptx_number(Parser *p, int *float_bits); /* 32 or 64 for 0f..., 0d...; else 0 */
bool ptx_same(const char *a, int n, const char *b);

/* ptx_parse.c */
void ptx_parse(Parser *p);

/* ptx_open.c: memory until ptx_close. */
void *ptx_keep(size_t bytes);
Kernel *ptx_add_kernel(void);

/* ptx_operand.c */
void ptx_declare_registers(Parser *p);
uint32_t ptx_register(Kernel *k, unsigned bits);
void ptx_operands(Parser *p, Ins *i, const char *pattern);
void ptx_guard(Parser *p, Ins *i);
void ptx_add_label(Parser *p, const Token *name, bool table);
void ptx_branch_targets(Parser *p);
void ptx_place_labels(Parser *p);
uint32_t ptx_place(uint32_t *end, uint32_t bytes, uint32_t align); /* where the next of a row of things lies */

/* ptx_decode.c: what an opcode does and which operands follow. */
void ptx_decode(Parser *p, Ins *i, const char *opcode, int n);

/* Families whose modifiers combine freely: each takes the words behind the first dot, the token is the first
 * operand. */
typedef struct Words {
    const char *at[12];
    int n[12], count;
} Words;
typedef void Decode(Parser *, Ins *, const Words *);
Decode ptx_decode_ld, ptx_decode_st, ptx_decode_atom, ptx_decode_red, ptx_decode_mov, ptx_decode_cvt,
    ptx_decode_setp, ptx_decode_set, ptx_decode_cp;
bool ptx_word(const Words *w, int i, const char *text);

#endif
