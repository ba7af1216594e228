#include "tensor/tape.h"
#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The plug-in beside the running program: <folder of the executable>/pcrl_<name>.so. */
static bool plugin_path(const char *name, char *path, size_t room, Error *e)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) return error_set(e, ERROR_IO, "/proc/self/exe: cannot read the program's own path");
    self[n] = 0;
    if (snprintf(path, room, "%s/pcrl_%s.so", dirname(self), name) >= (int)room)
        return error_set(e, ERROR_IO, "%s: path of the plug-in is too long", self);
    return true;
}

static const Backend *open_plugin(const char *name, Error *e)
{
    char path[4200];
    if (!plugin_path(name, path, sizeof path, e)) return NULL;
    if (access(path, R_OK) != 0) {
        error_set(e, ERROR_INPUT, "device %s: no plug-in %s (it is not built here)", name, path);
        return NULL;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        error_set(e, ERROR_INPUT, "device %s: %s", name, dlerror());
        return NULL;
    }
    BackendPlugin *entry;
    *(void **)&entry = dlsym(library, BACKEND_PLUGIN_SYMBOL);
    if (!entry) {
        error_set(e, ERROR_INPUT, "device %s: %s has no symbol %s", name, path, BACKEND_PLUGIN_SYMBOL);
        dlclose(library);
        return NULL;
    }
    const HostApi host = {backend_abi(), die, tape_scratch};
    const Backend *backend = entry(&host, e);
    if (backend && backend->abi != host.abi) {
        error_set(e, ERROR_INPUT, "device %s: %s is of another build: interface %016llx, expected %016llx",
                  name, path, (unsigned long long)backend->abi, (unsigned long long)host.abi);
        backend = NULL;
    }
    if (!backend) dlclose(library);
    return backend;
}

const Backend *backend_open(const char *name, Error *e)
{
    if (!strcmp(name, "cpu")) return &backend_cpu;
    if (!strcmp(name, "plan")) return &backend_plan;
    if (!strcmp(name, "cuda") || !strcmp(name, "emu") || !strcmp(name, "ptx")) return open_plugin(name, e);
    if (strcmp(name, "auto")) {
        error_set(e, ERROR_USAGE, "unknown device '%s': expected cpu, cuda, emu or auto", name);
        return NULL;
    }
    /* A plug-in that is not built is no news; one that cannot serve is. */
    Error why = {0};
    char path[4200];
    if (!plugin_path("cuda", path, sizeof path, &why) || access(path, F_OK) != 0) return &backend_cpu;
    const Backend *backend = open_plugin("cuda", &why);
    if (backend) return backend;
    fprintf(stderr, "%s; using the cpu\n", why.msg);
    return &backend_cpu;
}
