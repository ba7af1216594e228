/* The device's probe (tensor/probe.h): are its copies whole, its random values what they say, its clock and its
 * products in order? A device without one has nothing to check. */
#ifndef TESTS_KERNELS_PROBE_H
#define TESTS_KERNELS_PROBE_H
#include "tests/kernels/harness.h"

void probe_check(Harness *h);

#endif
