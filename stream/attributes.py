"""What batch tables knew of customers as their events happened: read for triggers, one trip a micro-batch."""

import logging
import threading
from collections.abc import Sequence

from features.attribute_fields import AttributesDamaged
from features.attribute_store import RedisAttributeStore
from features.attributes import Held, nothing_held
from features.attributes_asked import AskedAttributes
from features.given import Attributes
from features.plan import Plan
from stream.patience import persist

log = logging.getLogger("kairos.behaviour")


class AttributeReader:
    """Looks up what triggers of a plan read; see `features.attributes_asked.LookUp`.

    Redis holds two versions of a row: of an event before both, attributes are not known.
    """

    def __init__(self, store: RedisAttributeStore, plan: Plan, stop: threading.Event) -> None:
        self._store = store
        self._stop = stop
        self._asked = AskedAttributes(plan)

    def __call__(self, customers: Sequence[str], instants: Sequence[int]) -> Attributes:
        """Each attribute's value for each customer at the instant (ms) beside it, None where not known.

        Nothing is known of a customer whose fields are damaged, until the table is loaded again.
        """
        asked = self._asked
        if not customers:
            return {}
        different = list(dict.fromkeys(customers))
        found = persist(lambda: self._read(different), "reading attributes from Redis", self._stop)
        held = dict(zip(different, found, strict=True))
        return asked.columns((held[who] for who in customers), instants)

    def _read(self, customers: Sequence[str]) -> list[Held]:
        tables = self._asked.tables
        try:
            return self._store.read_many(tables, customers)
        except AttributesDamaged as damaged:
            if len(customers) > 1:
                return [held for customer in customers for held in self._read([customer])]
            log.warning("%s of %s: not known to triggers until loaded again", damaged, customers[0])
            return [nothing_held(tables)]
