/* Malformed PyTorch files and the exact words each must be answered with, behind "PATH: ". */
typedef struct BadZip {
    Member member[5];
    unsigned entries; /* that the end declares; 0: the truth */
    const char *message;
} BadZip;

#define MEMBER(name, bytes)                                                                                    \
    {                                                                                                          \
        name, bytes, sizeof(bytes) - 1, 0, 0, 0, 0                                                             \
    }
#define PICKLE(bytes) MEMBER("a/data.pkl", P2 bytes ".")
#define DATA(n)                                                                                                \
    {                                                                                                          \
        "a/data/0", "0123456789abcdefghijklmnopqrstuvwxyz", n, 0, 0, 0, 0                                      \
    }
/* A tensor of 6 floats, from storage `key`. */
#define SIX(key) V2 STORAGE("Float", key, "\6") "K\0K\6\205K\1\205\211" DICT "tR"
#define ONE(key) "}U\1x" key "s"
#define K64      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
/* A list that holds memo entry `from` 16 times, as entry `to`. */
#define FOUR(x)         x x x x
#define BUSH(from, to)  "](" FOUR(FOUR("h" from)) "eq" to
#define BYTEORDER(text) MEMBER("a/byteorder", text)

static const BadZip bad_zips[] = {
    /* the archive */
    {{MEMBER("data.pkl", P2 "}.")}, 0, "0 members FOLDER/data.pkl, a file of torch.save has one"},
    {{MEMBER("a/b/data.pkl", P2 "}.")}, 0, "0 members FOLDER/data.pkl, a file of torch.save has one"},
    {{MEMBER("a/data.pklx", P2 "}.")}, 0, "0 members FOLDER/data.pkl, a file of torch.save has one"},
    {{MEMBER("a/constants.pkl", P2 ").")}, 0, "0 members FOLDER/data.pkl, a file of torch.save has one"},
    {{MEMBER("a/data.pkl", P2 "}."), MEMBER("b/data.pkl", P2 "}.")},
     0,
     "2 members FOLDER/data.pkl, a file of torch.save has one"},
    {{PICKLE("}")}, 2, "the zip archive cannot be read: Zip archive inconsistent"},
    {{PICKLE("}")}, 65535, "the zip archive cannot be read: Zip archive inconsistent"},
    {{{"a/data.pkl", P2 "}.", 4, 8, 0, 0, 0}},
     0,
     "member \"a/data.pkl\": expected it stored as it is, found method 8"},
    {{{"a/data.pkl", P2 "}.", 4, 99, 0, 0, 0}}, 0, "the zip archive cannot be read: Zip archive inconsistent"},
    {{{"a/data.pkl", P2 "}.", 4, 0, 1, 0, 0}}, 0, "member \"a/data.pkl\" is encrypted"},
    {{{"a/data.pkl", P2 "}.", 4, 0, 0, 5000, 0}}, 0, "the zip archive's directory and its members disagree"},
    {{{"a/data.pkl", P2 "}.", 4, 0, 0, 100, 0}}, 0, "the zip archive's directory and its members disagree"},
    {{{"a/data.pkl", P2 "}.", 4, 0, 0, 0, 50}}, 0, "the zip archive's directory and its members disagree"},
    {{{"a/data.pkl", P2 "}.", 4, 0, 0, 0, 1 << 30}}, 0, "the zip archive's directory and its members disagree"},
    /* one name twice: readers differ in which they take */
    {{PICKLE("}"), PICKLE("N")}, 0, "the zip archive's directory and its members disagree"},
    {{PICKLE(ONE(SIX("0"))), DATA(24), DATA(24)}, 0, "the zip archive's directory and its members disagree"},
    {{MEMBER("a/data.pkl", "")}, 0, "data.pkl: byte 0: 1 bytes are needed, 0 are left"},
    /* byte order */
    {{PICKLE("}"), BYTEORDER("big")}, 0, "byteorder: expected little, found \"big\""},
    {{PICKLE("}"), BYTEORDER("Little")}, 0, "byteorder: expected little, found \"Little\""},
    {{PICKLE("}"), BYTEORDER("little\n")}, 0, "byteorder: expected little, found \"little?\""},
    {{PICKLE("}"), BYTEORDER("")}, 0, "byteorder: expected little, found \"\""},
    {{PICKLE("}"), BYTEORDER("little, or whatever you like")}, 0, "byteorder: expected little, found \"\""},
    {{PICKLE("}"), {"a/byteorder", "little", 6, 8, 0, 0, 0}},
     0,
     "member \"a/byteorder\": expected it stored as it is, found method 8"},
    /* storages and members */
    {{PICKLE(ONE(SIX("0")))}, 0, "member \"a/data/0\" is missing"},
    {{PICKLE(ONE(SIX("1"))), DATA(24)}, 0, "member \"a/data/1\" is missing"},
    {{PICKLE(ONE(SIX("/"))), DATA(24)}, 0, "member \"a/data//\" is missing"},
    {{PICKLE(ONE(STORAGE("Float", "1", "\6"))), DATA(24)}, 0, "member \"a/data/1\" is missing"},
    {{PICKLE(ONE(SIX("0"))), DATA(20)}, 0, "storage \"0\": 24 bytes declared, 20 are there"},
    {{PICKLE(ONE(SIX("0"))), DATA(28)}, 0, "storage \"0\": 24 bytes declared, 28 are there"},
    {{PICKLE(ONE(SIX("0"))), DATA(0)}, 0, "storage \"0\": 24 bytes declared, 0 are there"},
    {{PICKLE("}(U\1x" SIX("0") "U\1y" STORAGE("Float", "0", "\5") "u"), DATA(24)},
     0,
     "storage \"0\": 20 bytes declared, 24 are there"},
    {{PICKLE("}(U\1x" SIX("0") "U\1y" STORAGE("Double", "0", "\6") "u"), DATA(24)},
     0,
     "storage \"0\": 48 bytes declared, 24 are there"},
    {{PICKLE(ONE(SIX("0"))), {"a/data/0", "0123456789abcdefghijklmnopqrstuvwxyz", 24, 8, 0, 0, 0}},
     0,
     "member \"a/data/0\": expected it stored as it is, found method 8"},
    {{PICKLE(ONE(SIX("0"))), {"a/data/0", "0123456789abcdefghijklmnopqrstuvwxyz", 24, 0, 1, 0, 0}},
     0,
     "member \"a/data/0\" is encrypted"},
    {{PICKLE(ONE(SIX("0"))), {"a/data/0", "", 0, 0, 0, 24, 0}},
     0,
     "the zip archive's directory and its members disagree"},
    {{PICKLE(ONE(SIX("0"))), MEMBER("b/data/0", "0123456789abcdefghijklmn")},
     0,
     "member \"a/data/0\" is missing"},
    /* the pickle, in words of data/pickle.h (tests/data/pickle_bad.h has the others) */
    {{PICKLE("cos\nsystem\nU\4true\205R")}, 0, "data.pkl: byte 2: global os.system is not allowed"},
    {{PICKLE("cbuiltins\nexec\nU\4pass\205R")}, 0, "data.pkl: byte 2: global builtins.exec is not allowed"},
    {{PICKLE("c__torch__\nNet\n)\201")}, 0, "data.pkl: byte 2: global __torch__.Net is not allowed"},
    {{PICKLE("c__torch__\nNet\n)\201}b")}, 0, "data.pkl: byte 2: global __torch__.Net is not allowed"},
    {{MEMBER("a/data.pkl", P2 "}")}, 0, "data.pkl: byte 3: 1 bytes are needed, 0 are left"},
    {{MEMBER("a/data.pkl", "\200\6}.")}, 0, "data.pkl: byte 0: pickle protocol 6, expected 2 to 4"},
    {{PICKLE("X\377\377\377\377")}, 0, "data.pkl: byte 2: a text of 4294967295 bytes, 1 are left"},
    /* what it holds */
    {{PICKLE("]")}, 0, "expected a dict of tensors, found a list"},
    {{PICKLE("N")}, 0, "expected a dict of tensors, found None"},
    {{PICKLE(SIX("0")), DATA(24)}, 0, "expected a dict of tensors, found a tensor"},
    {{PICKLE(")")}, 0, "expected a dict of tensors, found a tuple"},
    {{PICKLE("U\1a")}, 0, "expected a dict of tensors, found a text"},
    {{PICKLE("}(U\1x" SIX("0") "q\1U\1xh\1u"), DATA(24)}, 0, "tensor \"x\" is there twice"},
    {{PICKLE("}(U\3x.y" SIX("0") "q\1U\1x}U\1yh\1su"), DATA(24)}, 0, "tensor \"x.y\" is there twice"},
    {{PICKLE("}(K\1" SIX("0") "q\1U\0011h\1u"), DATA(24)}, 0, "tensor \"1\" is there twice"},
    {{PICKLE("}q\0U\1xh\0s")},
     0,
     "\"x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.\": nested deeper than "
     "64 "
     "levels"},
    {{PICKLE("}U\1l]q\0h\0as")},
     0,
     "\"l.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.\": nested deeper than "
     "64 "
     "levels"},
    /* each list holds the one before 16 times: 16 to the 8th values */
    {{PICKLE("}U\1l(]q\0" BUSH("\0", "\1") BUSH("\1", "\2") BUSH("\2", "\3") BUSH("\3", "\4") BUSH("\4", "\5")
                 BUSH("\5", "\6") BUSH("\6", "\7") "ts")},
     0,
     "more than 4194304 values in its dicts and lists"},
    {{PICKLE("}X\0\2\0\0" K64 K64 K64 K64 K64 K64 K64 K64 SIX("0") "s"), DATA(24)},
     0,
     "\"" K64 "0123456789abcdef...\": a name of more than 511 bytes"},
    {{PICKLE(ONE("}U\1y" V2 "(U\7storagectorch\nFloatStorage\nX\0\2\0\0" K64 K64 K64 K64 K64 K64 K64 K64
                 "U\3cpuK\6tQK\0K\6\205K\1\205\211" DICT "tRs")),
      DATA(24)},
     0,
     "data.pkl: byte 599: a storage's key of 512 bytes, expected at most 255"},
};

typedef struct BadRun {
    const char *bytes;
    size_t n;
    const char *message;
} BadRun;

#define RUN(bytes, message)                                                                                    \
    {                                                                                                          \
        bytes, sizeof(bytes) - 1, message                                                                      \
    }
#define MAGIC      P2 "\212\12\154\374\234\106\371\040\152\250\120\031."
#define VERSION    P2 "M\351\3."
#define SYSTEM     P2 "}U\15little_endian\210s."
#define HEAD       MAGIC VERSION SYSTEM
#define KEYS(keys) P2 "](" keys "e."
#define COUNT(n)   n "\0\0\0\0\0\0\0"
#define FLOATS6    "0123456789abcdefghijklmn"

static const BadRun bad_runs[] = {
    RUN("\200\2", "byte 2: 1 bytes are needed, 0 are left"),
    RUN(P2 "}.XXXXXXXX", "a pickle, but not one that torch.save wrote"),
    RUN(P2 "cnumpy.core.multiarray\n_reconstruct\n.",
        "byte 2: global numpy.core.multiarray._reconstruct is not allowed"),
    RUN(P2 "\212\12\154\374\234\106\371\040\152\250\120\030.", "a pickle, but not one that torch.save wrote"),
    RUN(P2 "\212\11\154\374\234\106\371\040\152\250\120.", "a pickle, but not one that torch.save wrote"),
    RUN("\200\5\212\12\154\374\234\106\371\040\152\250\120\031.", "byte 0: pickle protocol 5, expected 2 to 4"),
    RUN(MAGIC, "byte 15: 1 bytes are needed, 0 are left"),
    RUN(MAGIC P2 "M\350\3.", "the second pickle: expected the protocol's number 1001"),
    RUN(MAGIC P2 "N.", "the second pickle: expected the protocol's number 1001"),
    RUN(MAGIC VERSION, "byte 21: 1 bytes are needed, 0 are left"),
    RUN(MAGIC VERSION P2 "}.", "the third pickle: expected \"little_endian\": true"),
    RUN(MAGIC VERSION P2 "N.", "the third pickle: expected \"little_endian\": true"),
    RUN(MAGIC VERSION P2 "}U\15little_endian\211s.", "the third pickle: expected \"little_endian\": true"),
    RUN(MAGIC VERSION P2 "}U\15little_endianK\1s.", "the third pickle: expected \"little_endian\": true"),
    RUN(HEAD, "byte 42: 1 bytes are needed, 0 are left"),
    RUN(HEAD P2 "cos\nsystem\n.", "byte 44: global os.system is not allowed"),
    RUN(HEAD P2 "}.", "byte 46: 1 bytes are needed, 0 are left"),
    RUN(HEAD P2 "}." P2 "}.", "the storages' keys: expected a list, found a dict"),
    RUN(HEAD P2 "]." P2 "].", "expected a dict of tensors, found a list"),
    RUN(HEAD P2 "}." P2 "].x", "1 bytes after the last storage"),
    RUN(HEAD P2 "}." KEYS("U\0010"), "storage \"0\" is no tensor's"),
    RUN(HEAD P2 "}." KEYS("N"), "storage \"\" is no tensor's"),
    RUN(HEAD P2 ONE(SIX("0")) "." P2 "].", "1 storages are not in the file"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0011"), "storage \"1\" is no tensor's"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010"), "storage \"0\": the file ends at byte 173"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") "\6\0\0\0\0\0\0", "storage \"0\": the file ends at byte 180"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") COUNT("\6"), "storage \"0\": 6 elements, 0 bytes are left"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") COUNT("\5") FLOATS6,
        "storage \"0\": 24 bytes declared, 20 are there"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") COUNT("\0") FLOATS6,
        "storage \"0\": 24 bytes declared, 0 are there"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") COUNT("\7") FLOATS6,
        "storage \"0\": 7 elements, 24 bytes are left"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") "\6\0\0\0\0\0\0\100" FLOATS6,
        "storage \"0\": 4611686018427387910 elements, 24 bytes are left"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") "\377\377\377\377\377\377\377\377" FLOATS6,
        "storage \"0\": 18446744073709551615 elements, 24 bytes are left"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010") COUNT("\6") FLOATS6 "\0", "1 bytes after the last storage"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010U\0010") COUNT("\6") FLOATS6, "storage \"0\" is there twice"),
    RUN(HEAD P2 ONE(SIX("0")) "." KEYS("U\0010U\0011") COUNT("\6") FLOATS6, "storage \"1\" is no tensor's"),
    RUN(HEAD P2 "}(U\1x" SIX("0") "U\1y" SIX("1") "u." KEYS("U\0010") COUNT("\6") FLOATS6,
        "1 storages are not in the file"),
    RUN(HEAD P2 "}(U\1x" SIX("0") "U\1y" STORAGE("Double", "0", "\6") "u." KEYS("U\0010") COUNT("\6") FLOATS6,
        "storage \"0\": 6 elements, 24 bytes are left"),
    RUN(HEAD P2 "}(U\1x" SIX("0") "U\1y" STORAGE("Int", "0", "\5") "u." KEYS("U\0010") COUNT("\6") FLOATS6,
        "storage \"0\": 20 bytes declared, 24 are there"),
};
