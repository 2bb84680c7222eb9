"""The medians as bars: one group for each kind of work, a bar for each program, longer is faster."""

from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 860, 250, 70
BAR, GAP, TITLE = 16, 4, 34
OURS, OTHERS = "#2a6fbb", "#a9b4bf"


def bars_of(title, seconds, y):
    """The group as SVG, and where it ends. Lengths are relative to its fastest."""
    best = min(seconds.values())
    out = [f'<text x="8" y="{y + 20}" class="title">{escape(title)}</text>']
    y += TITLE
    for program, s in seconds.items():
        length = (WIDTH - LEFT - RIGHT) * best / s
        colour = OURS if program.name.startswith("dld") else OTHERS
        out.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(program.name)}</text>')
        out.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
        out.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 12}">{s:.2f} s</text>')
        y += BAR + GAP
    return "\n".join(out), y


def write_chart(groups, path):
    """groups: [(title, {program: median seconds})]."""
    y, parts = 4, []
    for title, seconds in groups:
        text, y = bars_of(title, seconds, y)
        parts.append(text)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 8}">\n'
        "<style>text { font: 12px sans-serif; fill: #222 } .title { font-weight: bold }</style>\n"
        '<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n")
