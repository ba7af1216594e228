# The CUDA sources (kernels/*.cu, tensor/*.cu), three times: for the host, each CUDA thread a fiber (emu); for GPUs (cuda);
# and what nvcc makes of them in an interpreter (ptx). Included by the Makefile.

# ---- the CUDA sources built for the host (tests/emu): a plug-in in which each CUDA thread is a fiber. Under TSan the
# runner itself is not instrumented; under ASan, but in its own test (CHECKED), neither are its scheduler and its warp
# operations, half of that leg's time: a kernel's memory is touched where the kernel is.
EMU_OBJ = $(patsubst %,$(BUILD)/emu/%.o,$(1))
CU_SRC := $(wildcard kernels/*.cu tensor/*.cu)
PLUGIN_SRC := $(CU_SRC) tensor/backend_abi.c
EMU_RUNNER := $(call EMU_OBJ,$(wildcard tests/emu/*.cpp))
EMU_FLAGS = -std=c++17 -O2 $(DEBUG) -fPIC -fvisibility=hidden -fno-strict-aliasing -fno-exceptions -fno-rtti \
            -ffp-contract=off -fno-math-errno -Wall -Wextra -Wno-unknown-pragmas -fmacro-prefix-map=./= -isystem $(CUDA)/include \
            -I. -MMD -MP -DPCRL_DEVICE='"emu"'
# Under TSan no call may hide a struct's load or store (emu.h): neither one of CUDA's headers, such as __floats2bfloat162_rn.
INLINE = -finline-small-functions --param early-inlining-insns=200
CHECKED ?=
BARE = -fsanitize=address $(foreach p,instrument-reads instrument-writes stack globals,--param asan-$(p)=0)
RUNNER_SAN = $(if $(filter thread,$(SAN)),-DEMU_TSAN,$(if $(CHECKED)$(filter-out emu emu_warp,$(*F)),$(OPT),$(BARE)))
EMU_LD = $(CXX) -Wl,-z,defs,--as-needed $(if $(SAN),-fsanitize=$(SAN)) -o $@ $^ -lm

$(BUILD)/emu/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(call say,CU,$<)
	$(Q)$(CXX) $(EMU_FLAGS) $(if $(SAN),$(OPT)) $(if $(filter thread,$(SAN)),$(INLINE)) -x c++ -c $< -o $@

$(BUILD)/emu/%.cpp.o: %.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(EMU_FLAGS) $(if $(SAN),$(RUNNER_SAN)) -c $< -o $@

$(BUILD)/emu/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -fPIC -fvisibility=hidden -c $< -o $@

$(BUILD)/bin/pcrl_emu.so: $(call EMU_OBJ,$(PLUGIN_SRC)) $(EMU_RUNNER)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(EMU_LD) -shared

# What stands in for cuBLAS there.
CUBLAS := $(if $(wildcard $(CUDA)/include/cublas_v2.h),$(BUILD)/emu/libcublas.so)
$(BUILD)/emu/libcublas.so: tests/vendor/fake_cublas.c tensor/half.h
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -Wno-strict-prototypes -isystem $(CUDA)/include -fPIC -shared -o $@ $<

# Beside the tests that take DEVICE, in whichever folder.
define PLUGIN_LINK
$$(BUILD)/tests/%/pcrl_$(1).so: $$(BUILD)/bin/pcrl_$(1).so
	@mkdir -p $$(@D)
	@ln -sf ../../bin/$$(@F) $$@
endef
$(foreach device,emu ptx cuda,$(eval $(call PLUGIN_LINK,$(device))))

$(BUILD)/emu/cases: $(call EMU_OBJ,$(wildcard tests/emu/*.cu)) $(EMU_RUNNER)
	$(call say,LD,$@)
	$(Q)$(EMU_LD)

$(BUILD)/tests/emu/test_emu: | $(BUILD)/emu/cases emu-sanitized
.PHONY: emu-sanitized
emu-sanitized:
	@$(MAKE) --no-print-directory SAN=address,undefined CHECKED=1 BUILD=$(BUILD)/emu/asan $(BUILD)/emu/asan/emu/cases
	@$(MAKE) --no-print-directory SAN=thread BUILD=$(BUILD)/emu/tsan $(BUILD)/emu/tsan/emu/cases

# ---- the CUDA sources built for GPUs: the plug-in of device cuda. What ptxas says of registers, shared memory and spills
# is kept beside each object, for the gate.
CUDA_CODE = $(foreach a,80 86 89,-gencode arch=compute_$(a),code=sm_$(a)) -gencode arch=compute_90,code=[sm_90,compute_90]
NVCC_FLAGS = -std=c++17 -O3 -I. -Xptxas -v,-warn-spills -MMD -MP -DPCRL_DEVICE='"cuda"' \
             -Xcompiler -fPIC,-fvisibility=hidden,-fno-threadsafe-statics,-fno-exceptions,-fno-rtti,-Wall
$(BUILD)/cuda/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(call say,NVCC,$<)
	$(Q)$(NVCC) $(NVCC_FLAGS) $(CUDA_CODE) -c $< -o $@ >$(@:.o=.log) 2>&1 || { cat $(@:.o=.log); rm -f $@; exit 1; }

$(BUILD)/bin/pcrl_cuda.so: $(CU_SRC:%=$(BUILD)/cuda/%.o) $(BUILD)/emu/tensor/backend_abi.c.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-z,defs -Wl,--exclude-libs,ALL -o $@ $^ -L$(CUDA)/lib64 -lcudart_static -ldl -lpthread -lrt -lm

# make cuda: that plug-in; make gate: and every kernel within tests/gate/budget.txt (BUDGET=write makes it anew).
.PHONY: cuda gate cuda-objects
ifeq ($(NVCC),)
cuda gate:
	@echo "SKIPPED $@: no nvcc under $(CUDA) (CUDA=... names another place)"
else
cuda: $(BUILD)/bin/pcrl_cuda.so
cuda-objects: $(CU_SRC:%=$(BUILD)/cuda/%.o)
	@:
gate:
	@$(MAKE) --no-print-directory $(JOBS) cuda-objects
	@tests/gate/gate.sh $(BUILD)/cuda $(if $(filter write,$(BUDGET)),--write)
endif

# What nvcc generated, run by an interpreter (tests/ptx). The objects fit into a plug-in too.
PTX_OBJ := $(patsubst tests/ptx/%.c,$(BUILD)/ptx/%.o,$(wildcard tests/ptx/ptx_*.c))
PTX_TEST_OBJ := $(patsubst tests/ptx/%,$(BUILD)/ptx/%.o,$(basename $(wildcard tests/ptx/test_*.c tests/ptx/test_*.cpp)))
PTX_TEXT := $(patsubst tests/ptx/%.cu,$(BUILD)/ptx/%.ptx,$(wildcard tests/ptx/kernels/*.cu)) \
            $(patsubst %,$(BUILD)/ptx/mutants/%/mma.ptx,swapped loose unwaited)

$(BUILD)/ptx/%.o: tests/ptx/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -fPIC -c $< -o $@

$(BUILD)/ptx/%.o: tests/ptx/%.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) -std=c++17 -g -O1 -Wall -Wextra -I. -I$(CUDA)/include -MMD -MP $(if $(SAN),-fsanitize=$(SAN)) -fPIC -c $< -o $@

PTX_BUILD = $(NVCC) -ptx -std=c++17 -O3 -arch=sm_80 -I. -MMD -MP -MF $@.d
$(BUILD)/ptx/%.ptx: tests/ptx/%.cu
	@mkdir -p $(@D)
	$(call say,NVCC,$<)
	$(Q)$(PTX_BUILD) $< -o $@

# Mutations that the comparison must see.
$(BUILD)/ptx/mutants/swapped/mma.ptx: MUTATION := SWAPPED_REGISTERS
$(BUILD)/ptx/mutants/loose/mma.ptx: MUTATION := LOOSE_WAIT
$(BUILD)/ptx/mutants/unwaited/mma.ptx: MUTATION := NO_WAIT
$(BUILD)/ptx/mutants/%/mma.ptx: tests/ptx/kernels/mma.cu
	@mkdir -p $(@D)
	$(call say,NVCC,$< $(MUTATION))
	$(Q)$(PTX_BUILD) -D$(MUTATION) $< -o $@

$(BUILD)/ptx/test_ptx: $(PTX_OBJ) $(PTX_TEST_OBJ) $(PTX_TEXT)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) -lcheck -lsubunit -lrt -ldl -lm

# ... and the project's own kernels: the plug-in of device ptx.
PTX_HOST = $(patsubst %,$(BUILD)/ptx/host/%.o,$(CU_SRC) $(wildcard tests/emu/*.cpp) tests/ptx/plugin.cpp)
$(BUILD)/ptx/host/%.o: %
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) $(filter-out -fvisibility=hidden -DPCRL_DEVICE%,$(EMU_FLAGS)) -DPCRL_PTX -DPCRL_DEVICE='"ptx"' -x c++ -c $< -o $@

$(BUILD)/bin/pcrl_ptx/%.ptx: kernels/%.cu
	@mkdir -p $(@D)
	$(call say,NVCC,$<)
	$(Q)$(PTX_BUILD) $< -o $@

$(BUILD)/bin/pcrl_ptx.so: $(PTX_HOST) $(PTX_OBJ) $(BUILD)/emu/tensor/backend_abi.c.o $(BUILD)/emu/tensor/error.c.o \
                          $(patsubst kernels/%.cu,$(BUILD)/bin/pcrl_ptx/%.ptx,$(filter kernels/%,$(CU_SRC)))
	$(call say,LD,$@)
	$(Q)$(CXX) -shared -Wl,-z,defs -o $@ $(filter %.o,$^) -ldl -lm

# The programs that take DEVICE: the kernel suite, the goldens, the whole system.
GOLDEN := golden/test_ops golden/test_vision golden/test_bnb golden/test_peft golden/test_llama_hf losses/test_align \
          losses/test_segment losses/test_joint models/test_weights models/test_loading models/test_resnet \
          models/test_visual models/test_llama models/test_pcrl models/test_bert models/test_swin \
          models/test_medclip models/test_sam_encoder models/test_sam_decoder models/test_sam_predict models/test_sam_masks \
          tools/test_pcrl_step onnx/test_onnx
SYSTEM := device/test_pack device/test_decode device/test_system tools/test_plan
# These start a program for every case; make gpu has its time for others.
FORWARD := tools/test_forward tools/test_forward_step

# ---- make gpu: this machine's GPU, results first, then times (tools/gpu.sh), into gpu-results.md in OUT (the current folder).
# make gpu-bundle: the same as one file for a machine that has nothing but a driver. SIZES=mini DEVICE=emu runs it without.
# ONNX's cases would have to be there, and loading is the host's.
DEVICE_TESTS := $(patsubst %,tests/%,kernels/test_kernels $(filter-out onnx/test_onnx models/test_loading,$(GOLDEN)) $(SYSTEM))
GPU_TOOLS := pcrl-gpu pcrl-report pcrl-synth pcrl-train
GPU_DEVICE = $(or $(filter-out cpu,$(DEVICE)),cuda)
GPU_PLUGIN = $(or $(PLUGIN_BUILD),$(BUILD))/bin/pcrl_$(GPU_DEVICE).so
BUNDLE := build/pcrl-gpu.tar.gz
BUNDLE_MEGABYTES := 40
.PHONY: gpu gpu-folder gpu-bundle
gpu-folder: $(DEVICE_TESTS:%=$(BUILD)/%) $(GPU_TOOLS:%=$(BUILD)/bin/%) $(if $(PLUGIN_BUILD),,$(GPU_PLUGIN))
	$(call say,GPU,$(BUILD)/pcrl-gpu)
	$(Q)tools/gpu_bundle.sh $(BUILD)/pcrl-gpu $(GPU_PLUGIN) $(DEVICE_TESTS:%=$(BUILD)/%) -- $(GPU_TOOLS:%=$(BUILD)/bin/%)

ifeq ($(if $(filter emu,$(GPU_DEVICE)),$(HAVE_CUDA_HEADERS),$(NVCC)),)
gpu:
	@echo "make gpu: no $(if $(filter emu,$(GPU_DEVICE)),CUDA headers,nvcc) under $(CUDA) (CUDA=...)"; exit 1
gpu-bundle:
	@echo "SKIPPED gpu-bundle: no nvcc under $(CUDA) (CUDA=... names another place)"
else
gpu:
	@[ $(GPU_DEVICE) != cuda ] || [ -e /dev/nvidiactl ] || [ -e /dev/dxg ] || { echo "make gpu: no NVIDIA driver on this" \
	  "machine (neither /dev/nvidiactl nor /dev/dxg); make gpu-bundle makes one file that runs where there is one"; exit 1; }
	@$(MAKE) --no-print-directory $(JOBS) gpu-folder
	@DEVICE=$(GPU_DEVICE) SIZES=$(or $(SIZES),paper) $(BUILD)/pcrl-gpu/gpu $(SECTIONS)

gpu-bundle:
	@$(MAKE) --no-print-directory $(JOBS) $(GPU_PLUGIN)
	@$(MAKE) --no-print-directory $(JOBS) DNNL=0 PLUGIN_BUILD=$(BUILD) gpu-folder
	@tar -C $(BUILD)-loops -I 'gzip -9' -cf $(BUNDLE) pcrl-gpu
	@n=$$(stat -c %s $(BUNDLE)); echo "$(BUNDLE): $$n bytes; on a machine with a GPU: tar xzf it, then pcrl-gpu/gpu"; \
	  [ $$n -le $$(($(BUNDLE_MEGABYTES) * 1000000)) ] || { echo "$(BUNDLE): more than $(BUNDLE_MEGABYTES) MB"; exit 1; }
endif

# ---- make test DEVICE=emu|ptx|cuda: every case of the kernel suite there, and but for ptx the goldens (on emu those of at
# most 1 GFLOP) and the whole mini system; what make gpu does, at small sizes, on emu. On ptx every entry that nvcc made must
# have run; on emu every kernel, with several blocks. Under sanitizers each case gets fewer probes of its gradient, under
# TSan none and fewer runs (tests/kernels/harness.c): what kernels compute is checked without; under TSan addresses must lie
# where it expects them. Threads go in an order that is drawn and printed; EMU_SEED=n is order n, 0 the natural one.
ON_DEVICE := $(if $(SAN)$(filter ptx,$(DEVICE)),,$(patsubst %,$(BUILD)/tests/%,$(GOLDEN) $(SYSTEM) $(FORWARD)))
VENDOR := $(if $(filter emu,$(if $(SAN),,$(DEVICE))),$(CUBLAS))
COVERED := $(BUILD)/covered-$(DEVICE)
EMU_ORDER = $(if $(filter emu,$(DEVICE)),$(or $(EMU_SEED),$(shell date +%s)),0)
WITH_TSAN = TSAN_OPTIONS=halt_on_error=1:atexit_sleep_ms=0 OMP_NUM_THREADS=1 setarch -R
.PHONY: device-tests
ifeq ($(if $(filter emu,$(DEVICE)),$(HAVE_CUDA_HEADERS),$(NVCC)),)
device-tests:
	@echo "SKIPPED: make test DEVICE=$(DEVICE): no $(if $(filter emu,$(DEVICE)),CUDA headers,nvcc) under $(CUDA) (CUDA=...)"
else
device-tests: $(BUILD)/tests/kernels/test_kernels $(BUILD)/tests/kernels/pcrl_$(DEVICE).so $(if $(SAN),,$(TOOLS)) \
              $(ON_DEVICE) $(addsuffix pcrl_$(DEVICE).so,$(sort $(dir $(ON_DEVICE)))) $(VENDOR)
	@rm -f $(COVERED)
	@EMU_SEED=$(EMU_ORDER) EMU_COVERAGE=$(COVERED) PTX_COVERAGE=$(COVERED) DEVICE=$(DEVICE) \
	  $(if $(filter thread,$(SAN)),$(WITH_TSAN)) $<
	@$(if $(filter ptx,$(DEVICE)),tests/ptx/coverage.sh $(BUILD)/bin/pcrl_ptx $(COVERED))
	@$(if $(filter emu,$(DEVICE)),$(if $(OP),,tests/emu/coverage.sh $(BUILD)/bin/pcrl_emu.so $(COVERED)))
	@$(if $(VENDOR),tests/vendor/test_vendor.sh $< $(abspath $(VENDOR)))
	@set -e; for t in $(ON_DEVICE); do echo "== $$t"; BUILD=$(BUILD) DEVICE=$(DEVICE) $$t; done
	@$(if $(filter emu,$(if $(SAN),,$(DEVICE))),$(MAKE) --no-print-directory gpu-folder && BUILD=$(BUILD) tests/device/test_gpu.sh)
endif
