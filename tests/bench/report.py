"""The table that the benchmark prints, which is Markdown too."""

import os
import platform
import re
import statistics
import subprocess

from chart import write_chart

COLUMNS = ["program", "files/s", "vs best", "vs aria2c", "wall s", "range", "CPU s", "us/file", "CPU vs curl", "MiB"]
PARTS = ("master", "workers", "client")


def median_of(samples, get):
    return statistics.median(get(s) for s in samples)


def cpu_of(samples):
    return median_of(samples, lambda s: sum(s.cpu.values()))


def row_of(program, samples, count, best, aria2, curl):
    walls = [s.seconds for s in samples]
    seconds = statistics.median(walls)
    cpu = cpu_of(samples)
    return [
        program.name,
        f"{count / seconds:,.0f}",
        f"{best / seconds:.2f}",
        f"{aria2 / seconds:.2f}" if aria2 else "",
        f"{seconds:.2f}",
        f"{min(walls):.2f}-{max(walls):.2f}",
        f"{cpu:.2f}{parts_of(samples)}",
        f"{cpu / count * 1e6:.0f}",
        f"{cpu / curl:.2f}" if curl else "",
        f"{median_of(samples, lambda s: sum(s.memory.values())):.0f}",
    ]


def parts_of(samples):
    """" (0.20+0.55+0.16)": CPU seconds of master, workers and client, where there is more than the client."""
    if len(samples[0].cpu) == 1:
        return ""
    return " (" + "+".join(f"{median_of(samples, lambda s, p=p: s.cpu[p]):.2f}" for p in PARTS) + ")"


def table_of(count, samples):
    """The rows of one workload as Markdown."""
    medians = {program: median_of(s, lambda x: x.seconds) for program, s in samples.items()}
    best = min(seconds for program, seconds in medians.items() if program.peer)
    aria2 = next((s for program, s in medians.items() if program.name.startswith("aria2c")), None)
    curl = next((cpu_of(s) for program, s in samples.items() if program.name.endswith("--parallel-max 16")), None)
    rows = [COLUMNS] + [row_of(program, s, count, best, aria2, curl) for program, s in samples.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["| " + " | ".join(align(row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def align(row, widths):
    return [cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]


def version_of(program):
    said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"\d+(\.\d+)+", said)
    return f"{program} {found.group()}" if found else program


def machine():
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    versions = ", ".join(version_of(p) for p in ("curl", "wget2", "aria2c"))
    return f"{len(os.sched_getaffinity(0))} cores ({model}), Linux {platform.release()}; {versions}."


def write_report(results, idle, path):
    """results: [(title, number of files, {program: samples})]; idle: a sentence. Returns the text that
    went to path; the chart is beside it."""
    tables = [f"### {title}\n\n{table_of(count, samples)}\n" for title, count, samples in results]
    text = "\n".join(tables) + f"\n{idle}\n\n{machine()}\n"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    write_chart([(title, {p: median_of(s, lambda x: x.seconds) for p, s in samples.items()})
                 for title, _, samples in results], path.with_suffix(".svg"))
    return text
