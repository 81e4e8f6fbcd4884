"""Generate `killstream.json`, the Grafana board: `just board`.

Requires the development dependencies (grafana-foundation-sdk).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

BOARD: Final = Path(__file__).with_name("killstream.json")
DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
STAT_SPAN: Final = 4
GRAPH_SPAN: Final = 8


@dataclass(frozen=True)
class Graph:
    """Queries over time; each is an expression and the name of its series."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


NOW: Final = (
    ("Parts that don't answer", "short", 'sum(up{job=~"api|streams|actors"} == bool 0)'),
    ("Servers that don't answer", "short", "sum(killstream_server_up == bool 0)"),
    ("Killmails behind the upstream", "short", "max(killstream:source_lag:max)"),
    ("Oldest killmail not stored", "s", "max(killstream_ledger_oldest_age_seconds)"),
    ("Oldest entry not published", "s", "max(killstream_unpublished_oldest_age_seconds)"),
    ("Paused queues", "short", "sum(max by (queue) (killstream_queue_paused))"),
    ("Dead letters", "short", 'sum(killstream:queue_messages:max{state="dead"})'),
)
"""Title, unit and query of what should be near 0."""

ROWS: Final[dict[str, tuple[Graph, ...]]] = {
    "Flow": (
        Graph(
            "Killmails per second",
            "ops",
            (
                ("killstream:received:rate5m", "received from {{source}}"),
                ("killstream:stored:rate5m", "stored ({{origin}})"),
                ("killstream:published:rate5m", "published"),
            ),
        ),
        Graph(
            "Latency of each stage (p95)",
            "s",
            (("killstream:stage_latency_seconds:p95", "{{stage}} ({{origin}})"),),
        ),
        Graph(
            "Behind the upstream",
            "short",
            (
                ("killstream:source_lag:max", "{{source}}"),
                ("max(killstream_holes)", "absent files"),
            ),
        ),
        Graph(
            "In progress",
            "short",
            (
                ("max(killstream_ledger)", "not stored"),
                ("max(killstream_unpublished)", "not published"),
                ("max by (topic) (killstream_topic_lag)", "topic {{topic}}"),
            ),
        ),
        Graph(
            "Age",
            "s",
            (
                ("max(killstream_feed_age_seconds)", "newest entry"),
                ("killstream:source_age_seconds:max", "position in {{source}}"),
                ("max(killstream_ledger_oldest_age_seconds)", "oldest not stored"),
            ),
        ),
        Graph(
            "Errors and rejections per second",
            "ops",
            (
                ("killstream:errors:rate5m", "errors"),
                ("sum(rate(killstream_killmails_rejected_total[5m]))", "rejected"),
                ("sum(rate(killstream_killmails_skipped_total[5m]))", "received again"),
            ),
        ),
    ),
    "Queues": (
        Graph("Messages", "short", (("killstream:queue_messages:max", "{{queue}} {{state}}"),)),
        Graph(
            "Oldest message",
            "s",
            (("max by (queue) (killstream_queue_oldest_age_seconds)", "{{queue}}"),),
        ),
        Graph("Wait (p95)", "s", (("killstream:queue_wait_seconds:p95", "{{queue}}"),)),
        Graph(
            "Time per message (mean)",
            "s",
            (
                (
                    "sum by (actor) (rate(killstream_message_duration_seconds_sum[5m]))"
                    " / sum by (actor) (rate(killstream_message_duration_seconds_count[5m]))",
                    "{{actor}}",
                ),
            ),
        ),
        Graph(
            "Consumers", "short", (("max by (queue) (killstream_queue_consumers)", "{{queue}}"),)
        ),
    ),
    "ESI": (
        Graph(
            "Tokens left", "short", (("min by (group) (killstream_esi_tokens_left)", "{{group}}"),)
        ),
        Graph(
            "Responses per second",
            "reqps",
            (
                (
                    "sum by (group, status) (rate(killstream_esi_requests_total[5m]))",
                    "{{group}} {{status}}",
                ),
            ),
        ),
    ),
    "Completeness": (
        Graph(
            "Missing killmails",
            "short",
            (
                ("max(killstream_completeness_obtainable)", "can be had"),
                (
                    'max by (state) (killstream_completeness_missing{state!="not_imported"})',
                    "all of days {{state}}",
                ),
            ),
        ),
        Graph("Days", "short", (("max by (state) (killstream_completeness_days)", "{{state}}"),)),
        Graph(
            "Age of the audit",
            "s",
            (("max(killstream_completeness_audit_age_seconds)", "of the last days"),),
        ),
    ),
    "Users": (
        Graph("Logins by state", "short", (("max by (state) (killstream_users)", "{{state}}"),)),
        Graph("Syncs per second", "ops", (("killstream:syncs:rate1h", "{{kind}} {{result}}"),)),
        Graph(
            "Duration of a sync (p95)",
            "s",
            (
                (
                    "histogram_quantile(0.95, sum by (kind, le)"
                    " (rate(killstream_sync_duration_seconds_bucket[1h])))",
                    "{{kind}}",
                ),
            ),
        ),
        Graph(
            "Killmails listed per second",
            "ops",
            (("sum by (kind) (rate(killstream_sync_killmails_listed_total[1h]))", "{{kind}}"),),
        ),
        Graph(
            "Refreshes of tokens per second",
            "ops",
            (("sum by (result) (rate(killstream_token_refreshes_total[1h]))", "{{result}}"),),
        ),
        Graph("Late syncs", "short", (("max(killstream_syncs_overdue)", "late"),)),
    ),
    "Gateway": (
        Graph("Subscribers", "short", (("sum(killstream_subscribers)", "open"),)),
        Graph(
            "Deliveries per second",
            "ops",
            (("sum(rate(killstream_deliveries_total[5m]))", "delivered"),),
        ),
        Graph(
            "Lost and found per second",
            "ops",
            (
                ("sum(rate(killstream_events_dropped_total[5m]))", "dropped"),
                ("sum(rate(killstream_gaps_filled_total[5m]))", "read from the table"),
            ),
        ),
    ),
}


def board() -> str:
    """Return the board as JSON."""
    made = (
        Dashboard("Killstream")
        .uid("killstream")
        .tags(["killstream"])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("utc")
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_row(Row("Now"))
    )
    for title, unit, expression in NOW:
        made = made.with_panel(_stat(title, unit, expression))
    for row, graphs in ROWS.items():
        made = made.with_row(Row(row))
        for graph in graphs:
            made = made.with_panel(_time_series(graph))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _stat(title: str, unit: str, expression: str) -> Stat:
    return (
        Stat()
        .title(title)
        .unit(unit)
        .datasource(DATASOURCE)
        .span(STAT_SPAN)
        .height(4)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(Dataquery().ref_id("A").expr(expression).instant())
    )


def _time_series(graph: Graph) -> TimeSeries:
    panel = (
        TimeSeries()
        .title(graph.title)
        .unit(graph.unit)
        .datasource(DATASOURCE)
        .span(GRAPH_SPAN)
        .height(8)
        .min(0)
        .fill_opacity(10)
        .legend(
            VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
    )
    for ref_id, (expression, legend) in zip("ABCDEF", graph.queries, strict=False):
        query = Dataquery().ref_id(ref_id).expr(expression).range()
        panel = panel.with_target(query.legend_format(legend))
    return panel


if __name__ == "__main__":
    BOARD.write_text(board())
    sys.stdout.write(f"wrote {BOARD.name}\n")
