"""Draws the wall times as a bar chart in SVG: one group per job, one bar per program, one scale for all."""

from html import escape

from jobs import MAIN

WIDTH, LEFT, RIGHT = 760, 210, 120
BAR, GAP, GROUP_GAP, TOP = 16, 4, 18, 84

# The card has its own background: GitHub's theme may differ from the system's, and text must stay readable then.
STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f; }
.title { font-size: 16px; font-weight: 600; }
.note { fill: #57606a; font-size: 12px; }
.card { fill: #ffffff; stroke: #d0d7de; }
.axis { stroke: #d0d7de; }
.cairn { fill: #1f7a4d; } .casync { fill: #8c959f; } .desync { fill: #b58a3c; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9198a1; }
  .card { fill: #0d1117; stroke: #30363d; }
  .axis { stroke: #30363d; }
  .cairn { fill: #3fb97a; } .casync { fill: #6e7681; } .desync { fill: #c69a4a; }
}"""


def svg(results, title):
    titles = [job for job in MAIN if job in results.samples]
    names = list(results.stores)
    scale = (WIDTH - LEFT - RIGHT) / max(results.wall(job, name) for job in titles for name in results.samples[job])
    parts, y = [*heading(title), *legend(names)], TOP
    for job in titles:
        height = len(results.samples[job]) * (BAR + GAP) - GAP
        parts.append(f'<text x="{LEFT - 10}" y="{y + height / 2 + 4.5}" text-anchor="end">{escape(job)}</text>')
        for name in results.samples[job]:
            parts += bar(results, job, name, y, scale)
            y += BAR + GAP
        y += GROUP_GAP - GAP
    axis = f'<line class="axis" x1="{LEFT}" y1="{TOP - 6}" x2="{LEFT}" y2="{y - GROUP_GAP + 6}"/>'
    card = f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{y - 1}" rx="8"/>'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" role="img" '
        f'aria-label="{escape(summary(results, titles))}">',
        f"<style>\n{STYLE}\n</style>", card, *parts, axis, "</svg>"]) + "\n"


def heading(title):
    return ['<text class="title" x="20" y="30">Seconds per job, shorter is better</text>',
            f'<text class="note" x="20" y="52">{escape(title)}, all in memory; in brackets: times cairn\'s</text>']


def legend(names):
    x, parts = WIDTH - 20 - 80 * len(names), []
    for name in names:
        parts.append(f'<rect class="{name}" x="{x}" y="19" width="12" height="12" rx="2"/>')
        parts.append(f'<text x="{x + 18}" y="30">{name}</text>')
        x += 80
    return parts


def bar(results, job, name, y, scale):
    seconds = results.wall(job, name)
    # A bar thinner than two pixels would look like none at all.
    width = max(2, seconds * scale)
    label = f"{seconds:.2f} s" + ("" if name == "cairn" else f" ({results.ratio(job, name):.1f}×)")
    return [f'<rect class="{name}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 12.5}">{label}</text>']


def summary(results, titles):
    """The chart in words, for those who cannot see it."""
    return "; ".join(f"{job}: " + ", ".join(f"{name} {results.wall(job, name):.2f} s" for name in results.samples[job])
                     for job in titles)
