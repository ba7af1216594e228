/* Malformed GGUF files and the exact words each must be answered with. A file is written as words: G the four
 * letters, 1:n 4:n 8:n a number of so many bytes, s:text a string with its u64 length, x:00ff bytes, z:n so
 * many zeros, /:n zeros up to a multiple of n. */
typedef struct BadFile {
    const char *words, *message;
} BadFile;

#define FILE_OF(tensors, keys) "G 4:3 8:" tensors " 8:" keys " "
#define KEY(type, value)       FILE_OF("0", "1") "s:k 4:" type " " value
#define ONE(info)              FILE_OF("1", "0") "s:a " info " /:32 "
/* dims, type, offset */
#define VECTOR(n, type, offset) "4:1 8:" n " 4:" type " 8:" offset
#define MATRIX(n, rows, type)   "4:2 8:" n " 8:" rows " 4:" type " 8:0"

static const BadFile bad_files[] = {
    /* the header */
    {"", "header: 4 bytes from byte 0 on, the file has 0"},
    {"x:474755", "header: 4 bytes from byte 0 on, the file has 3"},
    {"x:47475546", "header: 4 bytes from byte 4 on, the file has 4"},
    {"x:4747554600", "header: 4 bytes from byte 4 on, the file has 5"},
    {"x:47474d4c 4:3 8:0 8:0", "header: begins with 47 47 4d 4c, expected GGUF"},
    {"x:46554747 4:3 8:0 8:0", "header: begins with 46 55 47 47, expected GGUF"},
    {"G 4:0 8:0 8:0", "header: version 0, expected 2 or 3"},
    {"G 4:1 4:0 4:0", "header: version 1, expected 2 or 3"},
    {"G 4:4 8:0 8:0", "header: version 4, expected 2 or 3"},
    {"G 4:50331648 8:0 8:0", "header: version 50331648, expected 2 or 3 (the file is big-endian)"},
    {"G 4:-1 8:0 8:0", "header: version 4294967295, expected 2 or 3"},
    {"G 4:3", "header: 8 bytes from byte 8 on, the file has 8"},
    {"G 4:3 8:0 4:0", "header: 8 bytes from byte 16 on, the file has 20"},
    /* counts that the file has no room for */
    {FILE_OF("0", "1"), "header: 1 keys, the 0 bytes that follow have room for at most 0"},
    {FILE_OF("0", "2") "z:27", "header: 2 keys, the 27 bytes that follow have room for at most 1"},
    {FILE_OF("0", "-1") "z:99",
     "header: 18446744073709551615 keys, the 99 bytes that follow have room for at most 7"},
    {FILE_OF("0", "9223372036854775808") "z:14",
     "header: 9223372036854775808 keys, the 14 bytes that follow have room for at most 1"},
    {FILE_OF("1", "0"), "header: 1 tensors, the 0 bytes that follow have room for at most 0"},
    {FILE_OF("3", "0") "z:74", "header: 3 tensors, the 74 bytes that follow have room for at most 2"},
    {FILE_OF("-1", "0") "z:25",
     "header: 18446744073709551615 tensors, the 25 bytes that follow have room for at most 1"},
    {FILE_OF("737869762948382065", "0") "z:64", /* times 25 is 2^64 + 9 */
     "header: 737869762948382065 tensors, the 64 bytes that follow have room for at most 2"},
    /* keys */
    {FILE_OF("0", "1") "8:0 4:4 4:7", "key 0: its name is empty"},
    {FILE_OF("0", "1") "8:99 4:4 4:7", "key 0: a string of 99 bytes, only 8 are there"},
    {FILE_OF("0", "1") "8:-1 4:4 4:7", "key 0: a string of 18446744073709551615 bytes, only 8 are there"},
    {FILE_OF("0", "1") "8:65536 z:65536 4:4 4:7", "key 0: a string of 65536 bytes, expected at most 65535"},
    {FILE_OF("0", "1") "8:3 x:610062 4:4 4:7", "key 0: byte 1 of the string is NUL"},
    {FILE_OF("0", "1") "8:3 x:61ff62 4:4 4:7", "key 0: byte 1 of the string (0xff) is not UTF-8"},
    {FILE_OF("0", "1") "8:3 x:eda080 4:4 4:7", "key 0: byte 0 of the string (0xed) is not UTF-8"},
    {KEY("256", "z:8"), "key \"k\": type 256, expected 0 to 12"},
    {KEY("13", "z:8"), "key \"k\": type 13, expected 0 to 12"},
    {KEY("-1", "z:8"), "key \"k\": type 4294967295, expected 0 to 12"},
    {KEY("0", "z:1") " z:32", "data: 6 bytes, its tensors have 0"},
    {KEY("4", "z:3"), "key \"k\": 4 bytes from byte 37 on, the file has 40"},
    {KEY("10", "z:7"), "key \"k\": 8 bytes from byte 37 on, the file has 44"},
    {KEY("12", "z:1"), "key \"k\": 8 bytes from byte 37 on, the file has 38"},
    {KEY("7", "1:2"), "key \"k\": a bool of 2, expected 0 or 1"},
    {KEY("7", "1:255"), "key \"k\": a bool of 255, expected 0 or 1"},
    {KEY("8", "z:7"), "key \"k\": 8 bytes from byte 37 on, the file has 44"},
    {KEY("8", "8:1"), "key \"k\": a string of 1 bytes, only 0 are there"},
    {KEY("8", "8:9223372036854775807 z:9"),
     "key \"k\": a string of 9223372036854775807 bytes, only 9 are there"},
    {KEY("8", "8:-8 z:9"), "key \"k\": a string of 18446744073709551608 bytes, only 9 are there"},
    {KEY("8", "8:2 x:c3c3"), "key \"k\": byte 0 of the string (0xc3) is not UTF-8"},
    {KEY("8", "8:2 x:4100"), "key \"k\": byte 1 of the string is NUL"},
    {FILE_OF("0", "2") "s:k 4:4 4:1 s:k 4:4 4:1", "key \"k\" is there twice"},
    {FILE_OF("0", "3") "s:k 4:4 4:1 s:l 4:0 1:1 s:k 4:9 4:0 8:0", "key \"k\" is there twice"},
    {FILE_OF("0", "2") "s:k 4:9 4:0 8:0 s:k 4:9 4:4 8:0", "key \"k\" is there twice"},
    /* lists */
    {KEY("9", "4:0"), "key \"k\": 8 bytes from byte 41 on, the file has 41"},
    {KEY("9", "4:13 8:0"), "key \"k\": a list of type 13, expected 0 to 12"},
    {KEY("9", "4:9 8:0"), "key \"k\": a list of lists, expected numbers, bools or strings"},
    {KEY("9", "4:9 8:1 4:4 8:1 4:7"), "key \"k\": a list of lists, expected numbers, bools or strings"},
    {KEY("9", "4:0 8:1"), "key \"k\": a list of 1 u8, only 0 bytes are there"},
    {KEY("9", "4:4 8:3 z:11"), "key \"k\": a list of 3 u32, only 11 bytes are there"},
    {KEY("9", "4:12 8:2305843009213693952 z:16"), /* times 8 is 2^64 */
     "key \"k\": a list of 2305843009213693952 f64, only 16 bytes are there"},
    {KEY("9", "4:5 8:4611686018427387905 z:16"), /* times 4 is 2^64 + 4 */
     "key \"k\": a list of 4611686018427387905 i32, only 16 bytes are there"},
    {KEY("9", "4:8 8:-1 z:16"), "key \"k\": a list of 18446744073709551615 string, only 16 bytes are there"},
    {KEY("9", "4:8 8:3 z:16"), "key \"k\": a list of 3 string, only 16 bytes are there"},
    {KEY("9", "4:8 8:2 s:ab 8:3"), "key \"k\": a string of 3 bytes, only 0 are there"},
    {KEY("9", "4:8 8:2 8:20 z:16"), "key \"k\": a string of 20 bytes, only 16 are there"},
    {KEY("9", "4:8 8:2 8:8 z:8 4:0"), "key \"k\": 8 bytes from byte 65 on, the file has 69"},
    /* the alignment */
    {FILE_OF("0", "1") "s:general.alignment 4:4 4:0",
     "key \"general.alignment\": expected a power of two, found 0"},
    {FILE_OF("0", "1") "s:general.alignment 4:4 4:24",
     "key \"general.alignment\": expected a power of two, found 24"},
    {FILE_OF("0", "1") "s:general.alignment 4:4 4:-1",
     "key \"general.alignment\": expected a power of two, found 4294967295"},
    {FILE_OF("0", "1") "s:general.alignment 4:10 8:32",
     "key \"general.alignment\": expected a value of type u32, found u64"},
    {FILE_OF("0", "1") "s:general.alignment 4:8 s:32",
     "key \"general.alignment\": expected a value of type u32, found string"},
    {FILE_OF("0", "1") "s:general.alignment 4:9 4:4 8:1 4:32",
     "key \"general.alignment\": expected a value of type u32, found list"},
    {FILE_OF("1", "1") "s:general.alignment 4:4 4:2147483648 s:a " VECTOR("1", "0", "0") " z:100",
     "data: begins at byte 2147483648, the file has 190"},
    /* tensors */
    {FILE_OF("1", "0") "8:0 " VECTOR("1", "0", "0"), "tensor 0: its name is empty"},
    {FILE_OF("1", "0") "8:65 z:65 " VECTOR("1", "0", "0"),
     "tensor 0: a string of 65 bytes, expected at most 64"},
    {FILE_OF("1", "0") "8:-1 z:25", "tensor 0: a string of 18446744073709551615 bytes, only 25 are there"},
    {FILE_OF("1", "0") "8:2 x:6100 " VECTOR("1", "0", "0"), "tensor 0: byte 1 of the string is NUL"},
    {FILE_OF("1", "0") "8:2 x:61e7 " VECTOR("1", "0", "0"),
     "tensor 0: byte 1 of the string (0xe7) is not UTF-8"},
    {ONE("4:5 8:1 8:1 8:1 8:1 8:1 4:0 8:0") "z:32", "tensor \"a\": 5 dims, expected at most 4"},
    {ONE("4:-1 8:1 4:0 8:0") "z:32", "tensor \"a\": 4294967295 dims, expected at most 4"},
    {ONE("4:1 8:-1 4:0 8:0") "z:32", "tensor \"a\": dim 0 is 18446744073709551615"},
    {ONE("4:2 8:1 8:9223372036854775808 4:0 8:0") "z:32", "tensor \"a\": dim 1 is 9223372036854775808"},
    {FILE_OF("1", "0") "s:a 4:4 8:1 8:1", "tensor \"a\": 8 bytes from byte 53 on, the file has 53"},
    {FILE_OF("1", "0") "s:a 4:1 8:1 4:0", "tensor \"a\": 8 bytes from byte 49 on, the file has 49"},
    {ONE(VECTOR("1", "6", "0")) "z:32", "tensor \"a\": type 6 (Q5_0) is not read; expected F64, F32, F16, "
                                        "BF16, I64, I32, I16, I8, Q4_0, Q4_1, Q8_0, "
                                        "Q4_K or Q6_K"},
    {ONE(VECTOR("256", "23", "0")) "z:256",
     "tensor \"a\": type 23 (IQ4_XS) is not read; expected F64, F32, F16, BF16, I64, I32, I16, I8, Q4_0, Q4_1, "
     "Q8_0, Q4_K or Q6_K"},
    {ONE(VECTOR("1", "31", "0")) "z:32", "tensor \"a\": type 31 (?) is not read; expected F64, F32, F16, BF16, "
                                         "I64, I32, I16, I8, Q4_0, Q4_1, Q8_0, "
                                         "Q4_K or Q6_K"},
    {ONE(VECTOR("1", "-1", "0")) "z:32", "tensor \"a\": type 4294967295 (?) is not read; expected F64, F32, "
                                         "F16, BF16, I64, I32, I16, I8, Q4_0, Q4_1, "
                                         "Q8_0, Q4_K or Q6_K"},
    /* rows that are no whole number of blocks */
    {ONE(VECTOR("33", "2", "0")) "z:64", "tensor \"a\": rows of 33 values, expected a multiple of Q4_0's 32"},
    {ONE(MATRIX("16", "2", "8")) "z:64", "tensor \"a\": rows of 16 values, expected a multiple of Q8_0's 32"},
    {ONE(MATRIX("128", "2", "12")) "z:256",
     "tensor \"a\": rows of 128 values, expected a multiple of Q4_K's 256"},
    {ONE("4:0 4:14 8:0") "z:256", "tensor \"a\": rows of 1 values, expected a multiple of Q6_K's 256"},
    /* sizes that wrap, or that the file does not have */
    {ONE(VECTOR("4611686018427387904", "0", "0")) "z:32", /* times 4 is 2^64 */
     "tensor \"a\": F32 (4611686018427387904) is more than the file has"},
    {ONE(MATRIX("4294967296", "4294967296", "0")) "z:32",
     "tensor \"a\": F32 (4294967296,4294967296) is more than the file has"},
    {ONE("4:4 8:65536 8:65536 8:65536 8:65537 4:24 8:0") "z:32",
     "tensor \"a\": I8 (65537,65536,65536,65536) is more than the file has"},
    {ONE(MATRIX("4294967296", "134217728", "2")) "z:64", /* 2^54 blocks of 18 bytes */
     "tensor \"a\": Q4_0 (134217728,4294967296) is more than the file has"},
    {ONE(MATRIX("9223372036854775552", "2", "12")) "z:64",
     "tensor \"a\": Q4_K (2,9223372036854775552) is more than the file has"},
    {ONE(VECTOR("24", "0", "0")) "z:32", "tensor \"a\": 96 bytes from byte 0 of the data, which has 32"},
    {ONE(MATRIX("32", "3", "2")) "z:53", "tensor \"a\": 54 bytes from byte 0 of the data, which has 53"},
    {ONE(VECTOR("8", "0", "32")) "z:64", "tensor \"a\": begins at byte 32 of the data, expected 0 (a hole)"},
    {ONE(VECTOR("8", "0", "8")) "z:64", "tensor \"a\": begins at byte 8 of the data, expected 0 (not aligned)"},
    {ONE(VECTOR("8", "0", "-32")) "z:64",
     "tensor \"a\": begins at byte 18446744073709551584 of the data, expected 0 (a hole)"},
    {FILE_OF("1", "0") "s:a " VECTOR("1", "0", "0"), "data: begins at byte 64, the file has 57"},
    {FILE_OF("1", "0") "s:a " VECTOR("0", "0", "0"), "data: begins at byte 64, the file has 57"},
    {ONE(VECTOR("8", "0", "0")) "z:64", "data: 64 bytes, its tensors have 32"},
    {ONE(VECTOR("7", "0", "0")) "z:33", "data: 33 bytes, its tensors have 28"},
    {FILE_OF("2", "0") "s:a " VECTOR("8", "0", "0") " s:a " VECTOR("8", "0", "32") " /:32 z:64",
     "tensor \"a\" is there twice"},
    {FILE_OF("2", "0") "s:a " VECTOR("8", "0", "0") " s:b " VECTOR("8", "0", "0") " /:32 z:64",
     "tensor \"b\": begins at byte 0 of the data, expected 32 (an overlap)"},
    {FILE_OF("2", "0") "s:a " VECTOR("16", "0", "0") " s:b " VECTOR("8", "0", "32") " /:32 z:96",
     "tensor \"b\": begins at byte 32 of the data, expected 64 (an overlap)"},
    {FILE_OF("2", "0") "s:b " VECTOR("8", "0", "64") " s:a " VECTOR("8", "0", "0") " /:32 z:96",
     "tensor \"b\": begins at byte 64 of the data, expected 32 (a hole)"},
    {FILE_OF("2", "0") "s:a " VECTOR("7", "0", "0") " s:b " VECTOR("8", "0", "28") " /:32 z:60",
     "tensor \"b\": begins at byte 28 of the data, expected 32 (not aligned)"},
    {FILE_OF("2", "0") "s:a " VECTOR("8", "0", "0") " s:b " VECTOR("9", "0", "32") " /:32 z:64",
     "tensor \"b\": 36 bytes from byte 32 of the data, which has 64"},
    {FILE_OF("2", "1") "s:general.alignment 4:4 4:64 s:a " VECTOR("8", "0", "0") " s:b " VECTOR(
         "8", "0", "32") " /:64 z:64",
     "tensor \"b\": begins at byte 32 of the data, expected 64 (not aligned)"},
};
