"""The rules of Prometheus: valid, complete, and each alert fires on what it is made for."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_images import OURS
from tests.deploy.test_kubernetes import template
from tests.support.prometheus import FOLDER, install, promtool
from tests.test_docs import OPERATORS, table

ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
RISES = "0+1x70"
"""A sample each minute."""

HEALTHY = {
    'up{job="api"}': "1x70",
    'up{job="streams"}': "1x70",
    'up{job="actors"}': "1x70",
    'killstream_server_up{server="kafka"}': "1x70",
    'killstream_source_lag{source="r2z2"}': "2x70",
    'killstream_source_age_seconds{source="r2z2"}': "4x70",
    'killstream_source_checked_age_seconds{source="r2z2"}': "4x70",
    # A source of former settings.
    'killstream_source_lag{source="redisq"}': "5000x70",
    'killstream_source_age_seconds{source="redisq"}': "90000+60x70",
    'killstream_source_checked_age_seconds{source="redisq"}': "90000+60x70",
    "killstream_feed_age_seconds": "30x70",
    "killstream_ledger": "3x70",
    "killstream_ledger_oldest_age_seconds": "2x70",
    "killstream_unpublished_oldest_age_seconds": "0x70",
    'killstream_queue_messages{queue="database",state="ready"}': "5x70",
    'killstream_queue_messages{queue="database",state="dead"}': "0x70",
    'killstream_queue_consumers{queue="database"}': "1x70",
    'killstream_queue_oldest_age_seconds{queue="database"}': "2x70",
    'killstream_queue_paused{queue="database"}': "0x70",
    'killstream_queue_paused{queue="source"}': "0x70",
    'killstream_queue_wait_seconds_bucket{queue="database",le="1.0"}': "0+60x70",
    'killstream_queue_wait_seconds_bucket{queue="database",le="900.0"}': "0+60x70",
    'killstream_queue_wait_seconds_bucket{queue="database",le="+Inf"}': "0+60x70",
    'killstream_topic_lag{topic="killmails.received"}': "1x70",
    "killstream_killmails_rejected_total": "0x70",
    "killstream_errors_total": "0x70",
    'killstream_esi_tokens_left{group="killmail"}': "3000x70",
    'killstream_esi_pauses_total{scope="killmail"}': "0x70",
    'killstream_esi_requests_total{group="killmail",status="200"}': RISES,
    'killstream_esi_requests_total{group="killmail",status="429"}': "0x70",
    'killstream_syncs_total{kind="character",result="failed"}': "0x70",
    'killstream_syncs_total{kind="character",result="succeeded"}': RISES,
    "killstream_syncs_overdue": "0x70",
    'killstream_users{state="login_required"}': "1x70",
    'killstream_token_refreshes_total{result="failed"}': "0x70",
    'killstream_messages_truncated_total{topic="killmails.stored"}': "0x70",
    "killstream_completeness_audit_age_seconds": "100000x70",
    "killstream_completeness_obtainable": "0x70",
    "killstream_events_foreign_total": "0x70",
}

FIRES: dict[str, dict[str, str]] = {
    "KillstreamProcessDown": {'up{job="api"}': "0x70"},
    "KillstreamServerDown": {'killstream_server_up{server="kafka"}': "0x70"},
    "KillstreamPauseForgotten": {'killstream_queue_paused{queue="database"}': "1x70"},
    "KillstreamFeedStandsStill": {'killstream_source_age_seconds{source="r2z2"}': "0+60x70"},
    "KillstreamFeedFallsBehind": {'killstream_source_lag{source="r2z2"}': "0+100x70"},
    "KillstreamUpstreamSilent": {
        'killstream_source_lag{source="r2z2"}': "0x70",
        'killstream_source_checked_age_seconds{source="r2z2"}': "0+60x70",
    },
    "KillstreamNothingStored": {
        "killstream_feed_age_seconds": "0+60x70",
        "killstream_ledger_oldest_age_seconds": "900x70",
    },
    "KillstreamLedgerOld": {"killstream_ledger_oldest_age_seconds": "0+60x70"},
    "KillstreamQueueGrows": {
        'killstream_queue_messages{queue="database",state="ready"}': "0+100x70"
    },
    "KillstreamQueueUnconsumed": {'killstream_queue_consumers{queue="database"}': "0x70"},
    "KillstreamQueueSlow": {
        'killstream_queue_wait_seconds_bucket{queue="database",le="1.0"}': "0x70"
    },
    "KillstreamQueueOld": {'killstream_queue_oldest_age_seconds{queue="database"}': "0+60x70"},
    "KillstreamDeadLetters": {'killstream_queue_messages{queue="database",state="dead"}': "1x70"},
    "KillstreamRejectedRises": {"killstream_killmails_rejected_total": RISES},
    "KillstreamErrors": {"killstream_errors_total": "0+10x70"},
    "KillstreamEsiBudgetLow": {'killstream_esi_tokens_left{group="killmail"}': "100x70"},
    "KillstreamEsiPaused": {'killstream_esi_pauses_total{scope="killmail"}': RISES},
    "KillstreamEsiRefuses": {'killstream_esi_requests_total{group="killmail",status="429"}': RISES},
    "KillstreamSyncsFail": {'killstream_syncs_total{kind="character",result="failed"}': RISES},
    "KillstreamSyncsOverdue": {"killstream_syncs_overdue": "2x70"},
    "KillstreamLoginsLost": {'killstream_users{state="login_required"}': RISES},
    "KillstreamTokenRefreshFails": {'killstream_token_refreshes_total{result="failed"}': RISES},
    "KillstreamPublishLag": {"killstream_unpublished_oldest_age_seconds": "0+60x70"},
    "KillstreamTopicLag": {'killstream_topic_lag{topic="killmails.received"}': "0+100x70"},
    "KillstreamMessagesTruncated": {
        'killstream_messages_truncated_total{topic="killmails.stored"}': RISES
    },
    "KillstreamAuditLate": {"killstream_completeness_audit_age_seconds": "180000x70"},
    "KillstreamDaysIncomplete": {"killstream_completeness_obtainable": "1x70"},
    "KillstreamEventsForeign": {"killstream_events_foreign_total": RISES},
}
LASTS_MINUTES = {"KillstreamDaysIncomplete": 1_500}
"""Of the alerts that wait for more than an hour."""

MORE: dict[str, tuple[dict[str, str], set[str]]] = {
    "a part that no target has": ({'up{job="actors"}': "_x70"}, {"KillstreamProcessDown"}),
    "a quiet feed, with killmails that ESI refused": (
        {"killstream_feed_age_seconds": "0+60x70", "killstream_ledger": "9x70"},
        set(),
    ),
    "killmails that have just arrived after a quiet time": (
        {
            "killstream_feed_age_seconds": "0+60x70",
            "killstream_ledger_oldest_age_seconds": "0+2x70",
        },
        set(),
    ),
    "an intake that is paused, with what a pause causes": (
        {
            'killstream_queue_paused{queue="source"}': "1x70",
            'killstream_source_lag{source="r2z2"}': "0+100x70",
            'killstream_source_age_seconds{source="r2z2"}': "0+60x70",
            'killstream_source_checked_age_seconds{source="r2z2"}': "0+60x70",
        },
        {"KillstreamPauseForgotten"},
    ),
    "a queue that is paused for a short time, with what a pause causes": (
        {
            'killstream_queue_paused{queue="database"}': "0x30 1x40",
            'killstream_queue_consumers{queue="database"}': "0x70",
            "killstream_feed_age_seconds": "0+60x70",
            "killstream_ledger_oldest_age_seconds": "900x70",
        },
        set(),
    ),
    "killmails that are missing, and repaired within a day": (
        {"killstream_completeness_obtainable": "40x70"},
        set(),
    ),
    "an audit that an operator has paused": (
        {
            'killstream_queue_paused{queue="source"}': "1x70",
            "killstream_completeness_audit_age_seconds": "180000x70",
        },
        {"KillstreamPauseForgotten"},
    ),
    "few tokens, by an answer of long ago": (
        {
            'killstream_esi_tokens_left{group="killmail"}': "100x70",
            'killstream_esi_requests_total{group="killmail",status="200"}': "7x70",
        },
        set(),
    ),
}
"""What else fires, and what doesn't."""


@pytest.fixture(autouse=True)
async def installed() -> None:
    await install()


def test_configuration_and_rules_are_valid() -> None:
    said = promtool("check", "config", str(FOLDER / "prometheus.yml"))
    assert said.count("rules found") == 2


def test_each_alert_fires_alone_and_none_while_all_is_well(tmp_path: Path) -> None:
    assert list(FIRES) == [alert["alert"] for alert in ALERTS]
    cases = [unit("all is well", {}, set()), *(unit(name, FIRES[name], {name}) for name in FIRES)]
    cases += [unit(name, *case) for name, case in MORE.items()]
    rules = [str(FOLDER / name) for name in ("recording.yml", "alerts.yml")]
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": rules, "tests": cases}))
    promtool("test", "rules", str(file))


def unit(name: str, changes: dict[str, str], fires: set[str]) -> dict[str, Any]:
    """Make a promtool test that compares the names of all alerts that fire at its end."""
    assert changes.keys() <= HEALTHY.keys(), changes.keys() - HEALTHY.keys()
    minutes = LASTS_MINUTES.get(name, 70)
    series = {
        key: values.replace("x70", f"x{minutes}") for key, values in (HEALTHY | changes).items()
    }
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minutes}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{one}"}}', "value": 1} for one in sorted(fires)
                ],
            }
        ],
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    annotations = alert["annotations"]
    assert annotations["summary"]
    assert annotations["description"]
    assert annotations["action"] in [row[0] for row in table(OPERATORS, "symptom")]
    assert alert["labels"]["severity"] in ("warning", "critical")


def test_the_ports_are_those_of_the_documents() -> None:
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    ports = {
        job["job_name"]: job["static_configs"][0]["targets"][0].rpartition(":")[2]
        for job in configuration["scrape_configs"]
    }
    assert ports == {"api": "4000", "streams": "4001", "actors": "4002"}
    assert re.search(r"4001.*4002", OPERATORS.read_text())


def test_on_kubernetes_each_part_is_a_job(tmp_path: Path) -> None:
    """Prometheus discovers the pods of the manifests, and takes `job` from their component."""
    file = FOLDER / "kubernetes.yml"
    configuration = yaml.safe_load(file.read_text())
    assert configuration.pop("rule_files") == ["recording.yml", "alerts.yml"]
    (job,) = configuration["scrape_configs"]
    # Debian's promtool is built without this discovery; another one takes its place.
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    job["static_configs"] = [discovered(part) for part in OURS]
    job["static_configs"].append(
        {"targets": ["10.0.0.9:80"], "labels": {"__meta_kubernetes_pod_ip": "10.0.0.9"}}
    )
    found = tmp_path / "prometheus.yml"
    found.write_text(yaml.safe_dump(configuration))
    said = promtool("check", "service-discovery", "--timeout=1s", str(found), job["job_name"])
    targets = [target["labels"] for target in json.loads(said[said.index("[") :])]
    scraped = {
        (labels["job"], labels["instance"], labels["__address__"]) for labels in targets if labels
    }
    assert scraped == {
        ("api", "api-0", "10.0.0.1:4000"),
        ("streams", "streams-0", "10.0.0.1:4001"),
        ("actors", "actors-0", "10.0.0.1:4002"),
    }


def discovered(part: str) -> dict[str, Any]:
    """Describe a part's pod as Prometheus' discovery of Kubernetes does."""
    metadata = template(part)["metadata"]
    labels = {"__meta_kubernetes_pod_ip": "10.0.0.1", "__meta_kubernetes_pod_name": f"{part}-0"}
    for kind in ("label", "annotation"):
        for name, value in metadata.get(f"{kind}s", {}).items():
            labels[f"__meta_kubernetes_pod_{kind}_{re.sub(r'[^a-zA-Z0-9]', '_', name)}"] = value
    return {"targets": [f"{part}:80"], "labels": labels}
