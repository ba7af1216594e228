#include "tensor/params.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_ELEMENTS = 64 };

void params_init(Params *p, Arena *state) { *p = (Params){.state = state}; }

void params_close(Params *p)
{
    free(p->entry);
    *p = (Params){0};
}

Tensor *params_add(Params *p, const char *name, int ndim, const int64_t *dim)
{
    if (p->allocated) die("params: %s declared after params_alloc", name);
    if (params_find(p, name)) die("params: %s declared twice", name);
    if (strlen(name) >= PARAMS_NAME) die("params: name of %zu bytes: %s", strlen(name), name);
    if (p->n == p->room) {
        p->room = p->room ? 2 * p->room : 64;
        p->entry = realloc(p->entry, (size_t)p->room * sizeof *p->entry);
        if (!p->entry) die("params: out of host memory for %d names", p->room);
    }
    Tensor *x = arena_push_host(p->state, 2 * sizeof *x);
    x->dtype = DTYPE_f32;
    x->ndim = ndim;
    memcpy(x->dim, dim, (size_t)ndim * sizeof *dim);
    x->backend = p->state->backend;
    x->needs_grad = true;
    ParamsEntry *entry = &p->entry[p->n++];
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->tensor = x;
    entry->offset = p->len;
    p->len += (tensor_len(x) + ALIGN_ELEMENTS - 1) / ALIGN_ELEMENTS * ALIGN_ELEMENTS;
    return x;
}

void params_alloc(Params *p)
{
    if (p->allocated) die("params: allocated twice");
    p->allocated = true;
    if (!p->n) return;
    Tensor **block[] = {&p->weight, &p->grad, &p->m, &p->v};
    for (int i = 0; i < 4; i++) *block[i] = tensor_zeros(p->state, DTYPE_f32, 1, &p->len);
    for (int i = 0; i < p->n; i++) {
        Tensor *x = p->entry[i].tensor, *g = x + 1;
        *g = *x;
        g->needs_grad = false;
        x->data = (float *)p->weight->data + p->entry[i].offset;
        g->data = (float *)p->grad->data + p->entry[i].offset;
        x->grad = g;
    }
}

Tensor *params_find(const Params *p, const char *name)
{
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->entry[i].name, name)) return p->entry[i].tensor;
    return NULL;
}

void params_zero_grad(Params *p)
{
    if (p->n) p->grad->backend->zero(p->grad->data, tensor_bytes(p->grad));
}

int64_t params_count(const Params *p)
{
    int64_t n = 0;
    for (int i = 0; i < p->n; i++) n += tensor_len(p->entry[i].tensor);
    return n;
}
