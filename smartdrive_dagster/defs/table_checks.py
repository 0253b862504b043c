"""Nightly asset checks: what only a look at whole tables can tell. They count, they show no rows."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from smartdrive_dagster.defs.resources import LakeResource
from smartdrive_dagster.defs.specs import key
from smartdrive_dagster.lake.models import load_models
from smartdrive_dagster.tables import ALL, Table, silver

if TYPE_CHECKING:
    from smartdrive_dagster.lake.lakehouse import Lakehouse

Finding = tuple[int, str]


def _check(
    name: str,
    table: Table,
    description: str,
    find: Callable[["Lakehouse"], Finding],
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key(table), name=name, description=description)
    def check(lake: LakeResource) -> dg.AssetCheckResult:
        found, text = find(lake.lakehouse())
        return dg.AssetCheckResult(
            passed=found == 0, severity=severity, metadata={"found": found}, description=text
        )

    return check


def _unique_key(table: Table) -> dg.AssetChecksDefinition:
    def find(lakehouse: "Lakehouse") -> Finding:
        from smartdrive_dagster.lake.audit import repeated_keys

        found = repeated_keys(lakehouse, table)
        return found, f"{found} keys ({', '.join(table.key)}) appear more than once"

    return _check("key_is_unique", table, f"No two rows share {', '.join(table.key)}.", find)


def _lines_balance(lakehouse: "Lakehouse") -> Finding:
    from smartdrive_dagster.lake.audit import balances

    found = balances(lakehouse).objects_out_of_balance
    return found, f"{found} objects have more lines in the ledger than in bronze.objects"


def _samples_balance(lakehouse: "Lakehouse") -> Finding:
    from smartdrive_dagster.lake.audit import balances

    found = balances(lakehouse).lines_out_of_balance
    return found, f"{found} lines whose accepted, duplicate and quarantined samples do not add up"


def _accepted_are_there(lakehouse: "Lakehouse") -> Finding:
    from smartdrive_dagster.lake.audit import balances

    held = balances(lakehouse)
    found = abs(held.samples_accepted - held.samples_expired - held.samples_in_silver)
    return found, (
        f"the ledger accepted {held.samples_accepted} samples, {held.samples_expired} have expired, "
        f"Silver holds {held.samples_in_silver}"
    )


def _conflicts(lakehouse: "Lakehouse") -> Finding:
    from smartdrive_dagster.lake.audit import identities_with_two_contents

    found = identities_with_two_contents(lakehouse)
    return found, f"{found} message identities were accepted with two contents, on different event days"


def table_checks() -> list[dg.AssetChecksDefinition]:
    """All nightly checks."""
    marts = [model.table for model in load_models().values()]
    return [
        *(_unique_key(table) for table in (*ALL, *marts)),
        _check(
            "lines_balance",
            silver.MESSAGES,
            "No object has more lines in the ledger than in Bronze; one with fewer is not judged yet.",
            _lines_balance,
        ),
        _check(
            "samples_balance",
            silver.MESSAGES,
            "Of each decoded message accepted + duplicate + quarantined samples are all samples.",
            _samples_balance,
        ),
        _check(
            "accepted_samples_are_in_silver",
            silver.MESSAGES,
            "Silver's telemetry, events and facts are as many rows as the ledger accepted samples.",
            _accepted_are_there,
        ),
        _check(
            "identity_has_one_content",
            silver.MESSAGES,
            "No message identity was accepted with two contents on different event days.",
            _conflicts,
            severity=dg.AssetCheckSeverity.WARN,
        ),
    ]
