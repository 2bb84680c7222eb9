"""What a power cut would leave: file systems put together again from a trace of system calls.

A write, a new name or a removed one is certain to be on the disk once the file or the directory was synced after
it; until then it may be there or not. trace_of() reads what strace wrote, Disk plays it up to an instant and writes
down what there could be then.
"""

import codecs
import ctypes
import os
import re
from pathlib import PurePosixPath

CALLS = ("openat,openat2,mkdirat,mkdir,write,writev,pwrite64,pwritev,fsync,fdatasync,syncfs,renameat2,renameat,rename,linkat,"
         "link,unlinkat,unlink,rmdir,ftruncate,truncate,fallocate,copy_file_range,lseek,fsetxattr,statx,sendmsg,sendto")
STRACE = ["strace", "--seccomp-bpf", "-f", "-y", "-v", "-ttt", "-s", "131072", "-e", "signal=none",
          "-e", f"trace={CALLS}"]

# What may come of data that was not synced: nothing, a length without content, all of it; or all of what is beneath
# the first of the tops and nothing of the others, or the other way round.
DATA = ("none", "zeros", "all", "first", "others")
NAMES = ("none", "all")


class Call:
    """A system call. Instants are numbers of lines: it began at `start` and was over at `end`."""

    def __init__(self, pid, name, args, result, start, end):
        self.pid, self.name, self.args, self.result, self.start, self.end = pid, name, args, result, start, end

    @property
    def ok(self):
        return self.result >= 0

    def strings(self):
        """The string arguments, as bytes."""
        return [codecs.escape_decode(s.encode("latin-1"))[0] for s in re.findall(r'"((?:[^"\\]|\\.)*)"', self.args)]

    def paths(self):
        """What descriptors among the arguments lead to, in order."""
        return re.findall(r"(?:^|, )(?:\d+|AT_FDCWD)<((?:[^>\\]|\\.)*)>", self.args)

    def numbers(self):
        """Numbers at the end of the arguments."""
        return [int(n) for n in re.findall(r", (\d+)", self.args)]

    def __repr__(self):
        return f"{self.start}-{self.end} {self.pid} {self.name}({self.args[:200]}) = {self.result}"


LINE = re.compile(r"^(\d+) +[\d.]+ (.*)$")
WHOLE = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?)", re.S)
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.S)


def trace_of(path):
    """The calls in order of their beginning."""
    calls, open_calls = [], {}
    for at, line in enumerate(path.read_text(encoding="latin-1").splitlines()):
        match = LINE.match(line)
        assert match, f"strace wrote {line!r}"
        pid, rest = int(match[1]), match[2]
        if rest.endswith("<unfinished ...>"):
            open_calls[pid] = (at, rest[:-len("<unfinished ...>")].rstrip())
            continue
        start = at
        if match := RESUMED.match(rest):
            start, begun = open_calls.pop(pid)
            rest = begun + match[2]
        if match := WHOLE.match(rest):
            result = -1 if match[3] == "?" else int(match[3])
            calls.append(Call(pid, match[1], match[2], result, start, at))
    for pid, (start, begun) in open_calls.items():  # the process was killed in it
        name, args = begun.split("(", 1)
        calls.append(Call(pid, name, args, 0, start, 1 << 60))
    return sorted(calls, key=lambda c: c.start)


# ---- marks of part files, as dld-worker makes them ----

SPREAD = 0x9e3779b97f4a7c15


def mark(ino, seconds, nanoseconds):
    value = (((ino * SPREAD) ^ seconds) * SPREAD ^ nanoseconds) % (1 << 64)
    return value - (1 << 64) if value >> 63 else value


def mark_of(path):
    buffer = ctypes.create_string_buffer(256)
    assert ctypes.CDLL(None).statx(-100, os.fsencode(path), 0, 0x900, buffer) == 0
    number = lambda at, size: int.from_bytes(buffer.raw[at:at + size], "little")
    return mark(number(32, 8), number(80, 8), number(88, 4))


class Inode:
    def __init__(self, content=b""):
        self.before = content  # there from the start
        self.changes = []  # (call, kind, offset or size, data)
        self.syncs = []  # calls
        self.position = 0
        self.mark = None

    def certain(self, call, instant):
        """Whether the change is on the disk at that instant."""
        return any(s.start >= call.end and s.end < instant for s in self.syncs)

    def content(self, instant, data, xattrs=None):
        image = bytearray(self.before)
        for call, kind, at, what in self.changes:
            if call.start >= instant:
                break
            sure = self.certain(call, instant)
            if not sure and data == "none":
                continue
            if kind == "xattr":
                if xattrs is not None and (sure or data == "all"):
                    xattrs[at] = what
            elif kind == "truncate":
                del image[at:]
                image.extend(bytes(at - len(image)))
            else:
                image.extend(bytes(max(0, at + len(what) - len(image))))
                if sure or data == "all":
                    image[at:at + len(what)] = what
        return bytes(image)

    def signature(self, instant, data):
        """The same for instants at which the same would be found."""
        issued = [c for c, *_ in self.changes if c.start < instant]
        return (id(self), data != "none" and len(issued), tuple(self.certain(c, instant) for c in issued))

    def written_to(self):
        return max((c.end for c, kind, _, _ in self.changes if kind == "write"), default=-1)


class Disk:
    """The files beneath `tops`, which exist from the start with the content given.

    bodies(path) gives what is written to a file of which strace does not show all: longer writes than it prints.
    """

    def __init__(self, calls, tops, before, bodies):
        self.tops, self.bodies = [str(t) for t in tops], bodies
        self.names = []  # (call, directory, name, inode or None for what is not there any more)
        self.directories = {}  # path: Inode, whose syncs are those of the directory
        self.inodes = {}  # by path, as the processes see it
        self.before = {}
        for path, content in before.items():
            self.before[str(path)] = self.inodes[str(path)] = Inode(content)
        self.made = []  # directories: (call, path)
        for call in calls:
            if call.ok:
                self._play(call)

    # ---- from the trace ----

    def _ours(self, path):
        return any(path == t or path.startswith(t + "/") for t in self.tops)

    def _directory(self, path):
        return self.directories.setdefault(path, Inode())

    def _name(self, call, path, inode):
        path = PurePosixPath(path)
        self.names.append((call, str(path.parent), path.name, inode))

    def _path(self, base, name):
        name = os.fsdecode(name)
        return name if name.startswith("/") else os.path.normpath(f"{base}/{name}")

    def _two_paths(self, call):
        bases, names = call.paths(), call.strings()
        return (self._path(bases[i] if i < len(bases) else "/", names[i]) for i in (0, 1))

    def _play(self, call):
        names = call.strings() if call.name not in ("write", "pwrite64", "sendto", "sendmsg") else []
        paths = call.paths()
        fd = paths[0] if paths else ""
        if call.name in ("openat", "openat2", "mkdirat", "unlinkat"):
            path = self._path(fd, names[0]) if names else ""
        elif call.name in ("mkdir", "unlink", "rmdir", "rename", "link", "truncate"):
            path = self._path("/", names[0])
        else:
            path = fd
        if not self._ours(path) or ">(deleted)" in call.args.split(",", 1)[0]:
            return
        getattr(self, f"_{call.name}")(call, path)

    def _openat(self, call, path):
        if "O_CREAT" in call.args and path not in self.inodes:
            self.inodes[path] = Inode()
            self._name(call, path, self.inodes[path])
        elif path in self.inodes:
            self.inodes[path].position = 0
        assert "O_TRUNC" not in call.args, call

    _openat2 = _openat

    def _mkdir(self, call, path):
        self.made.append((call, path))

    _mkdirat = _mkdir

    def _file(self, path):
        return self.inodes.get(path)

    def _write_at(self, call, path, at):
        inode, size = self._file(path), call.result
        shown = call.strings()[0]
        if size > len(shown):
            data = self.bodies(path)[at:at + size]
            assert data.startswith(shown) and len(data) == size, f"other bytes than expected: {call}"
        else:
            data = shown
        assert len(data) == size, call
        inode.changes.append((call, "write", at, data))

    def _write(self, call, path):
        inode = self._file(path)
        self._write_at(call, path, inode.position)
        inode.position += call.result

    def _pwrite64(self, call, path):
        self._write_at(call, path, call.numbers()[-1])

    def _lseek(self, call, path):
        if path in self.inodes:
            self.inodes[path].position = call.result

    def _ftruncate(self, call, path):
        self._file(path).changes.append((call, "truncate", call.numbers()[-1], None))

    def _fsetxattr(self, call, path):
        name, value = call.strings()
        self._file(path).changes.append((call, "xattr", os.fsdecode(name), value))

    def _statx(self, call, path):
        ino = re.search(r"stx_ino=(\d+)", call.args)
        born = re.search(r"stx_btime=\{tv_sec=(\d+), tv_nsec=(\d+)", call.args)
        if path in self.inodes and ino and born:
            self.inodes[path].mark = mark(int(ino[1]), int(born[1]), int(born[2]))

    def _fsync(self, call, path):
        (self.inodes.get(path) or self._directory(path)).syncs.append(call)

    _fdatasync = _fsync

    def _syncfs(self, call, path):
        """All of the tops are on one file system."""
        for inode in (*self.inodes.values(), *self.directories.values(), self._directory(path)):
            inode.syncs.append(call)

    def _renameat2(self, call, _):
        old, new = self._two_paths(call)
        inode = self.inodes.pop(old)
        self.inodes[new] = inode
        self._name(call, new, inode)
        self._name(call, old, None)

    _renameat = _rename = _renameat2

    def _linkat(self, call, _):
        old, new = self._two_paths(call)
        self.inodes[new] = self.inodes[old]
        self._name(call, new, self.inodes[old])

    _link = _linkat

    def _unlinkat(self, call, path):
        if self.inodes.pop(path, None):
            self._name(call, path, None)

    _unlink = _unlinkat

    # ---- an instant ----

    def has_directory(self, path, instant, names):
        """Whether the directory is there after a cut at that instant."""
        if path in self.tops:
            return True
        above = str(PurePosixPath(path).parent)
        made = [c for c, p in self.made if p == path and c.start < instant]
        there = any(names == "all" or self._directory(above).certain(c, instant) for c in made)
        return there and self.has_directory(above, instant, names)

    def entries(self, instant, names):
        """{path: inode} after a cut at that instant."""
        found = dict(self.before)
        for call, directory, name, inode in self.names:
            if call.start >= instant:
                break
            if names == "all" or self._directory(directory).certain(call, instant):
                path = f"{directory}/{name}"
                found.pop(path, None)
                if inode:
                    found[path] = inode
        return {p: i for p, i in found.items() if self.has_directory(str(PurePosixPath(p).parent), instant, names)}

    def signature(self, instant, data, names):
        """The same for instants at which the same would be found."""
        entries = self.entries(instant, names)
        luck = lambda path: self.luck(path, data)
        made = tuple(p for _, p in self.made if self.has_directory(p, instant, names))
        return made, tuple((p, luck(p), entries[p].signature(instant, luck(p))) for p in sorted(entries))

    def luck(self, path, data):
        """What comes of the data of that file: none, zeros or all."""
        if data not in ("first", "others"):
            return data
        return "all" if path.startswith(self.tops[0] + "/") == (data == "first") else "none"

    def write(self, instant, data, names, place):
        """Writes it down, with place(path) instead of path. Returns {new path: inode}."""
        written = {}
        for call, path in self.made:
            if self.has_directory(path, instant, names):
                os.makedirs(place(path), exist_ok=True)
        for path, inode in self.entries(instant, names).items():
            xattrs, target = {}, place(path)
            target.write_bytes(inode.content(instant, self.luck(path, data), xattrs))
            for name, value in xattrs.items():
                os.setxattr(target, name, value)
            written[str(target)] = inode
        return written
