# Everything is made in build/; nothing is written anywhere else.

NGINX_SRC = /usr/share/nginx/src
JOBS      = 4
TESTS     = -r t/

SOAK_SECONDS = 600
FUZZ_SECONDS = 60

TARGETS = 200000
TOKENS  = 100000
SEED    = $(shell date +%s)

MODEL_SEQUENCES = 10000
MODEL_SEED      = $(shell date +%s)

SHELL = /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:

build_packages = gcc libc6-dev make nginx nginx-dev libjwt-dev libhiredis-dev \
                 libjansson-dev libssl-dev libpcre2-dev zlib1g-dev
run_packages   = $(build_packages) redis-server openssl perl curl
test_packages  = $(run_packages) python3 python3-jwcrypto \
                 python3-jsonschema libcrypt-jwt-perl
lint_packages  = $(build_packages) clang clang-tidy cppcheck
bench_packages = $(test_packages) wrk redis-tools strace valgrind

valgrind_packages = $(test_packages) valgrind
fuzz_packages     = $(build_packages) clang libclang-rt-dev llvm

# Instruments have builds of their own, in other directories by other flags.
build  = build
module = $(build)/ngx_http_lockbox_module.so
objs   = $(CURDIR)/$(build)/nginx

sources = $(wildcard ngx_lockbox_module/*.c admin/*.c)
headers = $(wildcard ngx_lockbox_module/*.h admin/*.h)
assets  = $(objs)/ngx_lockbox_assets.h

# nginx itself adds -W -Wall -Werror, and -Wno-unused-parameter because its
# handlers have given signatures that few of them need in full.
warnings  = -Wall -Wextra -Werror -Wno-unused-parameter
hardening = -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2
# What the module calls of its own is its own, whatever else is loaded.
binding   = -fno-semantic-interposition
cc_opt    = -O2 -g $(warnings) $(hardening) $(binding)
ld_opt    = -Wl,-z,relro -Wl,-z,now -Wl,-Bsymbolic-functions
linkage   = --add-dynamic-module

# For what is compiled besides nginx's own makefile.
includes = $(addprefix -isystem $(NGINX_SRC)/src/,core event event/modules \
               os/unix http http/modules http/v2) \
           -isystem $(objs) -I ngx_lockbox_module -I admin


.PHONY: all
all: $(module)  ## build the module for the packaged nginx (the default)

.PHONY: run
run: deps-run  ## install, build, and start the demonstration on this machine
	@$(MAKE) --no-print-directory all
	conf/demo/run

.PHONY: stop
stop:  ## stop the demonstration
	conf/demo/stop

.PHONY: test
test: deps-test  ## install, build, and run all tests, or TESTS='t/gate.t ...'
	@$(MAKE) --no-print-directory -j $(JOBS) all unit
	prove -j $(JOBS) -I t/lib $(TESTS)

.PHONY: differential
differential: deps-test  ## compare with other readers (TARGETS, TOKENS, SEED)
	@$(MAKE) --no-print-directory -j $(JOBS) all $(build)/differential/door
	TARGETS=$(TARGETS) TOKENS=$(TOKENS) SEED=$(SEED) \
	    prove --verbose -I t/lib t/differential.t

.PHONY: model
model: deps-test  ## play stories by the model (MODEL_SEQUENCES, MODEL_SEED)
	@$(MAKE) --no-print-directory -j $(JOBS) all
	MODEL_SEQUENCES=$(MODEL_SEQUENCES) MODEL_SEED=$(MODEL_SEED) \
	    prove --verbose -I t/lib t/model.t

.PHONY: soak
soak: deps-test  ## kill Redis and workers under load (SOAK_SECONDS=600)
	@$(MAKE) --no-print-directory all
	t/soak $(SOAK_SECONDS)

.PHONY: unit
unit:  ## build the unit tests, with sanitizers

.PHONY: lint
lint: deps-lint  ## install the checkers and run them over the sources
	@$(MAKE) --no-print-directory -j $(JOBS) lint-all

.PHONY: test-asan
test-asan: deps-test  ## the same, with an nginx that watches its memory
	@$(MAKE) --no-print-directory -j $(JOBS) unit asan-nginx
	LOCKBOX_NGINX=$(CURDIR)/t/instruments/asan LOCKBOX_STATIC=1 \
	    LOCKBOX_TIMEOUT=60 prove -j $(JOBS) -I t/lib $(TESTS)

.PHONY: test-asan-short
test-asan-short:  ## a part of that, in a few minutes
	@$(MAKE) --no-print-directory test-asan TESTS='$(asan_tests)'

.PHONY: test-valgrind
test-valgrind: deps-valgrind  ## some of the tests, in valgrind
	@$(MAKE) --no-print-directory -j $(JOBS) valgrind-nginx
	LOCKBOX_NGINX=$(CURDIR)/t/instruments/valgrind LOCKBOX_STATIC=1 \
	    LOCKBOX_TIMEOUT=180 prove -j 2 -I t/lib $(valgrind_tests)

.PHONY: coverage
coverage: deps-test  ## run the tests and tell which lines none of them runs
	@$(MAKE) --no-print-directory -j $(JOBS) coverage-build
	@find build/coverage -name '*.gcda' -delete
	LOCKBOX_MODULE=$(CURDIR)/build/coverage/$(notdir $(module)) \
	    LOCKBOX_UNIT=$(CURDIR)/build/coverage/unit \
	    prove -j $(JOBS) -I t/lib $(TESTS); \
	    status=$$?; t/instruments/coverage build/coverage; exit $$status

.PHONY: bench
bench: deps-bench  ## measure, and print how the sides compare
	@$(MAKE) --no-print-directory -j $(JOBS) bench-build
	t/bench/run build/bench.json $(benches)

.PHONY: bench-short
bench-short:  ## a try of that, in a minute or two, whose figures mean little
	@$(MAKE) --no-print-directory bench BENCH_SECONDS=1 BENCH_ROUNDS=1 \
	    BENCH_GRANTS=1000 BENCH_REVOCATIONS=4 BENCH_INSTRUCTIONS=200

.PHONY: endurance
endurance: deps-bench  ## send BENCH_REQUESTS=10000000 and look what grows
	@$(MAKE) --no-print-directory -j $(JOBS) bench-build
	t/bench/run build/endurance.json t/bench/endurance

.PHONY: scale
scale: deps-bench  ## compare few requests with many (SCALE_REQUESTS=100000)
	@$(MAKE) --no-print-directory -j $(JOBS) all build/bench/mint
	t/bench/run build/scale.json t/bench/scale

.PHONY: fuzz
fuzz: deps-fuzz  ## feed all parsers for FUZZ_SECONDS=60 each, or FUZZ='path ...'
	@$(MAKE) --no-print-directory -j $(JOBS) fuzz-build
	t/fuzz/run $(FUZZ_SECONDS) $(FUZZ_JOBS) $(FUZZ)

.PHONY: deps-build deps-run deps-test deps-lint deps-valgrind deps-fuzz \
        deps-bench
deps-build:  ## install the Debian packages that the build needs
	@.ci/install $(build_packages)
deps-run:    ## install the Debian packages that the demonstration needs
	@.ci/install $(run_packages)
deps-test:   ## install the Debian packages that the tests need
	@.ci/install $(test_packages)
	@# Debian's, unless there is another one already
	@command -v npm >/dev/null || .ci/install npm
deps-lint:   ## install the Debian packages that the checkers need
	@.ci/install $(lint_packages)
deps-valgrind:  ## install the Debian packages that test-valgrind needs
	@.ci/install $(valgrind_packages)
deps-fuzz:   ## install the Debian packages that fuzz needs
	@.ci/install $(fuzz_packages)
deps-bench:  ## install the Debian packages that bench needs
	@.ci/install $(bench_packages)

.PHONY: clean
clean:  ## remove all that was made
	rm -rf build

.PHONY: help
help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' Makefile \
	    | while read -r name text; do printf '%-15s %s\n' $$name "$$text"; done


# The module

# Changes only when a list, a flag or the nginx to build for does.
.PHONY: force
$(build)/inputs: force
	@mkdir -p $(@D)
	@test -x $(NGINX_SRC)/configure || { \
	    echo 'there is no $(NGINX_SRC): run "make deps-build"' >&2; exit 1; }
	@{ dpkg-query -W nginx-dev; cat $(NGINX_SRC)/conf_flags; \
	   echo $(cc_opt) $(ld_opt) $(sources) $(headers); } > $@.new
	@cmp -s $@.new $@ || cp $@.new $@

$(objs)/Makefile: config config.make $(build)/inputs
	@echo "configuring nginx"
	@cd $(NGINX_SRC) && . ./conf_flags && ./configure \
	    "$${NGX_CONF_FLAGS[@]}" --with-compat --builddir=$(objs) \
	    --with-cc-opt='$(cc_opt)' --with-ld-opt='$(ld_opt)' \
	    $(linkage)=$(CURDIR) > $(CURDIR)/$(build)/configure.log \
	    || { tail -n 20 $(CURDIR)/$(build)/configure.log >&2; exit 1; }

$(assets): admin/workflow.lua ngx_lockbox_module/trail.lua config.make \
           | $(objs)/Makefile
	@$(MAKE) -s -C $(NGINX_SRC) -f $(objs)/Makefile $@

$(module): $(objs)/Makefile $(assets) $(sources) $(headers)
	@echo "compiling $(@F)"
	@$(MAKE) -s -C $(NGINX_SRC) -f $(objs)/Makefile modules
	@# not cp: a running nginx has the old file mapped
	@install $(objs)/$(@F) $@


# nginx with the module linked in, for which NGINX_SRC is all of its source

.PHONY: static
static: $(objs)/nginx

$(objs)/nginx: $(objs)/Makefile $(assets) $(sources) $(headers)
	@echo "compiling nginx with the module for $(build)"
	@$(MAKE) -s -C $(NGINX_SRC) -f $< CC='$(CC) $(module_opt)' \
	    $(sources:%.c=$(objs)/addon/%.o)
	@$(MAKE) -s -C $(NGINX_SRC) -f $< binary


# The unit tests: t/unit/NAME.c says in a comment, "links: a.c b.c", which
# sources it tests.

unit_names = $(filter-out ngx_shim,$(basename $(notdir $(wildcard t/unit/*.c))))
unit_flags = -O1 -g $(warnings) -fno-omit-frame-pointer \
             -fsanitize=address,undefined -fno-sanitize-recover=undefined
unit_libs  = -ljwt -lhiredis -ljansson -lcrypto

unit: $(unit_names:%=$(build)/unit/%)

$(build)/unit/obj/%.o: %.c $(headers) $(wildcard t/unit/*.h) $(objs)/Makefile
	@mkdir -p $(@D)
	@echo "compiling $< with sanitizers"
	@$(CC) $(unit_flags) $(includes) -c -o $@ $<

unit_links = $(shell sed -n 's,.*links:\([^*]*\).*,\1,p' t/unit/$(1).c)
unit_rule  = $(build)/unit/$(1): $(patsubst %.c,$(build)/unit/obj/%.o, \
    t/unit/$(1).c t/unit/ngx_shim.c $(foreach name,$(unit_links), \
        $(or $(wildcard */$(name)),missing/$(name))))

$(foreach unit,$(unit_names),$(eval $(call unit_rule,$(unit))))

$(unit_names:%=$(build)/unit/%):
	@$(CC) $(unit_flags) -o $@ $^ $(unit_libs)


# The module's door without nginx, for t/differential.t

unit: $(build)/differential/door

door_links = $(shell sed -n 's,.*links:\([^*]*\).*,\1,p' \
               t/differential/door.c)

$(build)/differential/door: $(patsubst %.c,$(build)/unit/obj/%.o, \
    t/differential/door.c t/unit/ngx_shim.c $(foreach name,$(door_links), \
        $(or $(wildcard */$(name)),missing/$(name))))
	@mkdir -p $(@D)
	@$(CC) $(unit_flags) -o $@ $^ $(unit_libs)


# The fuzz targets: t/fuzz/NAME.c says what it tests like a unit test does.
# The pools of ngx_shim.c are in the place of nginx's: each piece is a block of
# its own there, too, and one of them can be made to fail.

FUZZ      = $(basename $(notdir $(wildcard t/fuzz/*.c)))
FUZZ_JOBS = 1

fuzz_flags = -O1 -g $(warnings) -fno-omit-frame-pointer \
             -fsanitize=fuzzer-no-link,address,undefined \
             -fno-sanitize-recover=undefined

.PHONY: fuzz-build
fuzz-build: $(FUZZ:%=$(build)/fuzz/%)

$(build)/fuzz/obj/%.o: %.c $(headers) $(wildcard t/fuzz/*.h t/unit/*.h) \
                       | $(objs)/Makefile
	@mkdir -p $(@D)
	@echo "compiling $< for fuzzing"
	@clang $(fuzz_flags) $(includes) -iquote t/unit -c -o $@ $<

fuzz_links = $(shell sed -n 's,.*links:\([^*]*\).*,\1,p' t/fuzz/$(1).c)
fuzz_rule  = $(build)/fuzz/$(1): $(patsubst %.c,$(build)/fuzz/obj/%.o, \
    t/fuzz/$(1).c t/unit/ngx_shim.c $(foreach name,$(fuzz_links), \
        $(or $(wildcard */$(name)),missing/$(name))))

$(foreach name,$(FUZZ),$(eval $(call fuzz_rule,$(name))))

$(FUZZ:%=$(build)/fuzz/%):
	@clang $(fuzz_flags) -fsanitize=fuzzer -o $@ $^ $(unit_libs)


# The builds that instruments need, and what of the suite is for them

asan_tests = $(addprefix t/,story.t gate.t gate_subrequests.t door.t http2.t \
               aborts.t kills.t audit_faults.t redis_faults.t \
               redis_output.t config.t admin_matrix.t admin_input.t \
               lifecycle.t events_http2.t notify.t)

# Those that are in no haste; and two at a time, for a worker that waits too
# long for its turn loses its lease, and cuts what is under way.
valgrind_tests = $(addprefix t/,story.t gate.t gate_answers.t \
                   gate_connections.t gate_subrequests.t door.t \
                   identity_door.t refusals.t http2.t aborts.t records.t \
                   audit_faults.t admin_grant.t admin_http.t admin_input.t \
                   admin_lists.t admin_stages.t admin_store.t)

nginx_source = $(CURDIR)/build/source

# with what Debian's nginx has besides, and tests use
build/source/conf_flags: .ci/nginx-source
	@echo "fetching the source of nginx"
	@.ci/nginx-source $(nginx_source)
	@{ cat $(NGINX_SRC)/conf_flags; echo 'NGX_CONF_FLAGS+=(' \
	   $(addprefix --with-http_,addition_module sub_module) ')'; } > $@

# Each piece of a pool is a block of its own, so that overruns show.
watched = -O1 -g $(warnings) -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1

# What is undefined in nginx itself is left to nginx.
.PHONY: asan-nginx
asan-nginx: build/source/conf_flags
	@$(MAKE) --no-print-directory static build=build/asan \
	    NGINX_SRC=$(nginx_source) linkage=--add-module \
	    cc_opt='$(watched) -fsanitize=address' \
	    ld_opt=-fsanitize=address,undefined \
	    module_opt='-fsanitize=undefined -fno-sanitize-recover=undefined'

.PHONY: valgrind-nginx
valgrind-nginx: build/source/conf_flags
	@$(MAKE) --no-print-directory static build=build/valgrind \
	    NGINX_SRC=$(nginx_source) linkage=--add-module \
	    cc_opt='$(watched)' ld_opt=

.PHONY: coverage-build
coverage-build:
	@$(MAKE) --no-print-directory all unit build=build/coverage \
	    cc_opt='-O0 -g $(warnings) -fPIC --coverage' ld_opt=--coverage \
	    unit_flags='-O0 -g $(warnings) --coverage'


# The benchmarks: the module's own objects, and nginx's own pools, of which
# nginx-dev has no source

bench_programs = build/bench/door build/bench/mint

# what bench runs, one after the other
benches = build/bench/door t/bench/requests t/bench/costs t/bench/revocations

# what they are told
BENCH_SECONDS      = 1
BENCH_ROUNDS       = 11
BENCH_GRANTS       = 100000
BENCH_REVOCATIONS  = 50
BENCH_INSTRUCTIONS = 1000
BENCH_CALLS        = 20
SCALE_REQUESTS     = 100000
SCALE_TENANTS      = 1000

export BENCH_SECONDS BENCH_ROUNDS BENCH_GRANTS BENCH_REVOCATIONS \
       BENCH_INSTRUCTIONS BENCH_CALLS SCALE_REQUESTS SCALE_TENANTS

bench_parts = $(patsubst %,$(objs)/addon/ngx_lockbox_module/ngx_lockbox_%.o, \
                base64url grant json jwks name path scope token)
bench_nginx = $(addprefix build/source/src/, \
                core/ngx_array.c core/ngx_palloc.c core/ngx_string.c \
                os/unix/ngx_alloc.c)

.PHONY: bench-build
bench-build: all $(bench_programs)

build/bench/door: t/bench/door.c $(module) build/source/conf_flags
	@mkdir -p $(@D)
	@echo "compiling $<"
	@# the rest of ngx_string.c needs the rest of nginx
	@$(CC) $(cc_opt) -ffunction-sections -Wl,--gc-sections $(includes) \
	    -o $@ $< $(bench_nginx) $(bench_parts) -ljansson -lcrypto

build/bench/mint: t/bench/mint.c
	@mkdir -p $(@D)
	@echo "compiling $<"
	@$(CC) $(cc_opt) -o $@ $< -lcrypto


# The checkers: one stamp for each source and checker that is content

lint_flags = -O2 $(warnings) $(includes)

lint_stamps = $(foreach check,tidy clang analyzer,\
                  $(sources:%.c=build/lint/%.$(check)))

.PHONY: lint-all
lint-all: $(lint_stamps) build/lint/cppcheck

build/lint/%.tidy: %.c .clang-tidy $(headers) $(objs)/Makefile
	@mkdir -p $(@D)
	@echo clang-tidy $<
	@clang-tidy --quiet $< -- $(lint_flags) \
	    2> >(grep -v 'warnings\? generated' >&2)
	@touch $@

build/lint/%.clang: %.c $(headers) $(objs)/Makefile
	@mkdir -p $(@D)
	@echo clang $<
	@clang $(lint_flags) -c -o /dev/null $<
	@touch $@

build/lint/%.analyzer: %.c $(headers) $(objs)/Makefile
	@mkdir -p $(@D)
	@echo gcc -fanalyzer $<
	@gcc $(lint_flags) -fanalyzer -c -o /dev/null $<
	@touch $@

build/lint/cppcheck: $(sources) $(headers)
	@mkdir -p $(@D)
	@echo cppcheck $(sources)
	@cppcheck --quiet --error-exitcode=1 --inline-suppr \
	    --enable=warning,performance,portability \
	    -I ngx_lockbox_module -I admin $(sources)
	@touch $@


# What admin/ and the trail embed

$(assets): admin/openapi.json

$(patsubst %.c,$(build)/unit/obj/%.o,$(filter admin/%,$(sources))) \
    $(patsubst %.c,$(build)/fuzz/obj/%.o,$(filter admin/%,$(sources))) \
    $(filter build/lint/admin/% %/ngx_http_lockbox_trail.tidy \
        %/ngx_http_lockbox_trail.clang %/ngx_http_lockbox_trail.analyzer, \
        $(lint_stamps)): $(assets)
