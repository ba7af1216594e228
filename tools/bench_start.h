/* pcrl-bench's rows of starting: what opening a device costs a program, plug-ins included. */
#ifndef TOOLS_BENCH_START_H
#define TOOLS_BENCH_START_H
#include "tools/bench_system.h"

/* Runs pcrl-report, which lies beside this program, with those arguments (NULL ends them); its messages go to
 * the file `err` unless that is NULL. Seconds from start to end, its exit status; -1 and an Error if it did not
 * start or was killed. */
double bench_run(const char *const *args, const char *err, int *status, Error *e);

/* pcrl-report --version, and for each device pcrl-report up to where it finds no model in a folder that is not
 * there: devices in turn, so that all have the same machine. data: a data set. folder: for temporary files. */
bool bench_start(const BenchSystem *b, const char *data, const char *folder, Error *e);

#endif
