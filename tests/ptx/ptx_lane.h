/* Instructions that do the same in every lane, from .def tables: types of lanes, loops over lanes, rows. */
#ifndef TESTS_PTX_PTX_LANE_H
#define TESTS_PTX_PTX_LANE_H
#include "tests/ptx/ptx_code.h"

typedef float __attribute__((may_alias)) LaneF;
typedef double __attribute__((may_alias)) LaneG;
typedef int32_t __attribute__((may_alias)) LaneI;
typedef int64_t __attribute__((may_alias)) LaneL;

/* T: what a formula sees; LANE_T: how a lane keeps it; LETTER_T: its width in a row. H, B: bits of f16, bf16.
 */
#define TYPE_U16   uint16_t
#define TYPE_S16   int16_t
#define TYPE_H     uint16_t
#define TYPE_U32   uint32_t
#define TYPE_S32   int32_t
#define TYPE_F32   float
#define TYPE_U64   uint64_t
#define TYPE_S64   int64_t
#define TYPE_F64   double
#define LANE_U16   LaneW
#define LANE_S16   LaneW
#define LANE_H     LaneW
#define LANE_U32   LaneW
#define LANE_S32   LaneI
#define LANE_F32   LaneF
#define LANE_U64   LaneD
#define LANE_S64   LaneL
#define LANE_F64   LaneG
#define LETTER_U16 "h"
#define LETTER_S16 "h"
#define LETTER_H   "h"
#define LETTER_U32 "w"
#define LETTER_S32 "w"
#define LETTER_F32 "w"
#define LETTER_U64 "d"
#define LETTER_S64 "d"
#define LETTER_F64 "d"
/* 16 bits are kept zero-extended. */
#define KEPT_U16(v) ((uint16_t)(v))
#define KEPT_S16(v) ((uint16_t)(v))
#define KEPT_H(v)   ((uint16_t)(v))
#define KEPT_U32(v) (v)
#define KEPT_S32(v) (v)
#define KEPT_F32(v) (v)
#define KEPT_U64(v) (v)
#define KEPT_S64(v) (v)
#define KEPT_F64(v) (v)

#define LANE_SOURCE(x, n, T) const LANE_##T *x##_ = PTX_ARG(const LANE_##T, n);
#define LANE_VALUE(x, T)     const TYPE_##T x = (TYPE_##T)x##_[l];
#define LANE_RESULT(D)       LANE_##D *out_ = PTX_ARG(LANE_##D, 0);

#define LANE_RUN1(name, D, A, y)                                                                               \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LANE_RESULT(D) LANE_SOURCE(a, 1, A) PTX_LANES(mask, LANE_VALUE(a, A) out_[l] = KEPT_##D(y);)           \
    }
#define LANE_RUN2(name, D, A, B, y)                                                                            \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LANE_RESULT(D)                                                                                         \
        LANE_SOURCE(a, 1, A)                                                                                   \
        LANE_SOURCE(b, 2, B) PTX_LANES(mask, LANE_VALUE(a, A) LANE_VALUE(b, B) out_[l] = KEPT_##D(y);)         \
    }
#define LANE_RUN3(name, D, A, B, C, y)                                                                         \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LANE_RESULT(D)                                                                                         \
        LANE_SOURCE(a, 1, A)                                                                                   \
        LANE_SOURCE(b, 2, B)                                                                                   \
        LANE_SOURCE(c, 3, C)                                                                                   \
        PTX_LANES(mask, LANE_VALUE(a, A) LANE_VALUE(b, B) LANE_VALUE(c, C) out_[l] = KEPT_##D(y);)             \
    }
#define LANE_RUN4(name, R, A, B, C, D, y)                                                                      \
    static void name(Warp *w, const Ins *i, uint32_t mask)                                                     \
    {                                                                                                          \
        LANE_RESULT(R)                                                                                         \
        LANE_SOURCE(a, 1, A)                                                                                   \
        LANE_SOURCE(b, 2, B)                                                                                   \
        LANE_SOURCE(c, 3, C)                                                                                   \
        LANE_SOURCE(d, 4, D)                                                                                   \
        PTX_LANES(mask,                                                                                        \
                  LANE_VALUE(a, A) LANE_VALUE(b, B) LANE_VALUE(c, C) LANE_VALUE(d, D) out_[l] = KEPT_##R(y);)  \
    }

/* The rows of a .def file. */
#define LANE_ROW1(name, spellings, D, A, y) {spellings, LETTER_##D LETTER_##A, name, FLOW_NEXT, 0},
#define LANE_ROW2(name, spellings, D, A, B, y)                                                                 \
    {spellings, LETTER_##D LETTER_##A LETTER_##B, name, FLOW_NEXT, 0},
#define LANE_ROW3(name, spellings, D, A, B, C, y)                                                              \
    {spellings, LETTER_##D LETTER_##A LETTER_##B LETTER_##C, name, FLOW_NEXT, 0},
#define LANE_ROW4(name, spellings, R, A, B, C, D, y)                                                           \
    {spellings, LETTER_##R LETTER_##A LETTER_##B LETTER_##C LETTER_##D, name, FLOW_NEXT, 0},

#endif
