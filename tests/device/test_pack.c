/* 4-bit weights on DEVICE, which may keep them otherwise than files do: the exact inverse. */
#include "models/weights.h"
#include "tests/models/main.h"
#include <stdlib.h>

static const Backend *device;

static void open_arena(Arena *a, const Backend *backend)
{
    Error e = {0};
    ck_assert_msg(arena_open(a, "weights", backend, 1 << 24, &e), "%s", e.msg);
}

/* Any bytes come back as they went; q4_0's lie elsewhere in between. Lengths: less than a block of 32, whole
 * ones, an odd number of them, a last one in part. */
START_TEST(bytes_round_trip)
{
    static const DType types[] = {DTYPE_nf4, DTYPE_fp4, DTYPE_q4_0};
    static const int64_t shapes[][2] = {{1, 1}, {1, 31}, {3, 32}, {2, 64}, {5, 37}, {7, 320}};
    for (int k = 0; k < 18; k++) {
        Arena a;
        open_arena(&a, device);
        Tensor *x = tensor_new(&a, types[k % 3], 2, shapes[k / 3]);
        size_t bytes = tensor_bytes(x);
        unsigned char *host = malloc(3 * bytes), *raw = host + bytes, *back = raw + bytes;
        ck_assert(host != NULL);
        for (size_t i = 0; i < bytes; i++) host[i] = (unsigned char)(i * 37 + i / 256 * 11 + 1);
        tensor_upload(x, host);
        tensor_download(x, back);
        ck_assert_mem_eq(back, host, bytes);
        device->download(raw, x->data, bytes);
        ck_assert_int_eq(!memcmp(raw, host, bytes), types[k % 3] != DTYPE_q4_0);
        free(host);
        arena_close(&a);
    }
}
END_TEST

static void save(const Backend *backend, DType quant, bool nested, const char *from, const char *to)
{
    Arena a;
    Weights w;
    Error e = {0};
    open_arena(&a, backend);
    weights_init(&w, &a, &a, NULL, 5);
    w.quant = quant;
    w.nested = nested;
    if (from) ck_assert_msg(weights_open(&w, from, &e), "%s", e.msg);
    weights_get(&w, (WeightSpec){{48, 320}, WEIGHT_LINEAR, INIT_NORMAL, 0.02f}, "a.weight");
    weights_get(&w, (WeightSpec){{3, 37}, WEIGHT_LINEAR, INIT_NORMAL, 0.02f}, "b.weight");
    ck_assert_msg(weights_ok(&w, &e), "%s", e.msg);
    ck_assert_msg(weights_save((Weights *const[]){&w}, 1, true, NULL, to, &e), "%s", e.msg);
    weights_close(&w);
    arena_close(&a);
}

static size_t read_file(const char *path, unsigned char *bytes, size_t room)
{
    FILE *f = fopen(path, "rb");
    ck_assert(f != NULL);
    size_t n = fread(bytes, 1, room, f);
    fclose(f);
    return n;
}

/* A file written on the cpu, loaded on the device and saved from there is the same file. */
START_TEST(files_round_trip)
{
    static unsigned char want[1 << 16], got[1 << 16];
    static const DType types[] = {DTYPE_nf4, DTYPE_nf4, DTYPE_fp4, DTYPE_q4_0};
    char path[80];
    snprintf(path, sizeof path, "%s.back", test_path());
    for (int k = 0; k < 4; k++) {
        save(&backend_cpu, types[k], k == 1, NULL, test_path());
        save(device, DTYPE_f32, false, test_path(), path);
        size_t n = read_file(test_path(), want, sizeof want);
        ck_assert(n > 8192 && n < sizeof want);
        ck_assert_uint_eq(read_file(path, got, sizeof got), n);
        ck_assert_mem_eq(got, want, n);
    }
    unlink(path);
    unlink(test_path());
}
END_TEST

int main(void)
{
    Error e = {0};
    const char *name = getenv("DEVICE");
    device = name ? backend_open(name, &e) : NULL;
    if (!device) {
        fprintf(stderr, "test_weights: %s\n", name ? e.msg : "DEVICE is not set");
        return EXIT_FAILURE;
    }
    const TTest *const tests[] = {bytes_round_trip, files_round_trip};
    return run_tests("4-bit weights on a device", tests, sizeof tests / sizeof *tests);
}
