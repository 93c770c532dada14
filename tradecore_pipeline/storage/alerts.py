"""Runs that failed, for whoever looks later: one small document each, the newest kept."""

import json
from dataclasses import dataclass
from datetime import datetime

from tradecore_pipeline.domain.errors import InvalidDataError
from tradecore_pipeline.storage.atomic import write_bytes
from tradecore_pipeline.storage.layout import Layout

KEPT = 200


@dataclass(frozen=True, slots=True)
class Alert:
    """One failed run."""

    at: datetime
    run_id: str
    what: str
    """What it worked on: assets or job, instrument, days."""
    reason: str


def record_alert(layout: Layout, alert: Alert) -> None:
    """Keep ``alert``; of too many, the oldest go."""
    document = {"at": alert.at.isoformat(), "run_id": alert.run_id, "what": alert.what, "reason": alert.reason}
    write_bytes(layout.alert(alert.at, alert.run_id), json.dumps(document).encode())
    for path in sorted(layout.alerts.glob("*.json"))[:-KEPT]:
        path.unlink(missing_ok=True)


def alerts(layout: Layout) -> list[Alert]:
    """The kept alerts, the newest first."""
    found: list[Alert] = []
    for path in sorted(layout.alerts.glob("*.json"), reverse=True):
        try:
            fields = json.loads(path.read_bytes())
            found.append(Alert(datetime.fromisoformat(fields.pop("at")), **fields))
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidDataError(f"{path} is not an alert: remove it") from error
    return found
