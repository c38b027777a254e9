"""Draw docs/figures/programs.svg: a worker program and the components that run it.

python bench/studies/draw_programs.py
"""

from __future__ import annotations

from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "docs" / "figures" / "programs.svg"

# Left, top, width, height, title, lines.
BOXES = (
    (
        20,
        20,
        250,
        170,
        "worker program",
        ("a generator:", "w = yield Pull(clock)", "yield Push(step(w))", "yield Clock()"),
    ),
    (20, 230, 250, 90, "task", ("kernels on its rows (C++),", "state, random numbers, now()")),
    (
        330,
        20,
        220,
        170,
        "ProgramRun",
        ("commands become calls of", "the client, its answers", "those of the program;", "no I/O, no clock"),
    ),
    (
        610,
        20,
        220,
        170,
        "client (C++)",
        ("state machine: requests,", "sequence numbers, resends,", "heartbeats; frames in,", "frames out"),
    ),
    (
        330,
        230,
        500,
        90,
        "driver: moves frames and time",
        ("simulation: virtual time, links as queues, failures", "TCP: sockets, the real clock"),
    ),
    (
        890,
        20,
        220,
        300,
        "server (C++)",
        (
            "state machine: tables and",
            "their rules, the SSP gate,",
            "sessions, membership,",
            "checkpoints",
            "",
            "every method is given",
            "now and returns frames",
        ),
    ),
)
# From, to, label.
ARROWS = (
    ((270, 80), (330, 80), "command"),
    ((330, 140), (270, 140), "answer"),
    ((550, 105), (610, 105), ""),
    ((610, 125), (550, 125), ""),
    ((720, 190), (720, 230), "frames"),
    ((830, 275), (890, 275), "frames"),
    ((145, 190), (145, 230), ""),
    ((440, 230), (440, 190), "now"),
)


def main() -> None:
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1130 340" font-family="sans-serif" font-size="14">',
        '<rect width="1130" height="340" fill="white"/>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#333"/></marker></defs>',
    ]
    for left, top, width, height, title, lines in BOXES:
        parts.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="8" fill="#eef4f8" stroke="#2a6f97"/>'
        )
        parts.append(f'<text x="{left + 12}" y="{top + 24}" font-weight="bold">{title}</text>')
        mono = ' font-family="monospace"' if title == "worker program" else ""
        parts += [
            f'<text x="{left + 12}" y="{top + 50 + 22 * index}"{mono}>{line}</text>' for index, line in enumerate(lines)
        ]
    for (x, y), (to_x, to_y), label in ARROWS:
        parts.append(
            f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="#333" stroke-width="1.5" marker-end="url(#tip)"/>'
        )
        if label:
            across = y == to_y
            place = ((x + to_x) / 2, y - 6) if across else (x + 8, (y + to_y) / 2 + 5)
            anchor = "middle" if across else "start"
            parts.append(
                f'<text x="{place[0]:g}" y="{place[1]:g}" font-size="11" text-anchor="{anchor}">{label}</text>'
            )
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
