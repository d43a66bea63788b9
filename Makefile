# ringlink: build, demo, tests, installation. `make help` lists what can be asked for.
#
# The same C sources are compiled in several flavours (Lua 5.4, LuaJIT, with sanitizers, by two
# compilers with warnings as errors), each with objects of its own, so that flavours never mix and
# nothing unchanged is compiled twice. Everything made lies under .build, nothing elsewhere.
# Only `packages`, `demo`, `bench` and `test` may install packages; the others use what is there.

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
Q := $(if $(V),,@)# `make V=1` shows whole compiler commands

# ---- What may differ from system to system ---------------------------------------------------

# luarocks names its interpreter and the folder of lua.h (see the rockspec); else both are empty.
ROCK_LUA    ?=
LUA_INCDIR  ?=
LUA_VERSION ?= $(or $(if $(ROCK_LUA),$(shell $(ROCK_LUA) -e 'print(_VERSION:match("%d.%d"))')),5.4)
PREFIX      ?= /usr/local#   where `make install` puts things; DESTDIR goes before it
LUADIR      ?= $(PREFIX)/share/lua/$(LUA_VERSION)
LIBDIR      ?= $(PREFIX)/lib/lua/$(LUA_VERSION)
BINDIR      ?= $(PREFIX)/bin#          where the command goes; empty leaves it out
BUILD       ?= .build

LUA         ?= lua5.4#       the interpreters, and what pkg-config calls them
LUA_PC      ?= lua5.4
LUAJIT      ?= luajit
LUAJIT_PC   ?= luajit
LIBS_PC     ?= libcurl libcrypto sqlite3
JOBS        ?= 3#            suites of `make test` side by side: they wait as much as they work

CFLAGS      ?= -O2 -g
WARNINGS    ?= -Wall -Wextra -Wpedantic -Wconversion

# pkg-config is asked when something is compiled, not before: `make help` works on a bare machine.
pkg = $(shell pkg-config $(1))$(if $(filter 0,$(.SHELLSTATUS)),,\
  $(error `pkg-config $(1)` failed: `make packages` installs what the build needs))

# LUA_INCDIR counts when it holds the right Lua: for 5.1 luarocks may name PUC Lua's headers.
LUA_CFLAGS    ?= $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(call pkg,--cflags $(LUA_PC)))
LUAJIT_CFLAGS ?= $(if $(wildcard $(LUA_INCDIR)/luajit.h),-I$(LUA_INCDIR),\
                 $(call pkg,--cflags $(LUAJIT_PC)))
LIBS_CFLAGS   ?= $(call pkg,--cflags $(LIBS_PC))
LIBS          ?= $(call pkg,--libs $(LIBS_PC))

# ---- Sources and flavours --------------------------------------------------------------------

SOURCES      := $(wildcard src/*/*.c)
CARRIERS     := $(filter src/core/% src/io/%,$(SOURCES))# all that knows nothing of Lua
TESTS        := $(patsubst spec/core/%.c,%,$(wildcard spec/core/test_*.c))
THREADED     := $(filter test_transport test_wake test_worker%,$(TESTS))
TEST_HELPERS := $(filter-out spec/core/test_%,$(wildcard spec/core/*.c))
C_FILES       = $(wildcard src/*/*.[ch] spec/core/*.[ch] spec/bench/*.[ch] spec/support/*.c)

COMPILE = -std=c11 -pthread -fPIC -fvisibility=hidden $(WARNINGS) -Isrc $(LIBS_CFLAGS) -MMD -MP -c
# nodelete: lua_close would unmap the code under a running thread. now: a missing symbol is
# noticed when the module is loaded, not in the middle of a link (Lua's own symbols forbid -z defs).
LINK    = -shared -pthread -Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro

module  = $(BUILD)/$(1)/ringlink/core.so
tests   = $(TESTS:%=$(BUILD)/$(1)/test/%)
objects = $(patsubst %.c,$(BUILD)/obj/$(1)/%.o,$(2))

# $(call flavour,NAME,COMPILER,FLAGS,VARIABLE WITH LUA'S FLAGS): the module, the C tests, and
# compile/NAME for both.
define flavour
$(BUILD)/obj/$(1)/%.o: %.c Makefile
	@mkdir -p $$(@D)
	@echo "  CC    $$@"
	$(Q)$(2) $(3) $$(COMPILE) $$($(4)) -o $$@ $$<

$(call module,$(1)): $(call objects,$(1),$(SOURCES))
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	$(Q)$(2) $(3) $$(LINK) -o $$@ $$^ $$(LIBS)

$(call tests,$(1)): $(BUILD)/$(1)/test/%: $(BUILD)/obj/$(1)/spec/core/%.o \
		$(call objects,$(1),$(TEST_HELPERS) $(CARRIERS))
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	$(Q)$(2) $(3) -o $$@ $$^ $$(LIBS) -lcmocka -pthread

.PHONY: compile/$(1)
compile/$(1): $(call module,$(1)) $(call tests,$(1))

-include $(wildcard $(BUILD)/obj/$(1)/src/*/*.d $(BUILD)/obj/$(1)/spec/core/*.d)
endef

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
STRICT   := strict/gcc-5.4 strict/gcc-luajit strict/clang-5.4 strict/clang-luajit

$(eval $(call flavour,5.4,$(CC),$$(CFLAGS),LUA_CFLAGS))
$(eval $(call flavour,luajit,$(CC),$$(CFLAGS),LUAJIT_CFLAGS))
$(eval $(call flavour,asan/5.4,gcc,-O1 -g $(SANITIZE),LUA_CFLAGS))
$(eval $(call flavour,asan/luajit,gcc,-O1 -g $(SANITIZE),LUAJIT_CFLAGS))
$(eval $(call flavour,tsan,gcc,-O1 -g -fsanitize=thread,LUA_CFLAGS))
$(eval $(call flavour,strict/gcc-5.4,gcc,-O2 -Werror,LUA_CFLAGS))
$(eval $(call flavour,strict/gcc-luajit,gcc,-O2 -Werror,LUAJIT_CFLAGS))
$(eval $(call flavour,strict/clang-5.4,clang,-O2 -Werror,LUA_CFLAGS))
$(eval $(call flavour,strict/clang-luajit,clang,-O2 -Werror,LUAJIT_CFLAGS))

# An interpreter with the sanitizers inside. (Preloading them into the distribution's lua5.4 would
# force them on nginx and on every other child process too.)
ASAN_LUA := $(BUILD)/asan/lua5.4
$(ASAN_LUA): spec/support/lua_host.c Makefile
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)gcc -std=c11 -O1 -g $(WARNINGS) $(SANITIZE) $(LUA_CFLAGS) -o $@ $< \
	  $(call pkg,--libs $(LUA_PC))

# ---- Building and installing -----------------------------------------------------------------

FLAVOUR := $(if $(filter 5.1,$(LUA_VERSION)),luajit,$(LUA_VERSION))
ifeq ($(filter 5.4 luajit,$(FLAVOUR)),)
  $(error LUA_VERSION is 5.4, or 5.1 for LuaJIT; '$(LUA_VERSION)' cannot be built)
endif

.PHONY: build luajit packages install uninstall clean format help
build: $(call module,$(FLAVOUR)) ## compile the module for LUA_VERSION (5.4, or 5.1 for LuaJIT)

luajit: $(call module,luajit) ## compile the module for LuaJIT

packages: ## install what build, demo and tests need, by apt (RINGLINK_NO_INSTALL=1: only list)
	@spec/support/packages.sh build demo test

# The command finds the modules that were installed with it. Where it is there for Lua 5.4 already,
# LuaJIT's installation leaves it as it is.
COMMAND      = $(DESTDIR)$(BINDIR)/ringlink
HOST        := $(or $(ROCK_LUA),$(if $(filter luajit,$(FLAVOUR)),$(LUAJIT),$(LUA)))
COMMAND_PATH = package.path = [[$(LUADIR)/?.lua;$(LUADIR)/?/init.lua;]] .. package.path
COMMAND_HEAD = \#!/usr/bin/env $(HOST)\n$(COMMAND_PATH)\npackage.cpath = [[$(LIBDIR)/?.so;]] .. package.cpath\n
IS_OURS      = grep -qsF '[[$(LUADIR)/?.lua;' "$(COMMAND)"

install: build ## put ringlink under PREFIX (/usr/local) for LUA_VERSION; DESTDIR is honoured
	@cd lua && find ringlink -type f -exec install -Dm644 {} "$(DESTDIR)$(LUADIR)"/{} ';'
	@install -Dm644 $(call module,$(FLAVOUR)) "$(DESTDIR)$(LIBDIR)/ringlink/core.so"
	@if [ -n "$(BINDIR)" ] && { [ $(FLAVOUR) != luajit ] || [ ! -e "$(COMMAND)" ] || $(IS_OURS); }; then \
	  install -Dm755 /dev/null "$(COMMAND)" && \
	  { printf '$(COMMAND_HEAD)' && sed 1d lua/ringlink/cli/ringlink.lua; } >"$(COMMAND)"; fi
	@echo "installed in $(DESTDIR)$(LUADIR)/ringlink and $(DESTDIR)$(LIBDIR)/ringlink"

uninstall: ## take away what install put there (same PREFIX, LUA_VERSION, DESTDIR)
	rm -rf "$(DESTDIR)$(LUADIR)/ringlink" "$(DESTDIR)$(LIBDIR)/ringlink"
	! $(IS_OURS) || rm -f "$(COMMAND)"

clean: ## remove everything that was built
	rm -rf $(BUILD)

format: ## rewrite the C files in the project's format
	clang-format -i $(C_FILES)

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

# ---- Demo ------------------------------------------------------------------------------------

# Child processes (nginx has a directory of its own) need absolute paths, and must not be misled by
# the settings of whoever calls make. RINGLINK_LUA is the interpreter for child processes;
# RINGLINK_LUAJIT_CPATH is for the sandbox, which runs inside nginx and hence in LuaJIT.
unexport LUA_INIT LUA_INIT_5_4 LUA_PATH_5_4 LUA_CPATH_5_4
export LUA_PATH := $(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(CURDIR)/spec/?.lua;;
export RINGLINK_LUAJIT_CPATH := $(CURDIR)/$(BUILD)/luajit/?.so
# $(call lua,FLAVOUR,INTERPRETER[,WRAPPER]): a command that runs Lua with that flavour's module.
lua = env LUA_CPATH='$(CURDIR)/$(BUILD)/$(1)/?.so;;' RINGLINK_LUA='$(2)' \
      $(3) $(2)

.PHONY: demo
demo: ## a Ring account's life against the sandbox (KEEP=1: then try it yourself; installs packages)
	@spec/support/packages.sh build demo
	@$(MAKE) --no-print-directory build luajit LUA_VERSION=5.4
	@$(call lua,5.4,$(LUA)) spec/demo/run.lua

# ---- Benchmarks ------------------------------------------------------------------------------

# The baselines: programs that do what ringlink does with SQLite alone, with libcurl alone; and a load.
BARE := $(addprefix $(BUILD)/bench/,bare_sqlite bare_multi load)
$(BUILD)/bench/bare_sqlite: $(addprefix spec/bench/,bare_sqlite.c bare_jobs.c bare_log.c bare_seal.c)
$(BUILD)/bench/bare_multi: spec/bench/bare_multi.c
$(BUILD)/bench/load: spec/bench/load.c
$(BARE): $(wildcard spec/bench/*.h src/io/store_*.h src/core/*.h) Makefile
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) -std=c11 $(CFLAGS) $(WARNINGS) -Isrc $(LIBS_CFLAGS) -o $@ $(filter %.c,$^) $(LIBS)

.PHONY: bench
bench: ## measure, against baselines (BENCH="calls links": only those; see README; installs packages)
	@spec/support/packages.sh build demo
	@$(MAKE) --no-print-directory build luajit $(BARE) LUA_VERSION=5.4
	@$(call lua,5.4,$(LUA)) spec/bench/run.lua $(BENCH)

# ---- Tests -----------------------------------------------------------------------------------

# Every suite speaks TAP into .build/test/<name>.log; suite.sh counts it, tally.sh adds up. A suite
# can be run alone: `make test-core`. The slow ones come first, to run beside the quick ones.
SUITES := specs sqlite inside inside-sqlite nginx browser valgrind asan luajit core core-asan core-tsan \
          core-valgrind compile install lint tidy
# Not named _spec: busted passes them over.
SOAK   := $(addprefix spec/soak/,kills.lua long_life.lua many_links.lua reloads.lua mixed_load.lua)
SUITE  := spec/support/suite.sh
CHECKS := spec/support/checks.sh
EACH   := spec/support/each.sh
BUSTED := spec/support/busted.lua -o spec/support/tap.lua

VALGRIND   := valgrind --quiet --error-exitcode=99 --leak-check=full \
              --show-leak-kinds=definite --errors-for-leak-kinds=definite
SANITIZERS := env ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
# ThreadSanitizer has its own ideas about addresses, which some kernels' randomisation upsets.
THREADS     = $(shell setarch -R true 2>/dev/null && echo setarch -R) \
              env TSAN_OPTIONS=halt_on_error=1

.PHONY: test soak screenshots check sanitize valgrind $(SUITES:%=test-%) test-secrets test-soak test-nginx-asan
test: ## run every suite (installs packages); the last line is `N passed, N failed`
	@spec/support/packages.sh build demo test
	@spec/support/run.sh "$(MAKE) --no-print-directory" $(JOBS) $(SUITES)

soak: ## half an hour of kills, years, crowds, reloads, by chance (SEED=n repeats; MINUTES=n; see README)
	@seed=$${SEED:-$$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')}; echo "seed $$seed"; export SEED=$$seed; \
	rm -f $(BUILD)/test/soak.counts $(BUILD)/test/nginx-asan.counts; \
	spec/support/packages.sh build demo test && $(MAKE) --no-print-directory -k test-soak test-nginx-asan; \
	sed -n 's/^#: /   /p' $(BUILD)/test/soak.log; spec/support/tally.sh soak nginx-asan

screenshots: ## photograph every page, for a phone and a desktop, into .build/screenshots
	@rm -rf $(BUILD)/screenshots && mkdir -p $(BUILD)/screenshots
	@RINGLINK_SCREENSHOTS=$(CURDIR)/$(BUILD)/screenshots $(MAKE) --no-print-directory test-browser

check: test-lint test-tidy test-core test-luajit ## the quick suites: style, rules, core, no network
sanitize: test-core-asan test-core-tsan test-asan ## the suites under gcc's sanitizers
valgrind: test-core-valgrind test-valgrind ## the suites under valgrind

test-lint:
	@$(SUITE) lint "style" $(CHECKS) \
	  "luacheck" "luacheck --quiet --no-color lua spec rockspec/*.rockspec" \
	  "clang-format" "clang-format -n --Werror $(C_FILES)"

test-compile:
	@$(SUITE) compile "no compiler warns" $(CHECKS) \
	  $(foreach f,$(STRICT),"$f" "$(MAKE) --no-print-directory compile/$f")

test-install: $(call module,5.4) $(call module,luajit)
	@$(SUITE) install "installed copies" \
	  spec/support/install.sh "$(MAKE) --no-print-directory" $(LUA) $(LUAJIT)

test-tidy: $(call module,5.4)
	@$(SUITE) tidy "the project's rules" \
	  $(call lua,5.4,$(LUA)) $(BUSTED) spec/tidy_spec.lua spec/readme_spec.lua

test-core: $(call tests,5.4)
	@$(SUITE) core "C tests" $(EACH) "" $^

test-core-asan: $(call tests,asan/5.4)
	@$(SUITE) core-asan "C tests under sanitizers" $(EACH) "$(SANITIZERS)" $^

test-core-tsan: $(THREADED:%=$(BUILD)/tsan/test/%)
	@$(SUITE) core-tsan "threads under ThreadSanitizer" $(EACH) "$(THREADS)" $^

test-core-valgrind: $(call tests,5.4)
	@$(SUITE) core-valgrind "C tests under valgrind" $(EACH) "$(VALGRIND)" $^

test-specs: $(call module,5.4) $(call module,luajit) $(BARE)
	@$(SUITE) specs "specs, Lua 5.4" $(call lua,5.4,$(LUA)) $(BUSTED) --exclude-tags=tidy,nginx,browser spec

# The same specs in a worker of nginx, with the runtime that requests have there.
test-inside: $(call module,luajit)
	@$(SUITE) inside "specs inside nginx" $(call lua,luajit,$(LUAJIT)) spec/nginx/inside.lua

test-inside-sqlite: $(call module,luajit)
	@$(SUITE) inside-sqlite "network specs inside nginx, rows in SQLite" env RINGLINK_SPEC_STORE=sqlite \
	  $(call lua,luajit,$(LUAJIT)) spec/nginx/inside.lua $$(grep -l support.world spec/*_spec.lua)

test-nginx: $(call module,5.4) $(call module,luajit)
	@$(SUITE) nginx "nginx: requests, workers, reloads" \
	  $(call lua,5.4,$(LUA)) $(BUSTED) --tags=nginx spec/nginx

test-browser: $(call module,5.4) $(call module,luajit)
	@$(SUITE) browser "pages in a browser" $(call lua,5.4,$(LUA)) $(BUSTED) spec/browser

# The same specs where they use support/world.lua, each client with a file of its own; but for those that
# choose their stores themselves (tag ownstore).
test-sqlite: $(call module,5.4) $(call module,luajit)
	@$(SUITE) sqlite "network specs, Lua 5.4, rows in SQLite" env RINGLINK_SPEC_STORE=sqlite \
	  $(call lua,5.4,$(LUA)) $(BUSTED) --tags=network --exclude-tags=ownstore \
	  $$(grep -l support.world spec/*_spec.lua)

test-luajit: $(call module,luajit)
	@$(SUITE) luajit "specs without network, LuaJIT" \
	  $(call lua,luajit,$(LUAJIT)) $(BUSTED) --exclude-tags=tidy,network spec

# Left out: what mostly runs in other processes, which have no sanitizer, and in event loops with leaks of their own.
test-asan: $(call module,asan/5.4) $(call module,luajit) $(ASAN_LUA) $(BARE)
	@$(SUITE) asan "specs, Lua 5.4, under sanitizers" \
	  $(call lua,asan/5.4,$(CURDIR)/$(ASAN_LUA),$(SANITIZERS)) $(BUSTED) --exclude-tags=tidy,nginx,browser \
	  $(addprefix --exclude-pattern=,cli_ scripts_ demo_ bench_ soak_ flow_resume long_life resty_.*network sandbox_spec \
	  auto_runtime external_) spec

# What runs the same C as other specs, or the C tests, is left out: it is fifty times as slow here.
test-valgrind: $(call module,5.4)
	@$(SUITE) valgrind "specs without network, Lua 5.4, under valgrind" \
	  $(call lua,5.4,$(LUA),$(VALGRIND)) $(BUSTED) --exclude-tags=tidy,network,leaky \
	  $(addprefix --exclude-pattern=,resty_ cli_ testing_ auto_runtime transport_stream unreadable \
	  work_refresh yielding_store owed overdue taken_over early_ trace) spec

# A new binary's environment is empty (USR2), and the sanitizer is in that.
test-nginx-asan: $(call module,5.4) $(call module,asan/luajit)
	@RINGLINK_SUITE_LIMIT_S=1800 $(SUITE) nginx-asan "nginx's workers under sanitizers" \
	  $(call lua,5.4,$(LUA),RINGLINK_LUAJIT_CPATH='$(CURDIR)/$(BUILD)/asan/luajit/?.so' spec/support/sanitized.sh) \
	  $(BUSTED) --filter-out="another binary" spec/nginx $(wildcard spec/resty_*network_spec.lua)

test-soak: $(call module,5.4) $(call module,luajit)
	@RINGLINK_SUITE_LIMIT_S=7200 $(SUITE) soak "long lives, sudden ends, reloads, a crowd" \
	  $(call lua,5.4,$(LUA)) $(BUSTED) $(SOAK)

# After all the others: it looks at what they wrote.
test-secrets: $(call module,5.4)
	@$(SUITE) secrets "no planted secret in what the suites wrote" \
	  $(call lua,5.4,$(LUA)) spec/support/search_run.lua $(SUITES) $(LEFTOVERS)
