"""Draws the dashboards from a Prometheus: python deploy/grafana/render --prometheus http://127.0.0.1:9090"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from deploy.grafana.render.answers import Prometheus, gather, seconds
from deploy.grafana.render.board import read_board
from deploy.grafana.render.picture import picture
from model.errors import NextclickError

FOLDER = Path(__file__).parents[1] / "dashboards"
WALL, PHONE, LEAST = 1920, 360, 240


def main(arguments: list[str] | None = None) -> int:
    """Write NAME-WIDTH.png of each board; say what is empty. Returns 2 when Prometheus does not answer."""
    parser = argparse.ArgumentParser(
        prog="python deploy/grafana/render",
        description="Draw the dashboards as Grafana would, from a Prometheus' answers, to NAME-WIDTH.png. "
        "Titles and numbers that do not fit are named, and panels without data with their reason.",
    )
    parser.add_argument(
        "boards", nargs="*", default=[], help="overview, quality, store, retraining (default: all)"
    )
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="its address")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the pictures go")
    parser.add_argument("--width", type=int, action="append", help=f"in pixels (default: {WALL} and {PHONE})")
    parser.add_argument("--span", help="how long before the end, such as 15m (default: each board's own)")
    parser.add_argument("--end", type=float, help="in seconds since 1970 (default: now)")
    parser.add_argument("--scrape-s", type=float, default=15.0, help="as Prometheus scrapes")
    asked = parser.parse_args(arguments)
    widths = asked.width or [WALL, PHONE]
    if min(widths) < LEAST:
        parser.error(f"--width {min(widths)}: below {LEAST} pixels nothing can be read")
    try:
        asked.folder.mkdir(parents=True, exist_ok=True)
        paths = [FOLDER / f"{name}.json" for name in asked.boards] or sorted(FOLDER.glob("*.json"))
        missing = [path.stem for path in paths if not path.is_file()]
        if missing:
            parser.error(f"there is no dashboard {', '.join(missing)} in {FOLDER}")
        for path in paths:
            board = read_board(path)
            answers = gather(
                board,
                Prometheus(asked.prometheus),
                end_s=asked.end or time.time(),
                span_s=seconds(asked.span or board.span),
                scrape_s=asked.scrape_s,
            )
            for width in widths:
                canvas, seen = picture(board, answers, width)
                png = canvas.png()
                written = asked.folder / f"{board.name}-{width}.png"
                written.write_bytes(png)
                print(f"{written}: {len(seen)} panels, {len(png) / 1000:.0f} kB")
                for panel in seen:
                    if panel.empty:
                        print(f"  {panel.panel}: {panel.texts[0]}")
                    for text in panel.cut:
                        print(f"  {panel.panel}: no room for {text!r}")
    except NextclickError as error:
        print(f"{error.what}\n{error.meaning}\n{error.remedy}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"the pictures cannot be written: {error}\nThose named above are whole.\n"
            "Name a folder that may be written to: --folder.",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
