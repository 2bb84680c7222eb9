#!/bin/bash
# boot.sh INSTALLED DIR - boots a systemd of its own until standard input ends.
#
# INSTALLED, what `make install DESTDIR=INSTALLED` made, is laid over a copy of this machine's root, which is
# kept in memory and mounted at DIR, an empty directory. The systemd is PID 1 of namespaces of its own, has no
# network but the loopback interface, and runs none of the units that this machine has enabled. When standard
# input ends, be it that the caller has died, all of it goes without a trace.
#
# Prints one line, and goes on: the id of that PID 1 as it is seen from outside, for nsenter(1); or "needs
# ...", what this machine lacks for it. Other trouble is told on standard error.
set -eu

needs() {
    echo "needs $*"
    exit 0
}

# ---- outside ----

run_outside() {
    local installed=$1 dir=$2
    [ "$(id -u)" -eq 0 ] || needs "root"
    [ -x /lib/systemd/systemd ] || needs "systemd"
    for tool in unshare nsenter setpriv pivot_root; do
        command -v $tool >/dev/null || needs "the program $tool"
    done
    unshare "${namespaces[@]}" true 2>/dev/null || needs "the right to make namespaces"
    cgroup=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$cgroup" ] || needs "a mounted cgroup2"
    # One of its own, or it would take this machine's for its own.
    cgroup=$cgroup/dld-test-$$
    mkdir "$cgroup" 2>/dev/null || needs "a cgroup2 that can be written to"
    trap remove EXIT
    trap 'exit 1' HUP INT TERM

    (
        echo $BASHPID >"$cgroup/cgroup.procs"
        exec unshare "${namespaces[@]}" "$0" --inside "$installed" "$dir" </dev/null
    ) &
    exec >&-
    read -r _ || true
}

# The cgroup with all that is in it. The kernel takes a moment to let go of processes that were killed.
remove() {
    echo 1 >"$cgroup/cgroup.kill" || kill -KILL $!
    wait $! 2>/dev/null || true
    for _ in {1..250}; do
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [ -d "$cgroup" ] || return 0
        sleep 0.02
    done
    echo "boot.sh: $cgroup can't be removed" >&2
}

# ---- inside, as PID 1 ----

run_inside() {
    local installed=$1 dir=$2 root=$2/root pid units
    read -r pid _ </proc/self/stat # /proc is the outer one still
    mount -t tmpfs -o mode=755 tmpfs "$dir"
    mkdir "$dir"/{root,changes,work}
    mount -t overlay -o "lowerdir=/,upperdir=$dir/changes,workdir=$dir/work" overlay "$root" || needs "overlayfs"
    mount_kernel "$root"
    cp -r "$installed/." "$root"

    # Nothing starts by itself but what is named here.
    units=$root/etc/systemd/system
    rm -rf "$units" "$root"/lib/systemd/{system/*.wants,system-generators}
    mkdir "$units"
    printf '[Unit]\nRequires=basic.target systemd-journald.service systemd-journald-dev-log.socket\n' \
        >"$units/boot.target"
    ln -s /dev/null "$units/systemd-journald-audit.socket" # the kernel has but one
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"

    mkdir -p "$root/mnt"
    cd "$root"
    pivot_root . mnt
    echo "$pid"
    exec >&2
    umount -l /mnt
    mount --make-rshared / # as systemd makes it where it is not in a container: units get what it mounts
    exec env -i container=dld-test PATH="$PATH" LANG=C.UTF-8 /lib/systemd/systemd --unit=boot.target \
        --log-target=journal --show-status=no
}

# What systemd would else mount so that it could change this machine's settings.
mount_kernel() {
    mount -t proc -o nosuid,nodev,noexec proc "$1/proc"
    mount --bind "$1/proc/sys" "$1/proc/sys"
    mount -o remount,bind,ro "$1/proc/sys"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$1/sys"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$1/sys/fs/cgroup"
    mount -t tmpfs -o mode=755,nosuid tmpfs "$1/dev"
    cp -a /dev/{null,zero,full,random,urandom,tty} "$1/dev"
    ln -s pts/ptmx "$1/dev/ptmx"
    ln -s /proc/self/fd "$1/dev/fd"
}

namespaces=(--fork --kill-child --pid --mount --uts --ipc --net --cgroup --propagation private)

if [ "$1" = --inside ]; then
    run_inside "$2" "$3"
else
    run_outside "$1" "$2"
fi
