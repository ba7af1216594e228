/* The decoded program and the machine it runs on; between the files of tests/ptx only.
 *
 * A register is an array of its 32 lanes: 4 bytes a lane up to 32 bits (narrower ones zero-extended), 8 bytes
 * for 64; a predicate is one word, a bit a lane. Immediates are registers of a pool that all warps share,
 * special registers (%tid.x ...) are filled when a warp starts. Shared addresses are offsets, all others host
 * pointers. */
#ifndef TESTS_PTX_PTX_CODE_H
#define TESTS_PTX_PTX_CODE_H
#include "tests/ptx/ptx.h"
#include <stdint.h>

enum { LANES = 32, PTX_DIMS = 3, SHARED_LIMIT = 99 * 1024, SHARED_WINDOW = 1 << 20, BARRIERS = 16 };

/* Lanes are read as whatever type an instruction says. */
typedef uint32_t __attribute__((may_alias)) LaneW;
typedef uint64_t __attribute__((may_alias)) LaneD;

typedef struct Warp Warp;
typedef struct Ins Ins;
typedef void Run(Warp *, const Ins *, uint32_t mask);
typedef uint32_t Compare(const void *a, const void *b);

enum { POOL_REGISTERS, POOL_CONSTANTS, POOL_SINK, POOLS };

typedef struct Arg {
    uint8_t pool, bits; /* bits: 1 for a predicate */
    bool negated;       /* !%p */
    uint32_t at;        /* bytes into the pool */
    int64_t add;        /* of an address [arg + add] */
} Arg;

/* What an instruction does to the place in the program. A COLLECTIVE runs when all lanes of its member mask are
 * there, a BARRIER when all warps are. */
typedef enum Flow { FLOW_NEXT, FLOW_BRANCH, FLOW_TABLE, FLOW_EXIT, FLOW_COLLECTIVE, FLOW_BARRIER } Flow;
typedef enum Space { SPACE_GENERIC, SPACE_GLOBAL, SPACE_CONST, SPACE_PARAM, SPACE_LOCAL, SPACE_SHARED } Space;
enum { MEMBERS_ALL = -1, MEMBERS_LIVE = -2 };

struct Ins {
    Run *run;
    const Arg *arg;
    uint32_t first, n_args, line, target;
    Arg guard; /* bits 0: none */
    Flow flow;
    int members; /* of a COLLECTIVE: the argument with its member mask, or MEMBERS_* */
    Space space;
    uint8_t count, bytes, from, to; /* vector length, element size; types of a conversion */
    char round, logic;              /* n i z m p; & | ^ */
    bool is_signed, integral, saturate, relu, flush;
    Compare *compare;
};

typedef struct Param {
    uint32_t at, bytes;
} Param;

typedef struct Special {
    int which;
    uint32_t at;
} Special;

typedef struct Kernel {
    struct Kernel *next;
    const char *name, *file;
    Ins *code;
    Arg *args;
    uint8_t *constants, *param;
    uint32_t *targets; /* of brx.idx: a count, then the places */
    Param *params;
    Special *specials;
    uint32_t n_code, n_args, n_constants, n_targets, n_params, n_specials;
    uint32_t param_bytes, register_bytes, shared_bytes, local_bytes, max_threads, required[PTX_DIMS];
    bool ran;
} Kernel;

/* A cp.async on its way. */
typedef struct Copy {
    uint32_t lane, group, to;
    uint8_t bytes, valid;
    const uint8_t *from;
} Copy;

typedef struct Block {
    const Kernel *kernel;
    unsigned id[PTX_DIMS], grid[PTX_DIMS], dim[PTX_DIMS];
    uint8_t *shared; /* in a window of its own, so that generic addresses into it are known */
    size_t shared_bytes;
    Warp *warps;
    unsigned n_warps, arrived[BARRIERS];
    uint64_t steps;
} Block;

struct Warp {
    uint8_t *pool[POOLS];
    Block *block;
    const Ins *ins; /* where it is, for messages */
    uint32_t index, threads, live, parked, carry, at, mask;
    bool waiting;
    uint32_t pc[LANES], groups[LANES]; /* groups: cp.async groups committed */
    Copy *copies;
    uint32_t n_copies;
    uint8_t *local;
    uint8_t sink[LANES * 8] __attribute__((aligned(64)));
};

/* One entry of the instruction table: all spellings, operands, what it does.
 *   h w d  16, 32, 64 bits     x  a register of any width    p  a predicate     n  an immediate
 *   a      an address [r+i]    L  a label     T  a branch table     |p  an optional second result
 *   {...}  a vector            ?  what follows may be missing */
typedef struct Row {
    const char *spellings, *operands;
    Run *run;
    Flow flow;
    int members;
} Row;

extern const Row ptx_alu_rows[], ptx_float_rows[], ptx_warp_rows[], ptx_matrix_rows[],
    ptx_flow_rows[]; /* to {0} */

static inline void *ptx_at(const Warp *w, const Arg *a) { return w->pool[a->pool] + a->at; }
#define PTX_ARG(T, n) ((T *)ptx_at(w, &i->arg[n]))

static inline uint32_t ptx_predicate(const Warp *w, const Arg *a)
{
    uint32_t v = *(const LaneW *)ptx_at(w, a);
    return a->negated ? ~v : v;
}

static inline void ptx_set_predicate(Warp *w, const Arg *a, uint32_t mask, uint32_t v)
{
    LaneW *p = ptx_at(w, a);
    *p = (*p & ~mask) | (v & mask);
}

/* A lane of a register of any width. */
static inline uint64_t ptx_lane(const Warp *w, const Arg *a, int lane)
{
    const void *p = ptx_at(w, a);
    return a->bits == 64 ? ((const LaneD *)p)[lane] : ((const LaneW *)p)[lane];
}

static inline void ptx_set_lane(Warp *w, const Arg *a, int lane, uint64_t v)
{
    void *p = ptx_at(w, a);
    if (a->bits == 64)
        ((LaneD *)p)[lane] = v;
    else
        ((LaneW *)p)[lane] = a->bits == 16 ? (uint16_t)v : (uint32_t)v;
}

/* Once for every lane of the mask; all 32 are the compiler's to vectorise. */
#define PTX_LANES(mask, ...)                                                                                   \
    if ((mask) == UINT32_MAX) {                                                                                \
        _Pragma("GCC ivdep") for (int l = 0; l < LANES; l++) { __VA_ARGS__ }                                   \
    } else {                                                                                                   \
        for (uint32_t rest_ = (mask); rest_; rest_ &= rest_ - 1) {                                             \
            const int l = __builtin_ctz(rest_);                                                                \
            __VA_ARGS__                                                                                        \
        }                                                                                                      \
    }

/* Ends the process: "fatal: ptx: FILE:LINE: KERNEL block (x,y,z) thread (x,y,z): message". */
__attribute__((noreturn, format(printf, 3, 4))) void ptx_fault(const Warp *w, int lane, const char *format,
                                                               ...);
__attribute__((noreturn, format(printf, 1, 2))) void ptx_die(const char *format, ...);

/* The host address of a lane's access of `bytes` bytes (a power of two, to which it must be aligned). */
uint8_t *ptx_address(const Warp *w, const Arg *a, int lane, unsigned bytes, Space space);

/* ptx_async.c: error if copies of a lane that leaves are under way. */
void ptx_async_exit(const Warp *w, uint32_t mask);

/* ptx_run.c */
Run ptx_past_end;
void ptx_run(Kernel *k, const unsigned grid[PTX_DIMS], const unsigned block[PTX_DIMS], size_t dynamic_bytes);
bool ptx_barrier_release(Block *b); /* when no warp can go on; false: all are done */

/* ptx_special.c */
int ptx_special_find(const char *name, int n); /* -1: none */
void ptx_special_fill(Warp *w, const Special *s);

/* Grows an array by doubling when its length is a power of two. */
void *ptx_grow(void *array, uint32_t n, size_t size);
#define PTX_PUSH(array, n) ((array) = ptx_grow(array, n, sizeof *(array)), &(array)[(n)++])

#endif
