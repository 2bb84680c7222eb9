"""The tree keeps to its design: includes go down the floors, files and functions stay small."""

import re
import subprocess

import pytest

from dld import DLCTL, DLD, WORKER
from support import ROOT

FOLDERS = ("common", "daemon", "client", "tests")
SOURCES = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.[ch]"))]
PROGRAMS = [p for p in SOURCES if p.relative_to(ROOT).parts[0] != "tests"]

MAX_FILE = 600
MAX_FUNCTION = 80
FORBIDDEN_HEADERS = {"common": ("sqlite3.h", "curl/", "jansson.h"), "daemon": ("curl/",),
                     "daemon/worker": ("sqlite3.h", "jansson.h"), "client": ("sqlite3.h", "curl/")}


def floor(path):
    """The folder of a source file, as "daemon/worker"."""
    return str(path.relative_to(ROOT).parent)


def includes(path, quotes):
    pattern = r'^\s*#\s*include\s*"([^"]+)"' if quotes == '"' else r"^\s*#\s*include\s*<([^>]+)>"
    return re.findall(pattern, path.read_text(), re.M)


def included_floors(path):
    """The folders of the project's own headers that a file includes."""
    for name in includes(path, '"'):
        beside = path.parent / name
        header = beside if beside.exists() else ROOT / name
        assert header.exists(), f"{path}: {name} is not there"
        yield floor(header.resolve())


def test_there_is_something_to_look_at():
    assert len(PROGRAMS) > 30


@pytest.mark.parametrize("folder, may", [
    ("common", {"common"}),
    ("daemon", {"common", "daemon"}),
    ("daemon/worker", {"common", "daemon/worker"}),
    ("client", {"common", "client"}),
])
def test_includes_go_down_the_floors(folder, may):
    wrong = [f"{p.relative_to(ROOT)} includes {f}" for p in PROGRAMS if floor(p) == folder
             for f in included_floors(p) if f not in may]
    assert wrong == []


@pytest.mark.parametrize("folder", sorted(FORBIDDEN_HEADERS))
def test_libraries_stay_where_they_belong(folder):
    wrong = [f"{p.relative_to(ROOT)} includes <{h}>" for p in PROGRAMS if floor(p) == folder
             for h in includes(p, "<") if h.startswith(FORBIDDEN_HEADERS[folder])]
    assert wrong == []


def libraries(program):
    out = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
    found = set(re.findall(r"\(NEEDED\).*\[(lib[a-z0-9_]+)", out))
    assert "libc" in found
    return found


@pytest.mark.parametrize("program, forbidden", [
    (DLD, {"libcurl"}),
    (WORKER, {"libsqlite3", "libjansson"}),
    (DLCTL, {"libcurl", "libsqlite3", "libsystemd"}),
], ids=["dld", "dld-worker", "dlctl"])
def test_programs_link_only_what_they_may(program, forbidden):
    assert libraries(program) & forbidden == set()


def test_each_source_includes_its_own_header_first():
    wrong = []
    for path in PROGRAMS:
        header = path.with_suffix(".h")
        if path.suffix == ".c" and header.exists() and includes(path, '"')[:1] != [str(header.relative_to(ROOT))]:
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_files_stay_small():
    sources = SOURCES + sorted((ROOT / "tests").rglob("*.py"))
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in sources}
    assert {p: n for p, n in lengths.items() if n > MAX_FILE} == {}


def blank_out(text):
    """C without comments, strings and continued macros, each line where it was."""
    def keep_lines(match):
        return "\n" * match.group().count("\n")
    comment = r"/\*.*?\*/|//[^\n]*"
    string = r'''"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*\''''
    macro = r"^[ \t]*#(?:[^\n\\]|\\.)*"
    token = f"{comment}|{string}|{macro}"
    return re.sub(token, keep_lines, text, flags=re.S | re.M)


def functions(path):
    """(line, lines) of each function: a brace at the outermost level that follows a ')'."""
    lines = blank_out(path.read_text()).splitlines()
    depth, start, last = 0, None, ""
    for number, line in enumerate(lines, 1):
        for character in line:
            if character == "{":
                if depth == 0:
                    start = number if last == ")" else None
                depth += 1
            elif character == "}":
                depth -= 1
                if depth == 0 and start:
                    yield start, number - start + 1
            if not character.isspace():
                last = character


def test_functions_stay_short():
    found = [(p, line, n) for p in SOURCES if p.suffix == ".c" for line, n in functions(p)]
    assert len(found) > 100
    assert [f"{p.relative_to(ROOT)}:{line}: {n} lines" for p, line, n in found if n > MAX_FUNCTION] == []


def test_scanner_of_functions(tmp):
    source = tmp / "a.c"
    source.write_text("int a(void) {\n    char c = '{'; /* { */\n    return \"{\"[0];\n}\nstruct s {\n    int x;\n};\n"
                      "#define M(x) \\\n    ({ x })\nstatic int b(int x)\n{\n}\n")
    assert list(functions(source)) == [(1, 4), (11, 2)]
