/* Malformed 4-bit weights, as bitsandbytes stores them, and the exact words each must be answered with. The
 * weight is w, of 2 x 64 nf4 values; one of its entries is changed, or all but that are as they should be. In
 * JSON ' stands for ". */
typedef struct BadQuant {
    bool nested;
    const char *part; /* the entry: "" codes, "absmax", ..., "state" */
    StDType dtype;
    int64_t n;        /* its elements; -1: it is left out */
    int at;           /* of quant_map and nested_quant_map: this value ... */
    float value;      /* ... is put in; 0: none is */
    const char *json; /* of "state" */
    const char *message;
} BadQuant;

#define NF4        "{'quant_type':'nf4','blocksize':64,'dtype':'float32','shape':[2,64]"
#define NESTED     ",'nested_blocksize':256,'nested_dtype':'float32','nested_offset':0.5"
#define STATE_NAME "tensor w.quant_state.bitsandbytes__nf4"
#define JSON(text, words)                                                                                      \
    {                                                                                                          \
        false, "state", ST_U8, 0, 0, 0, text, words                                                            \
    }
#define NESTED_JSON(text, words)                                                                               \
    {                                                                                                          \
        true, "state", ST_U8, 0, 0, 0, text, words                                                             \
    }
#define SHAPE(shape, found)                                                                                    \
    {                                                                                                          \
        false, "state", ST_U8, 0, 0, 0, "{'quant_type':'nf4','blocksize':64,'shape':" shape "}",               \
            "tensor w: expected shape [2,64], found " found                                                    \
    }
#define PART(nested, part, dtype, n, words)                                                                    \
    {                                                                                                          \
        nested, part, dtype, n, 0, 0, NULL, words                                                              \
    }
#define VALUE(nested, part, at, value, words)                                                                  \
    {                                                                                                          \
        nested, part, ST_F32, 0, at, value, NULL, words                                                        \
    }

static const BadQuant bad_quants[] = {
    /* no JSON */
    JSON("", STATE_NAME ":1:0: not JSON: unexpected token near end of file"),
    JSON(NF4, STATE_NAME ":1:67: not JSON: '}' expected near end of file"),
    JSON(NF4 "}}", STATE_NAME ":1:69: not JSON: end of file expected near '}'"),
    JSON(NF4 ",}", STATE_NAME ":1:69: not JSON: string or '}' expected near '}'"),
    JSON("3", "tensor w: expected quant_type nf4, found none"),
    JSON("null", "tensor w: expected quant_type nf4, found none"),
    JSON("'nf4'", "tensor w: expected quant_type nf4, found none"),
    JSON("{'quant_type':'nf4','quant_type':'fp4'}",
         STATE_NAME ":1:32: not JSON: duplicate object key near '\"quant_type\"'"),
    JSON("{'quant_type':'n\xff'}", STATE_NAME ":1:16: not JSON: unable to decode byte 0xff near '\"n'"),
    JSON("{'quant_type':nan}", STATE_NAME ":1:17: not JSON: invalid token near 'nan'"),
    JSON("{'shape':[2,99999999999999999999]}",
         STATE_NAME ":1:32: not JSON: too big integer near '99999999999999999999'"),
    {false, "state", ST_I8, 80, 0, 0, NULL,
     STATE_NAME ": expected at most 65536 bytes of JSON, found another dtype or size"},
    {false, "state", ST_F32, 20, 0, 0, NULL,
     STATE_NAME ": expected at most 65536 bytes of JSON, found another dtype or size"},
    {false, "state", ST_U8, 65537, 0, 0, NULL,
     STATE_NAME ": expected at most 65536 bytes of JSON, found another dtype or size"},
    /* quant_type */
    JSON("[]", "tensor w: expected quant_type nf4, found none"),
    JSON("{}", "tensor w: expected quant_type nf4, found none"),
    JSON("{'quant_type':null}", "tensor w: expected quant_type nf4, found none"),
    JSON("{'quant_type':4}", "tensor w: expected quant_type nf4, found none"),
    JSON("{'quant_type':['nf4']}", "tensor w: expected quant_type nf4, found none"),
    JSON("{'quant_type':'fp4'}", "tensor w: expected quant_type nf4, found fp4"),
    JSON("{'quant_type':'NF4'}", "tensor w: expected quant_type nf4, found NF4"),
    JSON("{'quant_type':'nf4 '}", "tensor w: expected quant_type nf4, found nf4 "),
    JSON("{'quant_type':'a very long name of a type'}",
         "tensor w: expected quant_type nf4, found a very long name of "),
    JSON("{'quant_type':'x\\nfatal: y'}", "tensor w: expected quant_type nf4, found x?fatal: y"),
    /* blocksize */
    JSON("{'quant_type':'nf4'}", "tensor w: expected blocksize 64, found -1"),
    JSON("{'quant_type':'nf4','blocksize':0}", "tensor w: expected blocksize 64, found 0"),
    JSON("{'quant_type':'nf4','blocksize':-64}", "tensor w: expected blocksize 64, found -64"),
    JSON("{'quant_type':'nf4','blocksize':128}", "tensor w: expected blocksize 64, found 128"),
    JSON("{'quant_type':'nf4','blocksize':64.0}", "tensor w: expected blocksize 64, found -1"),
    JSON("{'quant_type':'nf4','blocksize':'64'}", "tensor w: expected blocksize 64, found -1"),
    JSON("{'quant_type':'nf4','blocksize':9223372036854775807}",
         "tensor w: expected blocksize 64, found 9223372036854775807"),
    /* shape */
    JSON("{'quant_type':'nf4','blocksize':64}", "tensor w: expected shape [2,64], found [0,0]"),
    SHAPE("null", "[0,0]"),
    SHAPE("[]", "[0,0]"),
    SHAPE("[2]", "[2,0]"),
    SHAPE("[2,64,1]", "[2,64]"),
    SHAPE("[64,2]", "[64,2]"),
    SHAPE("[1,128]", "[1,128]"),
    SHAPE("[4,32]", "[4,32]"),
    SHAPE("[2,63]", "[2,63]"),
    SHAPE("[2.0,64.0]", "[0,0]"),
    SHAPE("['2','64']", "[0,0]"),
    SHAPE("[[2,64]]", "[0,0]"),
    SHAPE("{'0':2,'1':64}", "[0,0]"),
    SHAPE("[-2,-64]", "[-2,-64]"),
    SHAPE("[4294967298,64]", "[4294967298,64]"),
    SHAPE("[9223372036854775807,9223372036854775807]", "[9223372036854775807,9223372036854775807]"),
    /* codes */
    PART(false, "", ST_U8, 63, "tensor w: expected 64 elements of U8, found U8, 63 bytes"),
    PART(false, "", ST_U8, 65, "tensor w: expected 64 elements of U8, found U8, 65 bytes"),
    PART(false, "", ST_U8, 0, "tensor w: expected 64 elements of U8, found U8, 0 bytes"),
    PART(false, "", ST_U8, 128, "tensor w: expected 64 elements of U8, found U8, 128 bytes"),
    PART(false, "", ST_F32, 64, "tensor w: expected 64 elements of U8, found F32, 256 bytes"),
    PART(false, "", ST_BF16, 31, "tensor w: expected 64 elements of U8, found BF16, 62 bytes"),
    /* absmax */
    PART(false, "absmax", ST_F32, -1, "tensor w.absmax: expected 2 elements of F32, found none, 0 bytes"),
    PART(false, "absmax", ST_F32, 0, "tensor w.absmax: expected 2 elements of F32, found F32, 0 bytes"),
    PART(false, "absmax", ST_F32, 1, "tensor w.absmax: expected 2 elements of F32, found F32, 4 bytes"),
    PART(false, "absmax", ST_F32, 3, "tensor w.absmax: expected 2 elements of F32, found F32, 12 bytes"),
    PART(false, "absmax", ST_F16, 2, "tensor w.absmax: expected 2 elements of F32, found F16, 4 bytes"),
    PART(false, "absmax", ST_BF16, 4, "tensor w.absmax: expected 2 elements of F32, found BF16, 8 bytes"),
    PART(false, "absmax", ST_F64, 1, "tensor w.absmax: expected 2 elements of F32, found F64, 8 bytes"),
    PART(false, "absmax", ST_I8, 8, "tensor w.absmax: expected 2 elements of F32, found I8, 8 bytes"),
    PART(false, "absmax", ST_U8, 2, "tensor w: expected nested_blocksize 256 and a nested_offset, found -1"),
    /* quant_map */
    PART(false, "quant_map", ST_F32, 0, "tensor w.quant_map: expected 16 elements of F32, found F32, 0 bytes"),
    PART(false, "quant_map", ST_F32, 15,
         "tensor w.quant_map: expected 16 elements of F32, found F32, 60 bytes"),
    PART(false, "quant_map", ST_F32, 17,
         "tensor w.quant_map: expected 16 elements of F32, found F32, 68 bytes"),
    PART(false, "quant_map", ST_F16, 16,
         "tensor w.quant_map: expected 16 elements of F32, found F16, 32 bytes"),
    PART(false, "quant_map", ST_F64, 8, "tensor w.quant_map: expected 16 elements of F32, found F64, 64 bytes"),
    VALUE(false, "quant_map", 0, 1, "tensor w.quant_map: expected -1 at 0, found 1"),
    VALUE(false, "quant_map", 7, 1e-3f, "tensor w.quant_map: expected 0 at 7, found 0.001"),
    VALUE(false, "quant_map", 15, 0.5f, "tensor w.quant_map: expected 1 at 15, found 0.5"),
    VALUE(false, "quant_map", 8, NAN, "tensor w.quant_map: expected 0.0795803 at 8, found nan"),
    VALUE(false, "quant_map", 8, INFINITY, "tensor w.quant_map: expected 0.0795803 at 8, found inf"),
    /* nested */
    NESTED_JSON(NF4 "}", "tensor w: expected nested_blocksize 256 and a nested_offset, found -1"),
    NESTED_JSON(NF4 ",'nested_blocksize':256}",
                "tensor w: expected nested_blocksize 256 and a nested_offset, found 256"),
    NESTED_JSON(NF4 ",'nested_offset':0.5}",
                "tensor w: expected nested_blocksize 256 and a nested_offset, found -1"),
    NESTED_JSON(NF4 ",'nested_blocksize':64,'nested_offset':0.5}",
                "tensor w: expected nested_blocksize 256 and a nested_offset, found 64"),
    NESTED_JSON(NF4 ",'nested_blocksize':256.0,'nested_offset':0.5}",
                "tensor w: expected nested_blocksize 256 and a nested_offset, found -1"),
    NESTED_JSON(NF4 ",'nested_blocksize':256,'nested_offset':'0.5'}",
                "tensor w: expected nested_blocksize 256 and a nested_offset, found 256"),
    NESTED_JSON(NF4 ",'nested_blocksize':256,'nested_offset':null}",
                "tensor w: expected nested_blocksize 256 and a nested_offset, found 256"),
    NESTED_JSON(NF4 ",'nested_blocksize':256,'nested_offset':1e300}",
                "tensor w: expected a nested_offset within f32, found 1e+300"),
    PART(true, "absmax", ST_U8, 1, "tensor w.absmax: expected 2 elements of U8, found U8, 1 bytes"),
    PART(true, "absmax", ST_U8, 3, "tensor w.absmax: expected 2 elements of U8, found U8, 3 bytes"),
    PART(true, "nested_absmax", ST_F32, -1,
         "tensor w.nested_absmax: expected 1 elements of F32, found none, 0 bytes"),
    PART(true, "nested_absmax", ST_F32, 0,
         "tensor w.nested_absmax: expected 1 elements of F32, found F32, 0 bytes"),
    PART(true, "nested_absmax", ST_F32, 2,
         "tensor w.nested_absmax: expected 1 elements of F32, found F32, 8 bytes"),
    PART(true, "nested_absmax", ST_F16, 2,
         "tensor w.nested_absmax: expected 1 elements of F32, found F16, 4 bytes"),
    PART(true, "nested_quant_map", ST_F32, 255,
         "tensor w.nested_quant_map: expected 256 elements of F32, found F32, 1020 bytes"),
    PART(true, "nested_quant_map", ST_F32, 16,
         "tensor w.nested_quant_map: expected 256 elements of F32, found F32, 64 bytes"),
    PART(true, "nested_quant_map", ST_F64, 128,
         "tensor w.nested_quant_map: expected 256 elements of F32, found F64, 1024 bytes"),
    VALUE(true, "nested_quant_map", 255, 0.25f, "tensor w.nested_quant_map: expected 1 at 255, found 0.25"),
    VALUE(true, "nested_quant_map", 127, NAN, "tensor w.nested_quant_map: expected 0 at 127, found nan"),
};
