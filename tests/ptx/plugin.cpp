/* Of the plug-in pcrl_ptx.so: its kernels' PTX lies in the folder pcrl_ptx beside it. */
#include "tests/ptx/ptx.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

__attribute__((constructor)) static void open_kernels(void)
{
    static const char here = 0;
    char folder[PATH_MAX];
    Dl_info self;
    Error e = {};
    /* Tests open it through links. */
    if (!dladdr(&here, &self) || !realpath(self.dli_fname, folder)) die("pcrl_ptx.so: cannot find itself");
    char *end = strrchr(folder, '.'); /* .../pcrl_ptx.so -> .../pcrl_ptx */
    if (end) *end = 0;
    if (!ptx_open(folder, &e)) die("%s", e.msg);
}
