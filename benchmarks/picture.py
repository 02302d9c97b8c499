"""The picture for the README: requests per second of every server, in two panels, as an SVG for light and dark."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from benchmarks.results import Figures, Results

PANELS = {"page": "A page of 50 schedules", "by-id": "One schedule by its id"}
WIDTH, LEFT, RIGHT = 820, 200, 140
BAR, GAP, HEAD, FOOT = 18, 8, 58, 56
STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .note { font-size: 12px; fill: #59636e }
  .bar { fill: #aab4be } .limit { fill: none; stroke: #59636e; stroke-dasharray: 4 3 } .ours { fill: #1f6feb }
  .name-ours { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .note { fill: #9198a1 }
    .bar { fill: #4b535d } .limit { stroke: #9198a1 } .ours { fill: #4493f8 }
  }
"""
NAMES = {"limit": "asyncpg + orjson by hand", "nextfire": "Nextfire"}


def svg(results: Results) -> str:
    """The whole picture."""
    parts: list[str] = []
    y = 8
    for workload, title in PANELS.items():
        figures = results.workloads.get(workload, {})
        parts += _panel(title, figures, y)
        y += HEAD + len(figures) * (BAR + GAP)
    computer, _, programs = results.machine.partition("; ")
    parts.append(_text(16, y + 22, f"{results.date} · {computer}", "note"))
    parts.append(_text(16, y + 40, programs, "note"))
    height = y + FOOT
    label = "Requests per second of Nextfire and of other servers"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _panel(title: str, figures: dict[str, Figures], top: int) -> Iterator[str]:
    yield _text(16, top + 24, title, "title")
    yield _text(16, top + 42, "requests per second, and the part of the limit", "note")
    if not figures:
        return
    most = max(each["per_second"] for each in figures.values())
    limit = figures["limit"]["per_second"]
    in_order = sorted(figures.items(), key=lambda item: -item[1]["per_second"])
    for row, (name, values) in enumerate(in_order):
        y = top + HEAD + row * (BAR + GAP)
        speed = values["per_second"]
        yield from _row(name, speed, speed / limit, (WIDTH - LEFT - RIGHT) * speed / most, y)


def _row(name: str, speed: float, part: float, length: float, y: int) -> Iterator[str]:
    kind = {"nextfire": "ours", "limit": "limit"}.get(name, "bar")
    yield _text(LEFT - 10, y + 14, NAMES.get(name, name), f"name-{kind}", anchor="end")
    yield f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" rx="2"/>'
    yield _text(LEFT + length + 8, y + 14, f"{speed:,.0f} · {part:.2f}", f"name-{kind}")


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'
