"""An embedded CMP CA for demonstration, lab and tests. It really issues, and it misbehaves when told to.

::

    ca = LabCa(LabCaSettings(secrets={"enb-4711": "secret"}))
    answer = ca.answer(octets_of_a_PKIMessage)

    with running(ca):
        ...                                       # ca.url
        ca.misbehave(Misbehaviour.DROP_AFTER, on=BodyType.IR, times=1)
        ca.record().certificates[0].status
"""

from __future__ import annotations

from agent.labca.authority import ConnectionDropped, LabCa, Record
from agent.labca.fault import Misbehaviour
from agent.labca.server import running
from agent.labca.settings import LabCaSettings

__all__ = ["ConnectionDropped", "LabCa", "LabCaSettings", "Misbehaviour", "Record", "running"]
