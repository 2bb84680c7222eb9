# make                 build dld, dld-worker and dlctl into .build/
# make demo            install what is missing, build, show it at work
# make check           install what is missing, build, run all tests, again under ASan and UBSan
# make fuzz            feed all that is parsed with made-up input, FUZZ_SECONDS=10 for each kind
# make lint            have clang-tidy, cppcheck and gcc -fanalyzer read the source
# make bench           compare with other programs; bench-quick: in a minute
# make bench-queue     measure the queue with up to BENCH_JOBS=10000000 jobs (BENCH_DIR=: where, some GB)
# make soak            30 minutes (SOAK_MINUTES=) of jobs, errors and kills, then a recount (SOAK_DIR=: where, some GB)
# make install         DESTDIR= prefix=/usr/local sysconfdir=/etc
# make SANITIZE=1 ...  with AddressSanitizer and UndefinedBehaviorSanitizer, into .build-sanitize/
# make FAULTS=1 ...    with places to be killed at (common/fault.h), into .build-faults/
# make crash-soak      be killed at each of them, 20 times
# make CC=clang ...    with another compiler (make clean first)

prefix ?= /usr/local
sysconfdir ?= /etc
DESTDIR ?=

CC ?= gcc
PYTHON ?= /usr/bin/python3
BUILD := .build$(if $(SANITIZE),-sanitize)$(if $(FUZZ),-fuzz)$(if $(FAULTS),-faults)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes
HARDENING := -fstack-protector-strong -fPIE -D_GLIBCXX_ASSERTIONS
ifdef SANITIZE
MODE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifdef FUZZ
CC := clang
MODE := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifdef FAULTS
MODE := -O0 -DFAULTS
else
MODE := -O2 -g -D_FORTIFY_SOURCE=2
endif
CFLAGS ?=
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) $(HARDENING) $(MODE) -pthread -MMD -MP $(CFLAGS)
ALL_LDFLAGS := -pie -Wl,-z,relro,-z,now,--as-needed -pthread $(MODE) $(LDFLAGS)

# Each program is its main.c and what it needs of its folder and of common/.
common := $(wildcard common/*.c)
master := $(wildcard daemon/*.c)
worker := $(wildcard daemon/worker/*.c)
client := $(wildcard client/*.c)
objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
without_main = $(filter-out %/main.c,$(1))

programs := $(BUILD)/dld $(BUILD)/dld-worker $(BUILD)/dlctl
unit_tests := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))

MASTER_LIBS := -ljansson -lsqlite3 -linih -lsystemd -lm
WORKER_LIBS := -lz -lssl -lcrypto -lcurl -lsystemd -lm
CLIENT_LIBS := -ljansson -lm

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all unit-tests faults fuzz-targets fuzz lint check test crash-soak demo bench bench-quick bench-queue soak install clean

all: $(programs)
	@:

$(BUILD)/dld: $(call objects,$(master) $(common))
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(MASTER_LIBS)

$(BUILD)/dld-worker: $(call objects,$(worker) $(common))
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(WORKER_LIBS)

# common/log and chan need libsystemd, which the client does without: it takes from a library.
$(BUILD)/common.a: $(call objects,$(common))
	rm -f $@ && ar rcs $@ $^

$(BUILD)/dlctl: $(call objects,$(client)) $(BUILD)/common.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(CLIENT_LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# ---- tests ----

$(BUILD)/lib.a: $(call objects,$(call without_main,$(common) $(master) $(client)))
	rm -f $@ && ar rcs $@ $^
$(BUILD)/worker.a: $(call objects,$(call without_main,$(worker)))
	rm -f $@ && ar rcs $@ $^

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/worker.a $(BUILD)/lib.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(WORKER_LIBS) $(MASTER_LIBS)

# This one puts functions of its own in the place of those that allocate memory.
comma := ,
$(BUILD)/unit/test_allocation: ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc reallocarray strdup strndup \
	free vasprintf asprintf __vasprintf_chk __asprintf_chk)

unit-tests: $(unit_tests)

# The programs that test_crash_matrix.py kills, and what test_faulty_calls.py loads into others; not where there are
# sanitizers.
faults: $(if $(SANITIZE),,$(BUILD)/faulty_calls.so)
	@$(if $(SANITIZE),:,$(MAKE) --no-print-directory FAULTS=1 all)

$(BUILD)/faulty_calls.so: tests/system/faulty_calls.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE $(WARNINGS) -O1 $(CFLAGS) -shared -fPIC -o $@ $< -ldl

# Built by clang, with FUZZ=1.
fuzz_targets := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

$(BUILD)/fuzz/fuzz_control: $(BUILD)/tests/fuzz/played_master.o
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/worker.a $(BUILD)/lib.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(filter %.a,$^) $(WORKER_LIBS) $(MASTER_LIBS)

fuzz-targets: $(fuzz_targets)

FUZZ_SECONDS ?= 10

fuzz:
	@tests/setup.sh check
	@$(MAKE) --no-print-directory -s FUZZ=1 fuzz-targets
	@tests/fuzz/run.sh $(CURDIR)/.build-fuzz $(FUZZ_SECONDS)

# Some minutes; make check has all but clang-tidy.
lint:
	@tests/setup.sh lint
	@tests/lint/lint.sh $(MAKE)

# All tests, once plain and once under the sanitizers.
check:
	@tests/setup.sh check
	@tests/check.sh $(MAKE)

# One round of them; check.sh adds the rounds up.
test: all unit-tests faults
	@PYTHON=$(PYTHON) DLD_BUILD=$(CURDIR)/$(BUILD) DLD_SANITIZE=$(SANITIZE) tests/run.sh $(unit_tests)

crash-soak:
	@tests/setup.sh check
	@$(MAKE) --no-print-directory all faults
	@DLD_BUILD=$(CURDIR)/.build-faults $(PYTHON) tests/soak/crash_matrix.py

demo:
	@tests/setup.sh demo
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tests/demo/demo.py

bench bench-quick:
	@tests/setup.sh bench
	@$(MAKE) --no-print-directory all $(BUILD)/bare_curl
	@$(PYTHON) tests/bench/bench.py $(if $(filter bench-quick,$@),--quick)

$(BUILD)/bare_curl: $(BUILD)/tests/bench/bare_curl.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcurl

BENCH_DIR ?= /var/tmp
BENCH_JOBS ?= 10000000

$(BUILD)/bench_queue: $(BUILD)/tests/bench/bench_queue.o $(BUILD)/lib.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(MASTER_LIBS)

$(BUILD)/bench_queue_worker: $(BUILD)/tests/bench/queue_worker.o $(BUILD)/lib.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(MASTER_LIBS)

bench-queue: all $(BUILD)/bench_queue $(BUILD)/bench_queue_worker
	@$(BUILD)/bench_queue $(BENCH_DIR)
	@DLD_BUILD=$(CURDIR)/$(BUILD) $(PYTHON) tests/bench/whole_queue.py $(BENCH_DIR) --jobs $(BENCH_JOBS)

SOAK_DIR ?= /var/tmp
SOAK_MINUTES ?= 30

soak: all
	@DLD_BUILD=$(CURDIR)/$(BUILD) SOAK_DIR=$(SOAK_DIR) $(PYTHON) tests/soak/soak.py $(SOAK_MINUTES)

# ---- installing ----

install: all
	install -D -t $(DESTDIR)$(prefix)/bin $(BUILD)/dld $(BUILD)/dlctl
	install -D -t $(DESTDIR)$(prefix)/libexec/dld $(BUILD)/dld-worker
	install -D -m 644 -t $(DESTDIR)$(prefix)/share/dld daemon/job.schema.json
	install -D -m 644 -t $(DESTDIR)$(prefix)/share/man/man1 client/dlctl.1
	install -D -m 644 -t $(DESTDIR)$(prefix)/share/man/man5 daemon/dld.conf.5
	install -D -m 644 -t $(DESTDIR)$(prefix)/share/man/man7 daemon/dld-control.7
	install -D -m 644 -t $(DESTDIR)$(prefix)/share/man/man8 daemon/dld.8
	install -D -m 644 client/dlctl.bash $(DESTDIR)$(prefix)/share/bash-completion/completions/dlctl
	install -D -m 644 systemd/dld.sysusers $(DESTDIR)$(prefix)/lib/sysusers.d/dld.conf
	test -e $(DESTDIR)$(sysconfdir)/dld/dld.conf || \
		install -D -m 644 -t $(DESTDIR)$(sysconfdir)/dld systemd/dld.conf
	install -D -m 644 -t $(DESTDIR)$(prefix)/lib/systemd/system systemd/dld.service systemd/dld.socket
	install -D -m 644 -t $(DESTDIR)$(prefix)/lib/systemd/user systemd/user/dld.service systemd/user/dld.socket
	sed -i 's|/usr/bin/|$(prefix)/bin/|' $(DESTDIR)$(prefix)/lib/systemd/*/dld.service

clean:
	rm -rf .build .build-*

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
