/* Phantoms as DICOM series in CQ500's layout, written by dcmtk's program dump2dcm from a text of the header and
 * raw pixels. */
#ifndef TESTS_DATA_DICOM_EXPORT_H
#define TESTS_DATA_DICOM_EXPORT_H
#include "data/file.h"
#include "data/phantom.h"
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PI 3.14159265358979323846

typedef struct ExportOptions {
    bool backwards;  /* the first file is the uppermost slice */
    double offset;   /* rescale intercept: stored = HU - offset */
    int first, last; /* slices of the phantom */
    int series;
    double tilt; /* of the gantry, degrees: rows lean to the head as they go back, the table does not */
} ExportOptions;

/* Whether a program is in PATH. */
static inline bool program_there(const char *name)
{
    char path[4096], list[8192];
    snprintf(list, sizeof list, "%s", getenv("PATH") ? getenv("PATH") : "");
    for (char *save, *p = strtok_r(list, ":", &save); p; p = strtok_r(NULL, ":", &save)) {
        snprintf(path, sizeof path, "%s/%s", p, name);
        if (!access(path, X_OK)) return true;
    }
    return false;
}

/* Says it loudly, once a program. */
static inline bool dicom_programs(const char *test)
{
    bool there = program_there("dcm2niix") && program_there("dump2dcm");
    if (!there)
        printf("SKIPPED: %s, DICOM: no dcm2niix or dump2dcm in PATH (Debian's packages dcm2niix and dcmtk)\n",
               test);
    return there;
}

static inline bool run_dump2dcm(const char *dump, const char *out)
{
    extern char **environ;
    const char *const argv[] = {"dump2dcm", "-q", "+te", "+l", "8192", dump, out, NULL};
    pid_t pid;
    int status;
    return !posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) &&
           waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Patient's left is +x, back +y, head +z: rows run front to back, columns right to left of the patient. */
static inline int write_header(FILE *f, const Phantom *p, const ExportOptions *o, int number, int file, int z,
                               const char *raw)
{
    double half = p->pixel_mm * (p->size - 1) / 2;
    return fprintf(f,
                   "(0008,0008) CS [ORIGINAL\\PRIMARY\\AXIAL]\n"
                   "(0008,0016) UI =CTImageStorage\n"
                   "(0008,0018) UI [1.2.826.0.1.3680043.8.498.%d.%d.%d]\n"
                   "(0008,0020) DA [20200101]\n"
                   "(0008,0030) TM [120000]\n"
                   "(0008,0060) CS [CT]\n"
                   "(0008,0070) LO [phantom]\n"
                   "(0010,0010) PN [CQ500CT%d]\n"
                   "(0010,0020) LO [CQ500CT%d]\n"
                   "(0018,0050) DS [%g]\n"
                   "(0018,0060) DS [120]\n"
                   "(0020,000d) UI [1.2.826.0.1.3680043.8.498.%d]\n"
                   "(0020,000e) UI [1.2.826.0.1.3680043.8.498.%d.%d]\n"
                   "(0020,0010) SH [1]\n"
                   "(0020,0011) IS [%d]\n"
                   "(0020,0013) IS [%d]\n"
                   "(0020,0032) DS [%.6f\\%.6f\\%.6f]\n"
                   "(0018,1120) DS [%g]\n"
                   "(0020,0037) DS [1\\0\\0\\0\\%.8f\\%.8f]\n"
                   "(0028,0002) US 1\n"
                   "(0028,0004) CS [MONOCHROME2]\n"
                   "(0028,0010) US %d\n"
                   "(0028,0011) US %d\n"
                   "(0028,0030) DS [%.8f\\%.8f]\n"
                   "(0028,0100) US 16\n"
                   "(0028,0101) US 16\n"
                   "(0028,0102) US 15\n"
                   "(0028,0103) US 1\n"
                   "(0028,1052) DS [%g]\n"
                   "(0028,1053) DS [1]\n"
                   "(7fe0,0010) OW =%s\n",
                   number, o->series, file + 1, number, number, p->slice_mm, number, number, o->series,
                   o->series, file + 1, -half, -half, 1000 + z * p->slice_mm, -o->tilt, cos(o->tilt * PI / 180),
                   sin(o->tilt * PI / 180), p->size, p->size, p->pixel_mm, p->pixel_mm, o->offset, raw);
}

/* The phantom as CT000000.dcm ... in `folder`, which is made. */
static inline bool export_series(const Phantom *p, int number, const char *folder, const ExportOptions *o)
{
    char dump[4200], raw[4200], out[4200];
    size_t plane = (size_t)p->size * (size_t)p->size;
    int16_t *stored = malloc(plane * sizeof *stored);
    bool ok = stored && file_make_folder(folder, NULL);
    snprintf(dump, sizeof dump, "%s/dump", folder);
    snprintf(raw, sizeof raw, "%s/raw", folder);
    for (int k = 0, n = o->last - o->first + 1; ok && k < n; k++) {
        int z = o->backwards ? o->last - k : o->first + k;
        for (size_t i = 0; i < plane; i++)
            stored[i] = (int16_t)(lrintf(p->hu[(size_t)z * plane + i]) - (long)o->offset);
        snprintf(out, sizeof out, "%s/CT%06d.dcm", folder, k);
        FILE *f = fopen(dump, "w");
        ok = f && write_header(f, p, o, number, k, z, raw) > 0;
        ok = f && !fclose(f) && ok;
        f = fopen(raw, "wb");
        ok = ok && f && fwrite(stored, sizeof *stored, plane, f) == plane;
        ok = f && !fclose(f) && ok && run_dump2dcm(dump, out);
    }
    unlink(dump);
    unlink(raw);
    free(stored);
    return ok;
}
#endif
