"""The panels that all dashboards are made of: one look, one data source, thresholds an operator can trust.

Every panel has a sentence that says what is normal and what is not. Rates are of Grafana's own
interval; what spans an hour or more is a recording rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="nextclick-prometheus")
# What a panel of the workers chosen above is restricted to.
CHOSEN = 'instance=~"$instance"'
GREEN, YELLOW, RED, BLUE, ORANGE = "green", "yellow", "red", "blue", "orange"
# What a panel says where its queries return nothing; each says why, so that no empty panel is a riddle.
NO_WORKER = "No worker was scraped in this time"
NO_LIST = "No list has become durable in this time"
NONE_SCORED = "No list has been scored in this time: it takes an event after a list"
NO_RUN = "No retraining is scraped, or none has ended yet"
NO_ARCHIVE = "No archiver is scraped"
NO_INGESTER = "No ingester is scraped: the worker reads its topic itself"

Queries = Mapping[str, str]
Steps = Iterable[tuple[float | None, str]]
Panels = list[Builder[models.Panel]]


class MarkedVersions(models.AnnotationQuery):
    """A mark at the moment at which a version began to serve; the moment is the series' value."""

    def to_json(self) -> dict[str, object]:
        """With what Grafana's Prometheus source reads beside the SDK's fields."""
        return {
            **super().to_json(),
            "titleFormat": "{{version}} serves",
            "textFormat": "since now, on one worker at least",
            "tagKeys": "version",
            "useValueForTime": True,
            "step": "60s",
        }


class _Marks(AnnotationQuery):
    def __init__(self) -> None:
        super().__init__()
        self._internal = MarkedVersions()


def versions_marked() -> AnnotationQuery:
    """A vertical line wherever a version began to serve."""
    return (
        _Marks()
        .name("Version changes")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("purple")
        .expr("min by (version) (nextclick_model_serving_since_seconds) * 1000")
    )


def chosen_workers() -> QueryVariable:
    """The workers that are shown: all, or some of them."""
    return (
        QueryVariable("instance")
        .label("Worker")
        .description("host:port of a worker, as Prometheus scrapes it")
        .datasource(SOURCE)
        .query("label_values(nextclick_ready, instance)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def board(
    name: str, title: str, description: str, rows: Mapping[str, Panels], *, span: str = "now-1h"
) -> Dashboard:
    """A dashboard of titled rows of panels, with the workers to choose and the versions marked."""
    made = (
        Dashboard(f"nextclick · {title}")
        .uid(f"nextclick-{name}")
        .description(description)
        .tags(["nextclick"])
        .timezone("utc")
        .time(span, "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            DashboardLink("nextclick")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["nextclick"])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(chosen_workers())
        .annotation(versions_marked())
    )
    for row, panels in rows.items():
        made.with_row(Row(row))
        for panel in panels:
            made.with_panel(panel)
    return made


def lines(
    title: str,
    description: str,
    queries: Queries,
    unit: str,
    *,
    width: int = 8,
    stacked: bool = False,
    limits: Steps = (),
    top: float | None = None,
    empty: str = NO_WORKER,
    colours: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """Lines over time: legend → query. `limits` are dashed lines, `top` is the end of the axis.

    `empty` is what the panel says where there is nothing. `colours` are of lines that are good or bad by
    their name; the others have those of their place.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .no_value(empty)
        .min(0)
        .span(width)
        .height(8)
        .fill_opacity(25 if stacked else 5)
        .line_width(1)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .calcs(["lastNotNull", "max"])
            # A legend has room for three or four: those that are largest, not those of an early name.
            .sort_by("Max")
            .sort_desc(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if top is not None:
        panel.max(top)
    if limits:
        panel.thresholds(_thresholds(limits))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    for name, colour in (colours or {}).items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel.override_by_name(name, [models.DynamicConfigValue(id_val="color", value=fixed)])
    for letter, (legend, expression) in zip(ascii_uppercase, queries.items(), strict=False):
        panel.with_target(_query(expression).legend_format(legend).ref_id(letter))
    return panel


def number(
    title: str,
    description: str,
    query: str,
    unit: str,
    *,
    steps: Steps = ((None, BLUE),),
    width: int = 4,
    decimals: int | None = None,
    now: bool = False,
    empty: str = NO_WORKER,
) -> stat.Panel:
    """The newest value, large, in the colour of its step; with `now` no value where there is none now.

    `empty` is what the panel says where there is nothing.
    """
    asked = _query(query).legend_format(title).ref_id("A")
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .no_value(empty)
        .span(width)
        .height(4)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(steps))
        .with_target(asked.instant() if now else asked)
    )
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def names(title: str, description: str, query: str, legend: str, *, width: int = 8) -> stat.Panel:
    """The names of series that are there, such as of the version that serves."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .no_value(NO_WORKER)
        .span(width)
        .height(4)
        .text_mode(BigValueTextMode.NAME)
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(query).legend_format(legend).instant().ref_id("A"))
    )


def rows(title: str, description: str, query: str, columns: list[str], *, empty: str) -> table.Panel:
    """A row for each series that is there now, a column for each of its labels that is named.

    In the order of the second column.
    """
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .no_value(empty)
        .span(24)
        .height(6)
        # The longest name of an alert, on a phone too.
        .override_by_name(columns[0], [models.DynamicConfigValue(id_val="custom.width", value=230)])
        .sort_by([common.TableSortByFieldState().display_name(columns[1])])
        .with_target(_query(query).legend_format(title).instant().format(PromQueryFormat.TABLE).ref_id("A"))
        .with_transformation(
            DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": columns}})
        )
    )


def quantiles(series: str) -> dict[str, str]:
    """Legend → query of the median, p90 and p99 of a histogram of the chosen workers."""
    return {
        f"p{share:g}": f"histogram_quantile({share / 100:g}, sum by (le) "
        f"(rate({series}_bucket{{{CHOSEN}}}[$__rate_interval])))"
        for share in (50, 90, 99)
    }


def rate(series: str, by: str = "") -> str:
    """The query of a counter's rate over the chosen workers, by a label where one is named."""
    return f"{_sum(by)}(rate({series}{{{CHOSEN}}}[$__rate_interval]))"


def total(series: str, by: str = "") -> str:
    """The query of a gauge's sum over the chosen workers, by a label where one is named."""
    return f"{_sum(by)}({series}{{{CHOSEN}}})"


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"


def _query(expression: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery().datasource(SOURCE).expr(expression).range().format(PromQueryFormat.TIME_SERIES)
    )


def _thresholds(steps: Steps) -> ThresholdsConfig:
    config = ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    return config.steps([Threshold(value=value, color=color) for value, color in steps])
