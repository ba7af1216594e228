/* Indices of shards that do not say what is there, and the exact words each must be answered with. ' stands
 * for ". Beside the index lie a, which has the tensors x and y, b, which has z, and the folder d. */
typedef struct BadIndex {
    const char *index, *message; /* behind "FOLDER/x.index.json: ", or "FOLDER/" where it begins with a slash */
} BadIndex;

#define FIFTY  "12345678901234567890123456789012345678901234567890"
#define LONG   FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY /* more than a file's name may have */
#define NEST16 "[[[[[[[[[[[[[[[["
#define NEST64 NEST16 NEST16 NEST16 NEST16

static const BadIndex bad_indices[] = {
    /* not JSON */
    {"", "1:0: not JSON: unexpected token near end of file"},
    {" ", "1:1: not JSON: unexpected token near end of file"},
    {"weight_map", "1:6: not JSON: invalid token near 'weight'"},
    {"\xef\xbb\xbf{'weight_map':{}}", "begins with a byte-order mark, expected JSON"},
    {"{'weight_map':{'x':'a',}}", "1:24: not JSON: string or '}' expected near '}'"},
    {"{'weight_map':{'x':'a'}", "1:23: not JSON: '}' expected near end of file"},
    {"{'weight_map':{'x':'a'}}}", "1:25: not JSON: end of file expected near '}'"},
    {"{'weight_map':{'x':'a'}}{}", "1:25: not JSON: end of file expected near '{'"},
    {"{'weight_map':{'x''a'}}", "1:21: not JSON: ':' expected near '\"a\"'"},
    {"{'weight_map':{'x':a}}", "1:20: not JSON: invalid token near 'a'"},
    {"{weight_map:{'x':'a'}}", "1:7: not JSON: string or '}' expected near 'weight'"},
    {"// of a model\n{'weight_map':{'x':'a'}}", "1:1: not JSON: invalid token near '/'"},
    {"{'weight_map':{'x':'a\xff'}}", "1:21: not JSON: unable to decode byte 0xff near '\"a'"},
    {"{'weight_map':{'x\\ud800':'a'}}", "1:24: not JSON: invalid Unicode '\\uD800' near '\"x\\ud800\"'"},
    {"{'weight_map':{'x\\u0000':'a'}}",
     "1:24: not JSON: NUL byte in object key not supported near '\"x\\u0000\"'"},
    {"{'weight_map':{'x':'a\nb'}}", "1:21: not JSON: unexpected newline near '\"a'"},
    {"{'weight_map':{'x':'a\\q'}}", "1:23: not JSON: invalid escape near '\"a\\q'"},
    {"{'metadata':{'total_size':99999999999999999999},'weight_map':{}}",
     "1:46: not JSON: too big integer near '99999999999999999999'"},
    {"{'metadata':{'total_size':1e999},'weight_map':{}}", "1:31: not JSON: real number overflow near '1e999'"},
    {"{'metadata':{'total_size':0x20},'weight_map':{}}", "1:28: not JSON: '}' expected near 'x'"},
    {"{'metadata':" NEST64 ",'weight_map':{}}", "byte 75: nested deeper than 64 levels"},
    {"{'metadata':{},'metadata':{},'weight_map':{}}",
     "1:25: not JSON: duplicate object key near '\"metadata\"'"},
    {"{'weight_map':{'x':'a','\\u0078':'b'}}", "1:31: not JSON: duplicate object key near '\"\\u0078\"'"},
    /* other values than a map of names */
    {"[]", "expected an object with key \"weight_map\", found an array"},
    {"{}", "key \"weight_map\" is missing (expected an object)"},
    {"{'weight_map':null}", "key \"weight_map\": expected an object, found null"},
    {"{'weight_map':['a']}", "key \"weight_map\": expected an object, found an array"},
    {"{'weight_map':{'x':null}}", "weight_map: tensor \"x\": expected the name of a file"},
    {"{'weight_map':{'x':1}}", "weight_map: tensor \"x\": expected the name of a file"},
    {"{'weight_map':{'x':['a']}}", "weight_map: tensor \"x\": expected the name of a file"},
    {"{'weight_map':{'x':{}}}", "weight_map: tensor \"x\": expected the name of a file"},
    {"{'weight_map':{'x':'a','x':'a'}}", "1:26: not JSON: duplicate object key near '\"x\"'"},
    {"{'weight_map':{'x':'a'},'weight_map':{}}", "1:36: not JSON: duplicate object key near '\"weight_map\"'"},
    {"null", "expected an object with key \"weight_map\", found null"},
    {"7", "expected an object with key \"weight_map\", found an integer"},
    {"'weight_map'", "expected an object with key \"weight_map\", found a string"},
    {"{'Weight_map':{'x':'a'}}", "key \"weight_map\" is missing (expected an object)"},
    {"{'metadata':{'weight_map':{'x':'a'}}}", "key \"weight_map\" is missing (expected an object)"},
    {"{'weight_map':'a'}", "key \"weight_map\": expected an object, found a string"},
    {"{'weight_map':12}", "key \"weight_map\": expected an object, found an integer"},
    {"{'weight_map':true}", "key \"weight_map\": expected an object, found a boolean"},
    {"{'weight_map':{'x':true}}", "weight_map: tensor \"x\": expected the name of a file"},
    {"{'weight_map':{'x':1.5}}", "weight_map: tensor \"x\": expected the name of a file"},
    {"{'weight_map':{'x\\nfatal: fake':null}}",
     "weight_map: tensor \"x?fatal: fake\": expected the name of a file"},
    {"{'weight_map':{'x':'a','y':'a','z':{'file':'b'}}}",
     "weight_map: tensor \"z\": expected the name of a file"},
    {"{'metadata':[],'weight_map':{'x':'a','y':'a','z':'b'}}",
     "key \"metadata\": expected an object, found an array"},
    {"{'metadata':'us','weight_map':{'x':'a','y':'a','z':'b'}}",
     "key \"metadata\": expected an object, found a string"},
    {"{'metadata':12,'weight_map':{'x':'a','y':'a','z':'b'}}",
     "key \"metadata\": expected an object, found an integer"},
    /* files elsewhere, or of another kind */
    {"{'weight_map':{'x':''}}", "weight_map: expected the name of a file beside the index, found \"\""},
    {"{'weight_map':{'x':'.'}}", "weight_map: expected the name of a file beside the index, found \".\""},
    {"{'weight_map':{'x':'..'}}", "weight_map: expected the name of a file beside the index, found \"..\""},
    {"{'weight_map':{'x':'../a'}}", "weight_map: expected the name of a file beside the index, found \"../a\""},
    {"{'weight_map':{'x':'./a'}}", "weight_map: expected the name of a file beside the index, found \"./a\""},
    {"{'weight_map':{'x':'a/'}}", "weight_map: expected the name of a file beside the index, found \"a/\""},
    {"{'weight_map':{'x':'s/a'}}", "weight_map: expected the name of a file beside the index, found \"s/a\""},
    {"{'weight_map':{'x':'/etc/passwd'}}",
     "weight_map: expected the name of a file beside the index, found \"/etc/passwd\""},
    {"{'weight_map':{'x':'../../etc/passwd'}}",
     "weight_map: expected the name of a file beside the index, found \"../../etc/passwd\""},
    {"{'weight_map':{'x':'a\\u0000b'}}",
     "1:29: not JSON: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"a\\u0000b\"'"},
    {"{'weight_map':{'x':'none'}}", "/none: cannot open: No such file or directory"},
    {"{'weight_map':{'x':'a','z':'none'}}", "/none: cannot open: No such file or directory"},
    {"{'weight_map':{'x':'x.index.json'}}",
     "/x.index.json: begins with 7b 22 77 65: expected safetensors, PyTorch's .pth or .bin, or GGUF"},
    {"{'weight_map':{'x':'/'}}", "weight_map: expected the name of a file beside the index, found \"/\""},
    {"{'weight_map':{'x':'a/../a'}}",
     "weight_map: expected the name of a file beside the index, found \"a/../a\""},
    {"{'weight_map':{'x':'s/../../a'}}",
     "weight_map: expected the name of a file beside the index, found \"s/../../a\""},
    {"{'weight_map':{'x':'../\\u001b[2Ja'}}",
     "weight_map: expected the name of a file beside the index, found \"../?[2Ja\""},
    {"{'weight_map':{'x':'" LONG "'}}", "/" LONG ": cannot open: File name too long"},
    {"{'weight_map':{'x':'" LONG "/'}}",
     "weight_map: expected the name of a file beside the index, found "
     "\"12345678901234567890123456789012345678901234567890123456789012345678901234567890\""},
    {"{'weight_map':{'x':'A'}}", "/A: cannot open: No such file or directory"},
    {"{'weight_map':{'x':' a'}}", "/ a: cannot open: No such file or directory"},
    {"{'weight_map':{'x':'d'}}", "/d: not a regular file"},
    {"{'weight_map':{'x':'d.index.json'}}", "/d.index.json: cannot open: No such file or directory"},
    /* tensors that are elsewhere, or nowhere, or not named */
    {"{'weight_map':{'x':'a','y':'a','z':'a'}}", "weight_map: tensor \"z\" is not in a"},
    {"{'weight_map':{'x':'b','y':'a','z':'b'}}", "weight_map: tensor \"x\" is not in b"},
    {"{'weight_map':{'x':'a','y':'b','z':'b'}}", "weight_map: tensor \"y\" is not in b"},
    {"{'weight_map':{'x':'a','y':'a','z':'b','w':'b'}}", "weight_map: tensor \"w\" is not in b"},
    {"{'weight_map':{'X':'a'}}", "weight_map: tensor \"X\" is not in a"},
    {"{'weight_map':{'x':'a','z':'b'}}", "weight_map: 2 tensors, its files have 3"},
    {"{'weight_map':{'z':'b','y':'a'}}", "weight_map: 2 tensors, its files have 3"},
    {"{'weight_map':{'':'a','x':'a','y':'a'}}", "weight_map: tensor \"\" is not in a"},
    {"{'weight_map':{'x ':'a','y':'a','z':'b'}}", "weight_map: tensor \"x \" is not in a"},
    {"{'weight_map':{'" LONG "':'a'}}",
     "weight_map: tensor \"12345678901234567890123456789012345678901234567890123456789012345678901234567890\" "
     "is not in a"},
    {"{'weight_map':{'x':'a'}}", "weight_map: 1 tensors, its files have 2"},
};

#undef FIFTY
#undef LONG
#undef NEST16
#undef NEST64
