/* What a ResNet is fed: the public ones ImageNet's normalisation, ours their own. */
#include "tools/features.h"
#include "tests/models/main.h"
#include <math.h>

static const uint8_t pixel[3] = {0, 60, 255};

/* By torchvision.transforms.functional.normalize(pixel / 255, ...), in double. */
START_TEST(three_channels)
{
    static const double want[9] = {-2.1179039301310043, -2.0357142857142856, -1.8044444444444445,
                                   -1.0904187002311840, -0.9852941176470589, -0.7586928104575165,
                                   2.2489082969432315,  2.428571428571429,   2.6399999999999997};
    float x[9];
    slices_normalise(pixel, 3, 3, x);
    for (int i = 0; i < 9; i++)
        ck_assert_msg(fabs((double)x[i] - want[i]) <= 1e-6, "%d: %.9g, wants %.9g", i, (double)x[i], want[i]);
}
END_TEST

START_TEST(one_channel)
{
    float x[3];
    slices_normalise(pixel, 3, 1, x);
    ck_assert(x[0] == -1 && x[1] == 0 && fabsf(x[2] - 3.25f) <= 1e-6f);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {three_channels, one_channel};
    return run_tests("features", tests, 2);
}
