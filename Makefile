# Everything is made in build/; nothing is written anywhere else.

NGINX_SRC = /usr/share/nginx/src
JOBS      = 4

SOAK_SECONDS = 600

SHELL = /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:

build_packages = gcc libc6-dev make nginx nginx-dev libjwt-dev libhiredis-dev \
                 libjansson-dev libssl-dev libpcre2-dev zlib1g-dev
run_packages   = $(build_packages) redis-server openssl perl curl
test_packages  = $(run_packages)
lint_packages  = $(build_packages) clang clang-tidy cppcheck

module = build/ngx_http_lockbox_module.so
objs   = $(CURDIR)/build/nginx

sources = $(wildcard ngx_lockbox_module/*.c admin/*.c)
headers = $(wildcard ngx_lockbox_module/*.h admin/*.h)
assets  = $(objs)/ngx_lockbox_assets.h

# nginx itself adds -W -Wall -Werror, and -Wno-unused-parameter because its
# handlers have given signatures that few of them need in full.
warnings  = -Wall -Wextra -Werror -Wno-unused-parameter
hardening = -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2
cc_opt    = -O2 -g $(warnings) $(hardening)
ld_opt    = -Wl,-z,relro -Wl,-z,now

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
test: deps-test  ## install, build, and run all tests (JOBS=4 at a time)
	@$(MAKE) --no-print-directory -j $(JOBS) all unit
	prove -j $(JOBS) -I t/lib -r t/

.PHONY: soak
soak: deps-test  ## kill Redis and workers under load (SOAK_SECONDS=600)
	@$(MAKE) --no-print-directory all
	t/soak $(SOAK_SECONDS)

.PHONY: unit
unit:  ## build the unit tests, with sanitizers

.PHONY: lint
lint: deps-lint  ## install the checkers and run them over the sources
	@$(MAKE) --no-print-directory -j $(JOBS) lint-all

.PHONY: deps-build deps-run deps-test deps-lint
deps-build:  ## install the Debian packages that the build needs
	@.ci/install $(build_packages)
deps-run:    ## install the Debian packages that the demonstration needs
	@.ci/install $(run_packages)
deps-test:   ## install the Debian packages that the tests need
	@.ci/install $(test_packages)
deps-lint:   ## install the Debian packages that the checkers need
	@.ci/install $(lint_packages)

.PHONY: clean
clean:  ## remove all that was made
	rm -rf build

.PHONY: help
help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' Makefile \
	    | while read -r name text; do printf '%-11s %s\n' $$name "$$text"; done


# The module

# Changes only when a list, a flag or the nginx to build for does.
.PHONY: force
build/inputs: force
	@mkdir -p $(@D)
	@test -x $(NGINX_SRC)/configure || { \
	    echo 'there is no $(NGINX_SRC): run "make deps-build"' >&2; exit 1; }
	@{ dpkg-query -W nginx-dev; cat $(NGINX_SRC)/conf_flags; \
	   echo $(cc_opt) $(ld_opt) $(sources) $(headers); } > $@.new
	@cmp -s $@.new $@ || cp $@.new $@

$(objs)/Makefile: config config.make build/inputs
	@echo "configuring nginx"
	@cd $(NGINX_SRC) && . ./conf_flags && ./configure \
	    "$${NGX_CONF_FLAGS[@]}" --with-compat --builddir=$(objs) \
	    --with-cc-opt='$(cc_opt)' --with-ld-opt='$(ld_opt)' \
	    --add-dynamic-module=$(CURDIR) > $(CURDIR)/build/configure.log \
	    || { tail -n 20 $(CURDIR)/build/configure.log >&2; exit 1; }

$(assets): admin/workflow.lua config.make | $(objs)/Makefile
	@$(MAKE) -s -C $(NGINX_SRC) -f $(objs)/Makefile $@

$(module): $(objs)/Makefile $(assets) $(sources) $(headers)
	@echo "compiling $(@F)"
	@$(MAKE) -s -C $(NGINX_SRC) -f $(objs)/Makefile modules
	@# not cp: a running nginx has the old file mapped
	@install $(objs)/$(@F) $@


# The unit tests: t/unit/NAME.c says in a comment, "links: a.c b.c", which
# sources it tests.

unit_names = $(filter-out ngx_shim,$(basename $(notdir $(wildcard t/unit/*.c))))
unit_flags = -O1 -g $(warnings) -fno-omit-frame-pointer \
             -fsanitize=address,undefined -fno-sanitize-recover=undefined
unit_libs  = -ljwt -lhiredis -ljansson -lcrypto

unit: $(unit_names:%=build/unit/%)

build/unit/obj/%.o: %.c $(headers) $(wildcard t/unit/*.h) $(objs)/Makefile
	@mkdir -p $(@D)
	@echo "compiling $< with sanitizers"
	@$(CC) $(unit_flags) $(includes) -c -o $@ $<

unit_links = $(shell sed -n 's,.*links:\([^*]*\).*,\1,p' t/unit/$(1).c)
unit_rule  = build/unit/$(1): $(patsubst %.c,build/unit/obj/%.o, \
    t/unit/$(1).c t/unit/ngx_shim.c $(foreach name,$(unit_links), \
        $(or $(wildcard */$(name)),missing/$(name))))

$(foreach unit,$(unit_names),$(eval $(call unit_rule,$(unit))))

$(unit_names:%=build/unit/%):
	@$(CC) $(unit_flags) -o $@ $^ $(unit_libs)


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


# What admin/ embeds

$(patsubst %.c,build/unit/obj/%.o,$(filter admin/%,$(sources))) \
    $(filter build/lint/admin/%,$(lint_stamps)): $(assets)
