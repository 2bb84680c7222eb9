#!/bin/sh
# setup.sh PURPOSE - installs the Debian packages that PURPOSE needs and that are missing.
#
# PURPOSE is build, check, lint, demo or bench. When nothing is missing it asks neither the network nor for
# root. What it installs brings servers along (nginx, Apache, vsftpd, sshd): they are kept from starting.
set -eu

# ---- what needs what: Debian 12's package names ----

packages() {
    case $1 in
    build)
        echo gcc libc6-dev make pkg-config libcurl4-openssl-dev libssl-dev zlib1g-dev libjansson-dev \
            libsystemd-dev \
            libsqlite3-dev libinih-dev uthash-dev
        ;;
    check) # compilers, unit tests, system tests, servers, systemd-analyze, readelf, ps
        packages build
        echo clang libclang-rt-14-dev libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-h2 \
            nginx-light libnginx-mod-http-echo apache2-bin systemd dbus binutils openssl util-linux \
            strace dosfstools vsftpd openssh-server openssh-sftp-server openssh-client cppcheck valgrind
        ;;
    lint)
        packages build
        echo cppcheck clang-tidy libcmocka-dev
        ;;
    demo) # lomiri-wallpapers-16.04: 15 photographs, 16 MB
        packages build
        echo python3 nginx-light libnginx-mod-http-echo lomiri-wallpapers-16.04
        ;;
    bench)
        packages build
        echo python3 nginx-light libnginx-mod-http-echo openssl curl wget2 aria2
        ;;
    *)
        echo "usage: tests/setup.sh build|check|lint|demo|bench" >&2
        exit 2
        ;;
    esac
}

policy=/usr/sbin/policy-rc.d
saved=$policy.saved-by-dld
lock=/run/lock/dld-setup

die() {
    echo "tests/setup.sh: $*" >&2
    exit 1
}

# Prints those of its arguments that are not installed.
missing_of() {
    for package; do
        case " $(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null || :)" in
        *' installed '*) ;;
        *) echo "$package" ;;
        esac
    done
}

# While apt runs, policy-rc.d tells package scripts to start nothing. One that was there (containers have
# one) is put back, also by the next run if this one was killed.
policy_restore() {
    if [ -e "$saved" ]; then
        mv -f "$saved" "$policy"
    elif grep -qs 'by dld tests/setup.sh' "$policy"; then
        rm -f "$policy"
    fi
}

policy_deny() {
    policy_restore
    trap policy_restore EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    [ ! -e "$policy" ] || mv "$policy" "$saved"
    printf '#!/bin/sh\n# by dld tests/setup.sh, for as long as it runs: start no service\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@"
}

[ $# -eq 1 ] || packages ''
purpose=$1
wanted=$(packages "$purpose") || exit
for tool in dpkg-query apt-get; do
    command -v $tool >/dev/null ||
        die "this is not Debian (no $tool); install by hand what Debian calls:" $wanted
done

missing=$(missing_of $wanted)
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        die "these packages are missing, and there is no sudo; as root, run: apt-get install" $missing
    echo "To install as root:" $missing
    exec sudo -- /bin/sh "$0" "$purpose"
fi

exec 9>"$lock"
flock 9
echo "Installing:" $missing
policy_deny
apt update -o APT::Update::Error-Mode=any || die "apt-get update failed; is there a network? Still missing:" $missing
apt install -y --no-install-recommends $missing ||
    die "apt-get could not install all of:" $missing "(the names are those of Debian 12)"
for service in nginx vsftpd openssh-server; do
    case " $missing " in
    *" $service"*)
        unit=${service#open}
        echo "$service is installed and not started; 'systemctl disable ${unit%-server}' keeps it so at the next boot."
        ;;
    esac
done
