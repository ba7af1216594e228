/* Which of the published cases are for us. By the beginnings of their names behind "test_", which end there or
 * with "_". Each of these is run or skipped with its reason; the other families of the node folder are only
 * named. */
static const char families[] =
    " conv basic_conv basic_convinteger convinteger convtranspose batchnorm instancenorm maxpool "
    "averagepool globalaveragepool globalmaxpool resize upsample softmax logsoftmax "
    "layer_normalization gemm matmul matmulinteger sce nllloss nonmaxsuppression dropout "
    "training_dropout adam reduce gather gathernd cumsum clip erf sigmoid relu tanh transpose slice "
    "split concat add sub mul sum mean max min neg abs argmax argmin ";

/* Folders of cases and how many of each must run. */
static const struct {
    const char *folder;
    bool by_family; /* else all of them */
    int least;
} folders[] = {{"node", true, 391}, {"pytorch-operator", false, 20}, {"pytorch-converted", false, 50}};

/* Cases whose files contradict themselves. */
static const struct {
    const char *name, *why;
} mistaken[] = {
    {"adam_multiple", "its outputs are of epsilon 0.01, its model has the standard's 1e-6"},
};
