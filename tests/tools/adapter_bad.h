/* Malformed PEFT adapters and the exact words each must be answered with. In JSON ' stands for ". */
typedef struct BadConfig {
    const char *json,
        *message; /* message: after the path and ": ", or after the path alone where it begins with ':' */
} BadConfig;

#define TARGETS   "'target_modules':['q_proj','v_proj']"
#define REST      "'lora_alpha':4,'lora_dropout':0.05," TARGETS
#define WITH(key) "{'peft_type':'LORA','r':2," REST "," key "}"
#define PLAIN(key, found)                                                                                      \
    {                                                                                                          \
        WITH("'" key "':" found), key ": expected plain LoRA, without it, found " found                        \
    }
#define TO(targets) "{'peft_type':'LORA','r':2,'lora_alpha':4,'lora_dropout':0.05,'target_modules':" targets "}"

static const BadConfig bad_configs[] = {
    /* not JSON, or no object */
    {"", ":1:0: not JSON: unexpected token near end of file"},
    {"{", ":1:1: not JSON: string or '}' expected near end of file"},
    {"{}x", ":1:3: not JSON: end of file expected near 'x'"},
    {"{'r':1,'r':2}", ":1:10: not JSON: duplicate object key near '\"r\"'"},
    {"{'r':\xff}", ":1:5: not JSON: unable to decode byte 0xff"},
    {"[]", "expected an object with key \"peft_type\", found an array"},
    {"3", "expected an object with key \"peft_type\", found an integer"},
    {"null", "expected an object with key \"peft_type\", found null"},
    /* keys that are missing, or of another type */
    {"{}", "key \"peft_type\" is missing (expected a string)"},
    {"{'peft_type':'LORA'}", "key \"r\" is missing (expected an integer)"},
    {"{'peft_type':'LORA','r':2}", "key \"lora_alpha\" is missing (expected a number)"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':4}", "key \"lora_dropout\" is missing (expected a number)"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':4,'lora_dropout':0}",
     "key \"target_modules\" is missing (expected an array)"},
    {"{'peft_type':3,'r':2," REST "}", "key \"peft_type\": expected a string, found an integer"},
    {"{'peft_type':null,'r':2," REST "}", "key \"peft_type\": expected a string, found null"},
    {"{'peft_type':'LORA','r':2.0," REST "}", "key \"r\": expected an integer, found a real number"},
    {"{'peft_type':'LORA','r':'2'," REST "}", "key \"r\": expected an integer, found a string"},
    {"{'peft_type':'LORA','r':null," REST "}", "key \"r\": expected an integer, found null"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':'4','lora_dropout':0," TARGETS "}",
     "key \"lora_alpha\": expected a number, found a string"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':4,'lora_dropout':true," TARGETS "}",
     "key \"lora_dropout\": expected a number, found a boolean"},
    /* values */
    {"{'peft_type':'IA3','r':2," REST "}", "peft_type: expected LORA, found IA3"},
    {"{'peft_type':'lora','r':2," REST "}", "peft_type: expected LORA, found lora"},
    {"{'peft_type':'LORA\\nfatal','r':2," REST "}", "peft_type: expected LORA, found LORA?fatal"},
    {"{'peft_type':'LORA','r':0," REST "}", "r: expected 1 to 4096, found 0"},
    {"{'peft_type':'LORA','r':-8," REST "}", "r: expected 1 to 4096, found -8"},
    {"{'peft_type':'LORA','r':4097," REST "}", "r: expected 1 to 4096, found 4097"},
    {"{'peft_type':'LORA','r':9223372036854775807," REST "}",
     "r: expected 1 to 4096, found 9223372036854775807"},
    {"{'peft_type':'LORA','r':9223372036854775808," REST "}",
     ":1:43: not JSON: too big integer near '9223372036854775808'"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':0,'lora_dropout':0," TARGETS "}",
     "lora_alpha: expected a number over 0, at most 1e6, found 0"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':-1,'lora_dropout':0," TARGETS "}",
     "lora_alpha: expected a number over 0, at most 1e6, found -1"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':1e300,'lora_dropout':0," TARGETS "}",
     "lora_alpha: expected a number over 0, at most 1e6, found 1e+300"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':4,'lora_dropout':1," TARGETS "}",
     "lora_dropout: expected 0 to 0.99, found 1"},
    {"{'peft_type':'LORA','r':2,'lora_alpha':4,'lora_dropout':-0.1," TARGETS "}",
     "lora_dropout: expected 0 to 0.99, found -0.1"},
    /* targets */
    {TO("'all-linear'"), "key \"target_modules\": expected an array, found a string"},
    {TO("'.*(q|v)_proj'"), "key \"target_modules\": expected an array, found a string"},
    {TO("null"), "key \"target_modules\": expected an array, found null"},
    {TO("[]"), "target_modules: expected q_proj and v_proj, q_proj is missing"},
    {TO("['q_proj']"), "target_modules: expected q_proj and v_proj, v_proj is missing"},
    {TO("['v_proj']"), "target_modules: expected q_proj and v_proj, q_proj is missing"},
    {TO("['q_proj','k_proj','v_proj']"), "target_modules: expected q_proj and v_proj, found k_proj"},
    {TO("['q_proj','v_proj','o_proj']"), "target_modules: expected q_proj and v_proj, found o_proj"},
    {TO("['q_proj','v_proj','q_proj']"), "target_modules: expected q_proj and v_proj, found q_proj twice"},
    {TO("['q_proj',7]"), "target_modules: expected q_proj and v_proj, found no string"},
    {TO("['wq','wv']"), "target_modules: expected q_proj and v_proj, found wq"},
    {TO("['query_key_value']"), "target_modules: expected q_proj and v_proj, found query_key_value"},
    /* what computes something else */
    PLAIN("use_rslora", "true"),
    PLAIN("use_dora", "true"),
    PLAIN("use_dora", "1"),
    PLAIN("use_qalora", "true"),
    PLAIN("lora_bias", "true"),
    PLAIN("fan_in_fan_out", "true"),
    {WITH("'rank_pattern':{'layers.0':4}"),
     "rank_pattern: expected plain LoRA, without it, found {\"layers.0\":4}"},
    {WITH("'alpha_pattern':{'q_proj':1}"),
     "alpha_pattern: expected plain LoRA, without it, found {\"q_proj\":1}"},
    {WITH("'modules_to_save':['lm_head']"),
     "modules_to_save: expected plain LoRA, without it, found [\"lm_head\"]"},
    PLAIN("layer_replication", "[[0,2]]"),
    PLAIN("trainable_token_indices", "[5]"),
    {WITH("'target_parameters':['mlp']"),
     "target_parameters: expected plain LoRA, without it, found [\"mlp\"]"},
    PLAIN("alora_invocation_tokens", "[1,2]"),
    {WITH("'kasa_config':{'beta':1}"), "kasa_config: expected plain LoRA, without it, found {\"beta\":1}"},
    {WITH("'bias':'all'"), "bias: expected none, found all"},
    {WITH("'bias':'lora_only'"), "bias: expected none, found lora_only"},
    {WITH("'bias':3"), "bias: expected none, found no string"},
#define INIT                                                                                                   \
    "init_lora_weights: expected true, false, gaussian, orthogonal or eva, which leave the base as it is, "    \
    "found "
    {WITH("'init_lora_weights':'pissa'"), INIT "pissa"},
    {WITH("'init_lora_weights':'loftq'"), INIT "loftq"},
    {WITH("'init_lora_weights':[]"), INIT "no string"},
};

/* An adapter of two layers, of rank 2 to a model 8 wide with 2 heads and 1 key/value head of 4; tensor `at` (in
 * the order of names) becomes this one. */
typedef struct BadTensor {
    int at; /* -1: another one besides */
    const char
        *name; /* after "base_model.model.model.layers."; NULL: it is left out; "" with a full name below */
    const char *full;
    StDType dtype;
    int ndim;
    int64_t dim[4];
    const char *message;
} BadTensor;

#define Q_A   "0.self_attn.q_proj.lora_A.weight"
#define ALONE ": expected lora_A and lora_B of q_proj and v_proj alone"
#define HEAD  "tensor base_model.model.model.layers."
static const BadTensor bad_tensors[] = {
    /* missing */
    {0, NULL, NULL, ST_F32, 0, {0}, HEAD Q_A " is missing: expected shape [2,8]"},
    {1, NULL, NULL, ST_F32, 0, {0}, HEAD "0.self_attn.q_proj.lora_B.weight is missing: expected shape [8,2]"},
    {2, NULL, NULL, ST_F32, 0, {0}, HEAD "0.self_attn.v_proj.lora_A.weight is missing: expected shape [2,8]"},
    {7, NULL, NULL, ST_F32, 0, {0}, HEAD "1.self_attn.v_proj.lora_B.weight is missing: expected shape [4,2]"},
    /* of another shape */
    {0, Q_A, NULL, ST_F32, 2, {8, 2}, HEAD Q_A ": expected shape [2,8], found [8,2]"},
    {0, Q_A, NULL, ST_F32, 2, {3, 8}, HEAD Q_A ": expected shape [2,8], found [3,8]"},
    {0, Q_A, NULL, ST_F32, 1, {16}, HEAD Q_A ": expected shape [2,8], found [16]"},
    {0, Q_A, NULL, ST_F32, 3, {1, 2, 8}, HEAD Q_A ": expected shape [2,8], found [1,2,8]"},
    {0, Q_A, NULL, ST_F32, 0, {0}, HEAD Q_A ": expected shape [2,8], found []"},
    {0, Q_A, NULL, ST_F32, 2, {0, 8}, HEAD Q_A ": expected shape [2,8], found [0,8]"},
    {0, Q_A, NULL, ST_F32, 2, {2, 9}, HEAD Q_A ": expected shape [2,8], found [2,9]"},
    {3,
     "0.self_attn.v_proj.lora_B.weight",
     NULL,
     ST_F32,
     2,
     {8, 2},
     HEAD "0.self_attn.v_proj.lora_B.weight: expected shape [4,2], found [8,2]"},
    /* besides, or under another name */
    {-1,
     "0.self_attn.k_proj.lora_A.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "0.self_attn.k_proj.lora_A.weight" ALONE},
    {-1,
     "0.self_attn.o_proj.lora_A.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "0.self_attn.o_proj.lora_A.weight" ALONE},
    {-1, "0.mlp.up_proj.lora_A.weight", NULL, ST_F32, 2, {2, 8}, HEAD "0.mlp.up_proj.lora_A.weight" ALONE},
    {-1, "0.self_attn.q_proj.lora_B.bias", NULL, ST_F32, 1, {8}, HEAD "0.self_attn.q_proj.lora_B.bias" ALONE},
    {-1,
     "0.self_attn.q_proj.lora_magnitude_vector",
     NULL,
     ST_F32,
     1,
     {8},
     HEAD "0.self_attn.q_proj.lora_magnitude_vector" ALONE},
    {-1,
     "0.self_attn.q_proj.lora_A.default.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "0.self_attn.q_proj.lora_A.default.weight" ALONE},
    {-1,
     "0.self_attn.q_proj.lora_A.weight.absmax",
     NULL,
     ST_F32,
     1,
     {1},
     HEAD "0.self_attn.q_proj.lora_A.weight.absmax" ALONE},
    {-1,
     "00.self_attn.q_proj.lora_A.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "00.self_attn.q_proj.lora_A.weight" ALONE},
    {-1,
     "-1.self_attn.q_proj.lora_A.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "-1.self_attn.q_proj.lora_A.weight" ALONE},
    {-1,
     "99999999999.self_attn.q_proj.lora_A.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "99999999999.self_attn.q_proj.lora_A.weight" ALONE},
    {-1,
     "2.self_attn.q_proj.lora_A.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "2.self_attn.q_proj.lora_A.weight: the model has 2 layers"},
    {-1,
     "31.self_attn.v_proj.lora_B.weight",
     NULL,
     ST_F32,
     2,
     {2, 8},
     HEAD "31.self_attn.v_proj.lora_B.weight: the model has 2 layers"},
    {-1,
     NULL,
     "base_model.model.lm_head.weight",
     ST_F32,
     2,
     {4, 8},
     "tensor base_model.model.lm_head.weight" ALONE},
    {-1,
     NULL,
     "base_model.model.model.embed_tokens.weight",
     ST_F32,
     2,
     {4, 8},
     "tensor base_model.model.model.embed_tokens.weight" ALONE},
    {-1, NULL, "x", ST_F32, 0, {0}, "tensor x" ALONE},
};
