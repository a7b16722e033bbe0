"""Draws a whole board, of the width of a wall or of a phone."""

from __future__ import annotations

from datetime import UTC, datetime

from deploy.grafana.render.answers import Answers
from deploy.grafana.render.board import HEADER, PHONE, Board
from deploy.grafana.render.canvas import Canvas
from deploy.grafana.render.draw import Drawn, draw


def picture(board: Board, answers: Answers, width: int) -> tuple[Canvas, list[Drawn]]:
    """The board, and what is seen of each of its panels."""
    boxes, height = board.boxes(width)
    canvas = Canvas(width, height)
    begin, end = (datetime.fromtimestamp(at, UTC) for at in (answers.begin_s, answers.end_s))
    span = f"{begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"
    if width < PHONE:
        canvas.text(board.title, 12, HEADER / 2 - 10, width - 24, size=16, bold=True)
        canvas.text(span, 12, HEADER / 2 + 12, width - 24, size=11, colour="faint")
    else:
        canvas.text(board.title, 12, HEADER / 2, width / 2, size=18, bold=True)
        canvas.text(span, width / 2, HEADER / 2, width / 2 - 12, size=13, colour="faint", align="right")
    seen = []
    for panel, box in boxes:
        if isinstance(panel, str):
            canvas.text(panel, box.left + 4, box.top + box.height / 2, box.width, size=15)
        else:
            seen.append(draw(canvas, panel, box, answers))
    return canvas, seen
