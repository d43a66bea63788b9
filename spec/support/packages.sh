#!/bin/sh
# The one list of packages ringlink needs, and what installs those that lack.
#
#   packages.sh build|demo|test...    installs what is missing for these purposes
#   packages.sh --list                prints: purpose package reason
#
# Debian's and Ubuntu's names; `a|b` means either. Ubuntu has Chromium only as a snap, which is not apt's:
# there it is not asked for, and the suite `browser` says what it lacks. Nothing is asked of the network when nothing is
# missing. RINGLINK_NO_INSTALL=1 installs nothing: it names what lacks, and fails if something does.
# A system without dpkg is told the list and left alone.
set -eu

# purpose, names, reason; the README has a line on each.
list() {
    cat <<'END'
build  make                                  reads the Makefile
build  gcc                                   compiles the C sources
build  libc6-dev                             the C library's headers
build  pkg-config                            finds headers and libraries
build  lua5.4                                the interpreter
build  liblua5.4-dev                         its headers
build  luajit2|luajit                        the interpreter nginx embeds
build  libluajit2-5.1-dev|libluajit-5.1-dev  its headers
build  libcurl4-openssl-dev                  moves the requests
build  libssl-dev                            libcrypto: HMAC, SHA-256, AES-GCM
build  libsqlite3-dev                        keeps the rows of the persistent store
demo   lua-cjson                             reads and writes JSON
demo   lua-argparse                          reads the shell command's arguments
demo   nginx                                 hosts the sandbox and the demo's backend
demo   libnginx-mod-http-lua                 Lua inside nginx
demo   openssl                               makes the throw-away certificates
demo   ca-certificates                       the CAs a real server is checked against
test   curl                                  another client for the sandbox to be strict with
test   lua-busted                            runs the specs
test   tmux                                  a terminal for the shell command to be tried in
test   lua-cqueues                           sockets, for servers that misbehave; an event loop
test   lua-luv                               another event loop: libuv
test   lua-event                             and a third one, the README's example: libevent
test   libcmocka-dev                         runs the C tests
test   clang                                 the second compiler
test   clang-format                          the C sources' format
test   lua-check                             luacheck, for the Lua sources
test   valgrind                              memory errors and leaks
test   binutils                              nm, for the rules about symbols
test   luarocks                              tries the rockspec
test   chromium                              a browser for the pages
test   chromium-driver                       plays the person in front of it
END
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

only_a_snap() {
    case $1 in chromium*) grep -qsx 'ID=ubuntu' /etc/os-release ;; *) false ;; esac
}

# The first of `a|b` that apt can install; the first at all when it knows none.
available() {
    for name in $(echo "$1" | tr '|' ' '); do
        if apt-cache show "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo "${1%%|*}"
}

missing() {
    list | while read -r purpose names _; do
        case " $* " in *" $purpose "*) ;; *) continue ;; esac
        if only_a_snap "$names"; then continue; fi
        for name in $(echo "$names" | tr '|' ' '); do
            if installed "$name"; then continue 2; fi
        done
        echo "$names"
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_all() {
    as_root apt-get update -qq
    names=$(for names; do available "$names"; done)
    # shellcheck disable=SC2086 # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -o Dpkg::Use-Pty=0 --no-install-recommends $names
}

[ "${1:-}" != --list ] || { list; exit; }

if ! command -v dpkg-query >/dev/null; then
    echo "ringlink needs these (Debian's names); this system has no dpkg, so nothing is checked:"
    list
    exit
fi

lacking=$(missing "$@")
[ -n "$lacking" ] || exit 0
echo "ringlink lacks these packages:" $lacking

if [ "${RINGLINK_NO_INSTALL:-}" = 1 ]; then
    echo "RINGLINK_NO_INSTALL=1: nothing is installed" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "to install them: become root, or install sudo" >&2
    exit 1
fi

echo "installing them with apt-get (RINGLINK_NO_INSTALL=1 would only name them)"
case $lacking in *nginx*)
    echo "(Debian starts a web server on port 80 with nginx; ringlink does not need that one:" \
        "systemctl disable --now nginx)" ;;
esac
# shellcheck disable=SC2086 # a list of names
install_all $lacking
