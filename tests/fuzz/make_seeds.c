/* Writes the seed corpora: make_seeds FOLDER makes
 * FOLDER/{safetensors,pytorch,gguf,nifti,json,png,jpeg,rle,gallery,wordpiece,bpe,jieba,cq500,reports,clinical}/.
 * Sound small files from our own writers, and torch.save's from tests/golden, so that the fuzzer starts behind
 * the first checks. Run from the root of the sources. */
#include "data/file.h"
#include "data/image.h"
#include "data/nifti.h"
#include "data/safetensors.h"
#include "tests/data/cq500_fixture.h"
#include "tests/data/jpeg_write.h"
#include "tests/fuzz/seeds_gguf.h"
#include "tokenizer/bpe_train.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char path[4096];
static const char *in(const char *folder, const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static bool safetensors(const char *folder, Error *e)
{
    static const double x[6] = {1, 2, 3, 4, 5, 6};
    StWriter *w = st_writer_new();
    for (StDType d = ST_F64; d <= ST_F8_E5M2; d++) {
        char name[] = "a";
        name[0] = (char)('a' + d);
        st_writer_add(w, name, d, (int)d % 4, (int64_t[]){2, 3, 1}, x);
    }
    st_writer_meta(w, "format", "pt");
    bool ok = st_writer_save(w, in(folder, "safetensors/types"), e);
    st_writer_free(w);
    w = st_writer_new();
    ok = ok && st_writer_save(w, in(folder, "safetensors/empty"), e);
    st_writer_free(w);
    return ok;
}

static bool pytorch(const char *folder, Error *e)
{
    static const char *const names[] = {"old-wrapped", "new-wrapped", "old-p4", "old-legacy-p3", "new-train"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[64], to[64];
        uint8_t *bytes;
        size_t n;
        snprintf(from, sizeof from, "tests/golden/pytorch-%s.pth", names[i]);
        snprintf(to, sizeof to, "pytorch/%s", names[i]);
        if (!file_read(from, 8192, &bytes, &n, e)) return false;
        bool ok = file_write(in(folder, to), bytes, n, e);
        free(bytes);
        if (!ok) return false;
    }
    return true;
}

static bool gguf(const char *folder, Error *e)
{
    static GgufSeed s;
    return seed_types(&s, in(folder, "gguf/types"), e) && seed_tokenizer(&s, in(folder, "gguf/tokenizer"), e) &&
           seed_llama(&s, in(folder, "gguf/llama"), e);
}

/* One block of a LLaMA of 8 x 8 Linears: plain, nf4, nf4 with nested scales, fp4. */
static bool weights(const char *folder, Error *e)
{
    static const char *const linear[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                         "mlp.down_proj"};
    static const char state[] =
        "{\"quant_type\":\"%s\",\"blocksize\":64,\"dtype\":\"float32\",\"shape\":[8,8]%s}";
    static const float values[64] = {1, -2, 0.5f};
    bool ok = true;
    for (int form = 0; ok && form < 4; form++) {
        bool nested = form == 2;
        const char *type = form == 3 ? "fp4" : "nf4";
        char name[128], text[256];
        snprintf(text, sizeof text, state, type,
                 nested ? ",\"nested_blocksize\":256,\"nested_offset\":0.5" : "");
        StWriter *w = st_writer_new();
        st_writer_add(w, "model.embed_tokens.weight", ST_F32, 2, (int64_t[]){8, 8}, values);
        st_writer_add(w, "model.norm.weight", ST_F32, 1, (int64_t[]){8}, values);
        st_writer_meta(w, "llama.heads", "2");
        st_writer_meta(w, "llama.rope_theta", "10000");
        for (int i = 0; i < 7; i++) {
            int n = snprintf(name, sizeof name, "model.layers.0.%s.weight", linear[i]);
            if (form)
                st_writer_add(w, name, ST_U8, 2, (int64_t[]){32, 1}, values);
            else
                st_writer_add(w, name, ST_F32, 2, (int64_t[]){8, 8}, values);
            if (!form) continue;
            snprintf(name + n, sizeof name - (size_t)n, ".absmax");
            st_writer_add(w, name, nested ? ST_U8 : ST_F32, 1, (int64_t[]){1}, values);
            snprintf(name + n, sizeof name - (size_t)n, ".nested_absmax");
            if (nested) st_writer_add(w, name, ST_F32, 1, (int64_t[]){1}, values);
            snprintf(name + n, sizeof name - (size_t)n, ".quant_state.bitsandbytes__%s", type);
            st_writer_add(w, name, ST_U8, 1, (int64_t[]){(int64_t)strlen(text)}, text);
        }
        snprintf(name, sizeof name, "weights/%d", form);
        ok = st_writer_save(w, in(folder, name), e);
        st_writer_free(w);
    }
    return ok;
}

/* The fields of a version 1 header moved to where version 2 has them. */
static bool as_version_2(const char *from, const char *to, Error *e)
{
    static const uint16_t dims = 8;
    uint8_t *one, two[2000] = {28, 2}; /* 540 */
    size_t n;
    if (!file_read(from, 1400, &one, &n, e)) return false;
    memcpy(two + 4, "n+2\0\r\n\032\n", 8);
    memcpy(two + 12, one + 70, 4);
    for (int a = 0; a < dims; a++) memcpy(two + 16 + 8 * a, one + 40 + 2 * a, 2);
    for (int i = 0; i < 8 + 12 + 1; i++) {
        float f;
        int at1 = i < 8    ? 76 + 4 * i
                  : i < 20 ? 280 + 4 * (i - 8)
                           : 112,
            at2 = i < 8    ? 104 + 8 * i
                  : i < 20 ? 400 + 8 * (i - 8)
                           : 176;
        memcpy(&f, one + at1, 4);
        double d = f;
        memcpy(two + at2, &d, 8);
    }
    two[168] = 32; /* 544 */
    two[169] = 2;
    two[348] = two[500] = 1;
    two[500] = 2;
    memcpy(two + 544, one + 352, n - 352);
    free(one);
    return file_write(to, two, 544 + n - 352, e);
}

static bool nifti(const char *folder, Error *e)
{
    float hu[24];
    char plain[4096];
    for (int i = 0; i < 24; i++) hu[i] = (float)i * 40 - 500;
    Volume v = {2, 3, 4, 0.5, 0.5, 5, hu};
    snprintf(plain, sizeof plain, "%s", in(folder, "nifti/i16.nii"));
    return nifti_write(plain, &v, NIFTI_I16, e) && as_version_2(plain, in(folder, "nifti/two.nii"), e) &&
           nifti_write(in(folder, "nifti/f32.nii"), &v, NIFTI_F32, e) &&
           nifti_write(in(folder, "nifti/i16.nii.gz"), &v, NIFTI_I16, e);
}

static bool json(const char *folder, Error *e)
{
    static const char annotations[] =
        "[{\"id\":\"7\",\"findings\":\"左侧基底节区见低密度影。\",\"impression\":\"\",\"images\":["
        "\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\",\"15\","
        "\"16\",\"17\",\"18\",\"19\",\"20\",\"21\",\"22\",\"23\"],\"truth\":{\"seed\":1,\"style\":0,\"size\":["
        "4,4],"
        "\"pixel_mm\":1.0,\"findings\":[{\"entity\":\"基底节区\",\"side\":\"左\",\"density\":\"低\",\"clause\":"
        "\"左侧基底节区见低密度影\",\"radius_mm\":5.0,\"volume_ml\":0.5,\"masks\":[{\"slice\":9,\"side\":"
        "\"左\","
        "\"counts\":\"529\"}]}]}}]";
    static const char every[] = "{\"a\":[1,-2.5e3,\"\\u00e9\\n\",true,false,null,{}],\"b\":{\"c\":[[[]]]}}";
    return file_write(in(folder, "json/annotations"), annotations, sizeof annotations - 1, e) &&
           bpe_train((const char *const[]){"低密度影，低密度影"}, 1, 270, in(folder, "json/tokenizer"), e) &&
           file_write(in(folder, "json/every"), every, sizeof every - 1, e);
}

static bool png(const char *folder, Error *e)
{
    uint8_t pixel[27] = {1, 2, 3, 250, 9};
    return image_write_png(in(folder, "png/grey"), &(Image){5, 3, 1, pixel}, e) &&
           image_write_png(in(folder, "png/colour"), &(Image){3, 3, 3, pixel}, e);
}

static bool jpeg(const char *folder, Error *e)
{
    static const struct {
        const char *name;
        int channels;
        JpegWrite o;
    } files[] = {{"jpeg/grey", 1, {.quality = 80}},
                 {"jpeg/colour", 3, {.quality = 80, .half = true}},
                 {"jpeg/scans", 3, {.quality = 80, .progressive = true}}};
    uint8_t pixel[9 * 17 * 3];
    for (size_t i = 0; i < sizeof pixel; i++) pixel[i] = (uint8_t)(i * i >> 5);
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof files / sizeof *files; i++) {
        size_t n;
        uint8_t *bytes = jpeg_write(&(Image){9, 17, files[i].channels, pixel}, files[i].o, &n);
        ok = file_write(in(folder, files[i].name), bytes, n, e);
        free(bytes);
    }
    return ok;
}

static bool rle(const char *folder, Error *e)
{
    static const char square[] = "\003\0024O1", columns[] = "\012\0054d0f0@";
    return file_write(in(folder, "rle/square"), square, sizeof square - 1, e) &&
           file_write(in(folder, "rle/columns"), columns, sizeof columns - 1, e);
}

static bool gallery(const char *folder, Error *e)
{
    static const char masks[] =
        "{\"version\":1,\"id\":\"7\",\"size\":[2,3],\"pixel_mm\":0.9,\"settings\":{\"points_per_side\":32},"
        "\"slices\":"
        "[{\"slice\":0,\"masks\":[]},{\"slice\":5,\"masks\":[{\"segmentation\":{\"size\":[2,3],\"counts\":"
        "\"222\"},"
        "\"area\":2,\"bbox\":[1,0,0,1],\"predicted_iou\":0.9,\"point_coords\":[[1.5,1]],\"stability_score\":1,"
        "\"crop_box\":[0,0,3,2]}]}]}";
    static const char clues[] =
        "{\"version\":1,\"studies\":[{\"id\":\"7\",\"size\":[2,3],\"clues\":[{\"entity\":\"丘脑\",\"text\":"
        "\"右侧丘脑见低密度影\",\"slice\":9,\"mask\":\"222\"},{\"entity\":\"中脑\",\"text\":\"中脑\",\"slice\":"
        "9,"
        "\"mask\":null}]}]}";
    return file_write(in(folder, "gallery/masks"), masks, sizeof masks - 1, e) &&
           file_write(in(folder, "gallery/clues"), clues, sizeof clues - 1, e);
}

static bool wordpiece(const char *folder, Error *e)
{
    static const char sound[] =
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nle\n##sion\n##s\n-\n左\n##侧\ne\n##e\0"
        "The LÉSIONS, 左侧-the le\u00adsion\u3000e\u0301e 가",
                      plain[] = "İstanbul Σας\t\u00a0x\u2028 x";
    return file_write(in(folder, "wordpiece/sound"), sound, sizeof sound - 1, e) &&
           file_write(in(folder, "wordpiece/text"), plain, sizeof plain - 1, e);
}

/* Both forms with a text after them. */
static bool bpe(const char *folder, Error *e)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                      text[] = "abab 低密度影，don't\u3000 12345\r\n<|eot_id|>";
    static char model[8192];
    char *end = model;
    uint8_t *json;
    size_t n;
    for (int i = 0; i < 256; i++) end += sprintf(end, "%c%c== %d\n", digit[i >> 2], digit[(i & 3) << 4], i);
    end = stpcpy(end, "YWI= 256\nYWJhYg== 257\n");
    memcpy(end + 1, text, sizeof text - 1);
    if (!bpe_train((const char *const[]){"低密度影，低密度影"}, 1, 270, in(folder, "bpe/train"), e) ||
        !file_read(in(folder, "bpe/train"), 1 << 20, &json, &n, e))
        return false;
    char *both = calloc(n + sizeof text, 1);
    memcpy(both, json, n);
    memcpy(both + n + 1, text, sizeof text - 1);
    free(json);
    bool ok = file_write(in(folder, "bpe/json"), both, n + sizeof text, e) &&
              file_write(in(folder, "bpe/model"), model, (size_t)(end - model) + sizeof text, e);
    free(both);
    return ok;
}

static bool jieba(const char *folder, Error *e)
{
    static const char
        dict[] = "\0甲 4 n\n乙 4\n甲乙 1 nz\n丙 7 x\n\0甲乙丙丁丂, a1 3.5%\r\n",
        start[] = "\1P={'B': -0.25, 'E': -3.14e+100, 'M': -3.14e+100, 'S': -1.5}\n\0丁丂",
        trans[] = "\2P={'B': {'E': -0.5, 'M': -1.0}, 'E': {'B': -0.5}, 'M': {'E': -0.25}, 'S': {'S': "
                  "-0.75}}\0丁丂丁",
        emit[] = "\3# x\nfrom __future__ import y\nP={'B': {'\\u4e01': -1.0}, \"E\": {'\\u4e02': -1.0},"
                 "'M': {'\\x41': +8,}, 'S': {'丂': -2.0}}\0七丁丂",
        user[] = "\4丁丂 3 n\n丁 x 5\n甲乙丙\n乙 0\n\0甲乙丙丁丂";
    return file_write(in(folder, "jieba/dict"), dict, sizeof dict - 1, e) &&
           file_write(in(folder, "jieba/start"), start, sizeof start - 1, e) &&
           file_write(in(folder, "jieba/trans"), trans, sizeof trans - 1, e) &&
           file_write(in(folder, "jieba/emit"), emit, sizeof emit - 1, e) &&
           file_write(in(folder, "jieba/user"), user, sizeof user - 1, e);
}

static bool cq500(const char *folder, Error *e)
{
    static const char sound[] = SOUND, quoted[] = HEADER "\"CQ500CT12\""
                                                         ","
                                                         "\"B\"\"2\"\r\n\n" ROW_3;
    return file_write(in(folder, "cq500/sound"), sound, sizeof sound - 1, e) &&
           file_write(in(folder, "cq500/quoted"), quoted, sizeof quoted - 1, e);
}

static bool reports(const char *folder, Error *e)
{
    static const char list[] = "[{\"id\":\"12\",\"findings\":\"左侧\",\"impression\":\"\",\"images\":[1]},{"
                               "\"id\":7,\"findings\":\"\"}]",
                      coco[] = "{\"info\":{},\"images\":[{\"id\":1}],\"annotations\":[{\"image_id\":1,\"id\":2,"
                               "\"caption\":\"a \\\"b\"}]}",
                      lines[] = "{\"id\":\"12\",\"report\":\"a\"}\r\n\n{\"report\":\"\\u5de6\",\"id\":-3}\n";
    return file_write(in(folder, "reports/list"), list, sizeof list - 1, e) &&
           file_write(in(folder, "reports/coco"), coco, sizeof coco - 1, e) &&
           file_write(in(folder, "reports/lines"), lines, sizeof lines - 1, e);
}

static bool clinical(const char *folder, Error *e)
{
    static const char report[] =
        "左、右侧基底节区见1.5cm低密度影，同侧侧脑室受压变窄，中线结构向左移位。未见骨折",
                      list[] = "侧脑室\n\n 密度影\t\r\nshift";
    return file_write(in(folder, "clinical/report"), report, sizeof report - 1, e) &&
           file_write(in(folder, "clinical/list"), list, sizeof list - 1, e);
}

int main(int argc, char **argv)
{
    Error e = {0};
    bool ok = argc == 2;
    static const char *const names[] = {"safetensors", "pytorch", "weights", "gguf",      "nifti", "json",
                                        "png",         "rle",     "gallery", "wordpiece", "bpe",   "jieba",
                                        "jpeg",        "cq500",   "reports", "clinical"};
    for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++)
        ok = file_make_folder(in(argv[1], names[i]), &e);
    ok = ok && safetensors(argv[1], &e) && pytorch(argv[1], &e) && weights(argv[1], &e) && gguf(argv[1], &e) &&
         nifti(argv[1], &e) && json(argv[1], &e) && png(argv[1], &e) && jpeg(argv[1], &e) && rle(argv[1], &e) &&
         gallery(argv[1], &e) && wordpiece(argv[1], &e) && bpe(argv[1], &e) && jieba(argv[1], &e) &&
         cq500(argv[1], &e) && reports(argv[1], &e) && clinical(argv[1], &e);
    if (!ok) fprintf(stderr, "make_seeds: %s\n", argc == 2 ? e.msg : "usage: make_seeds FOLDER");
    return !ok;
}
