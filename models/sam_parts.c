#include "models/sam_parts.h"
#include <stdarg.h>
#include <stdio.h>

SamLinear sam_linear_open(Weights *w, int64_t out, int64_t in, const char *format, ...)
{
    char name[PARAMS_NAME];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return (SamLinear){
        weights_get(w, (WeightSpec){{out, in}, .init = INIT_LINEAR}, "%s.weight", name),
        weights_get(w, (WeightSpec){{out}, .init = INIT_LINEAR, .a = (float)in}, "%s.bias", name)};
}

SamNorm sam_norm_open(Weights *w, int64_t C, const char *format, ...)
{
    char name[PARAMS_NAME];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return (SamNorm){weights_get(w, (WeightSpec){{C}, .init = INIT_ONES}, "%s.weight", name),
                     weights_get(w, (WeightSpec){{C}, .init = INIT_ZEROS}, "%s.bias", name)};
}

static SamConv open_conv(Weights *w, WeightSpec spec, int64_t bias, int64_t fan_in, const char *name)
{
    SamConv c = {weights_get(w, spec, "%s.weight", name), NULL};
    WeightSpec b = {{bias}, .init = INIT_LINEAR, .a = (float)fan_in};
    if (bias) c.bias = weights_get(w, b, "%s.bias", name);
    return c;
}

SamConv sam_conv_open(Weights *w, int64_t O, int64_t k, int64_t I, bool bias, const char *name)
{
    return open_conv(w, (WeightSpec){{O, k, k, I}, WEIGHT_CONV, INIT_LINEAR, 0}, bias ? O : 0, k * k * I, name);
}

SamConv sam_deconv_open(Weights *w, int64_t I, int64_t k, int64_t O, const char *name)
{
    return open_conv(w, (WeightSpec){{I, k, k, O}, WEIGHT_DECONV, INIT_LINEAR, 0}, O, k * k * O, name);
}

Tensor *sam_linear(Tape *t, const SamLinear *l, Tensor *x) { return op_linear(t, x, l->weight, l->bias, NULL); }

Tensor *sam_norm(Tape *t, const SamNorm *n, Tensor *x, float eps)
{
    return op_layernorm(t, x, n->weight, n->bias, eps);
}
