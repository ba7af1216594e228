/* pcrl-synth weights: models of the public sizes, names and shapes, of random weights. */
#ifndef TOOLS_SYNTH_WEIGHTS_H
#define TOOLS_SYNTH_WEIGHTS_H

/* The program; argv[0] is the word "weights". Returns its exit code, or ends the process with it. */
int synth_weights(int argc, char **argv);
#endif
