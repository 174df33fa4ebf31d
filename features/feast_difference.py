"""What `features apply` would change in Feast's registry, in words; no Feast in here."""

from events.faults import Refusal
from features.attribute_fields import columns_of
from features.feast_store import FEATURES, FIELDS, JOIN_KEY, VIEW, field_of
from features.full_row import full_features
from features.plan import Plan

ROW_VIEW = "customer_features"
SERVICE = "customer_row"
OFFER_VIEW = "offer_features"
OFFER_SERVICE = "offer_row"

Described = dict[str, tuple[dict[str, str], dict[str, str]]]
"""View -> its fields with their types, its tags."""


class FieldsCollide(Refusal):
    """Two features would share a field of Redis; rename one."""


def differences(before: Described, after: Described) -> list[str]:
    """What changes from one to the other, a line each: + new, ~ changed, - gone."""
    lines = [] if before else [f"+ entity customer, joined by {JOIN_KEY}"]
    for view in [*after, *sorted(before.keys() - after.keys())]:
        if view not in after:
            lines.append(f"- view {view}")
            continue
        (old, was), (new, tags) = before.get(view, ({}, {})), after[view]
        lines += [f"- view {view}: {name}" for name in sorted(old.keys() - new.keys())]
        lines += [f"+ view {view}: {name}" for name in new if name not in old]
        lines += [
            f"~ view {view}: {name} from {old[name]} to {new[name]}"
            for name in new
            if name in old and old[name] != new[name]
        ]
        lines += [
            f"~ view {view}: from {tag} {was.get(tag)} to {tags[tag]}"
            for tag in tags
            if view in before and was.get(tag) != tags[tag]
        ]
    services = [] if before else [f"+ service {SERVICE}"]
    if OFFER_VIEW in after and OFFER_VIEW not in before:
        services.append(f"+ service {OFFER_SERVICE}")
    if OFFER_VIEW in before and OFFER_VIEW not in after:
        services.append(f"- service {OFFER_SERVICE}")
    return [*lines, *services]


def refuse_collisions(plan: Plan) -> None:
    """Check that no two features of the customer's hash share a field, which are named by 32 bit hashes.

    Errors: `FieldsCollide`.
    """
    kept = [(table.name, name) for table in plan.playbook.attributes for name, _ in columns_of(table)]
    owners = {field: f"{VIEW}:{name}" for field, name in zip(FIELDS, FEATURES, strict=True)}
    for view, name in [*kept, *((ROW_VIEW, feature.name) for feature in full_features(plan))]:
        field = field_of(view, name)
        if field in owners:
            raise FieldsCollide(
                f"expected a field of Redis for each feature, found {field.hex()} for both {owners[field]} "
                f"and {view}:{name}; rename one"
            )
        owners[field] = f"{view}:{name}"
