"""Samples over time as lines of blocks in a terminal, and as an SVG."""

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 72
COLOURS = ("#3b6ea8", "#c0504d", "#4f8f4f", "#8064a2")


def columns(values, width=WIDTH):
    """The largest of each of so many stretches."""
    n = min(width, len(values))
    return [max(values[i * len(values) // n:(i + 1) * len(values) // n]) for i in range(n)]


def text(name, values, unit=""):
    most = max(values) or 1
    line = "".join(BLOCKS[round(v / most * (len(BLOCKS) - 1))] for v in columns(values))
    return f"{name:>22} |{line}| {values[0]:.0f} at first, {max(values):.0f} at most, {values[-1]:.0f} at last {unit}"


def svg(path, title, series, seconds):
    """series: {name: values}; each is drawn against its own largest value."""
    width, height, left = 900, 130, 10
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 20}" height="{len(series) * height + 40}" '
             f'font-family="sans-serif" font-size="12"><text x="{left}" y="18" font-size="15">{title}</text>']
    for i, (name, values) in enumerate(series.items()):
        top, most = 30 + i * height, max(values) or 1
        points = " ".join(f"{left + k * width / max(len(values) - 1, 1):.1f},{top + 100 - v / most * 80:.1f}"
                          for k, v in enumerate(values))
        parts.append(f'<text x="{left}" y="{top + 14}">{name}: at most {max(values):.0f}</text>'
                     f'<line x1="{left}" y1="{top + 100}" x2="{left + width}" y2="{top + 100}" stroke="#999"/>'
                     f'<polyline points="{points}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}"/>'
                     f'<text x="{left + width - 60}" y="{top + 114}">{seconds:.0f} s</text>')
    path.write_text("".join(parts) + "</svg>\n")
