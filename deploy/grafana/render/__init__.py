"""Draws the dashboards as pictures, from their JSON and a Prometheus' answers, where no Grafana is at hand.

`board` the panels of a JSON file and their places, `answers` what Prometheus says to their queries, `units`
numbers as Grafana writes them, `canvas` texts and boxes in pixels, `draw` one panel, `lines` what it shows
over time, `picture` a whole board.
Run it: `python deploy/grafana/render --help`. It draws what the boards use; what it does not know it refuses.
"""
