"""Small line charts as SVG, with logarithmic axes; the numbers are kept beside them as CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 360, 70, 50, 40, 190
_COLOURS = ("#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72")

Points = Sequence[tuple[float, float]]


def save(folder: Path, name: str, title: str, x: str, y: str, lines: Mapping[str, Points]) -> None:
    """Writes `name.csv` and `name.svg`."""
    folder.mkdir(exist_ok=True)
    rows = [f"{line},{a:g},{b:.6g}" for line, points in lines.items() for a, b in points]
    (folder / f"{name}.csv").write_text("\n".join([f"line,{x},{y}", *rows, ""]))
    (folder / f"{name}.svg").write_text(drawing(title, x, y, lines))


def drawing(title: str, x: str, y: str, lines: Mapping[str, Points]) -> str:
    """The chart; every value must be above zero."""
    points = [point for line in lines.values() for point in line]
    across = _Axis([a for a, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis([b for _, b in points], _HEIGHT - _BOTTOM, _TOP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 22, title, "start", "font-weight='bold'"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, x, "middle"),
        _text(_LEFT, 36, y, "start", "fill='#666'"),
    ]
    for value in across.marks():
        place = across.place(value)
        out.append(f'<path d="M{place:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#ddd"/>')
        out.append(_text(place, _HEIGHT - _BOTTOM + 18, f"{value:,.10g}", "middle"))
    for value in up.marks():
        place = up.place(value)
        out.append(f'<path d="M{_LEFT} {place:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        out.append(_text(_LEFT - 6, place + 4, f"{value:,.10g}", "end"))
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        path = " ".join(f"{across.place(a):.1f},{up.place(b):.1f}" for a, b in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{across.place(a):.1f}" cy="{up.place(b):.1f}" r="3" fill="{colour}"/>' for a, b in line]
        out.append(_text(_WIDTH - _RIGHT + 10, up.place(line[-1][1]) + 4, name, "start", f"fill='{colour}'"))
    return "\n".join([*out, "</svg>", ""])


class _Axis:
    """From the power of ten below the smallest value to a little above the largest."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.log10(max(values)) + 0.05, self.low + 1)
        self.start, self.stop = start, stop

    def place(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.stop - self.start)

    def marks(self) -> list[float]:
        return [10.0**power for power in range(self.low, math.floor(self.high) + 1)]


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{text}</text>'
