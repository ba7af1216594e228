#include "data/nifti.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Volume v = {0};
    char axes[4];
    if (!nifti_parse(bytes, n, "input", &v, axes, &e)) {
        fuzz_refused(&e);
        if (v.hu) die("refused, but a volume was made");
        return 0;
    }
    double sum = 0;
    for (int64_t i = 0; i < (int64_t)v.nx * v.ny * v.nz; i++) sum += v.hu[i];
    if (sum != sum || strlen(axes) != 3) die("read, but not a volume");
    volume_free(&v);
    return 0;
}
