"""Leader election and service registry, on zkwire's public names. Bottom layer first:

    errors        what can go wrong
    clocks        the clock of leases
    ephemeral     deleting and finding what a session owns, over lost replies
    leader/       one leader at a time: elections, campaigns, terms, leases
    registry/     who provides a service: registrations, and a live view of them
    command/      the command line, a command that runs only while leader, and the demo

What is imported here is public.
"""

from zkwire import StateStream as StateStream

from .errors import CampaignTimeout as CampaignTimeout
from .errors import ElectionError as ElectionError
from .errors import LeadershipLostError as LeadershipLostError
from .errors import MixedDialect as MixedDialect
from .errors import NoMembersError as NoMembersError
from .errors import NotLeaderError as NotLeaderError
from .errors import ProclaimConflict as ProclaimConflict
from .errors import RegistryError as RegistryError
from .leader.election import Election as Election
from .leader.keeper import Lost as Lost
from .leader.observer import Contender as Contender
from .leader.observer import Leader as Leader
from .leader.observer import LeaderStream as LeaderStream
from .leader.overrun import OverrunError as OverrunError
from .leader.term import Term as Term
from .registry.layouts import Member as Member
from .registry.layouts.curator import ServiceInstance as ServiceInstance
from .registry.layouts.curator import ServiceType as ServiceType
from .registry.layouts.serverset import Endpoint as Endpoint
from .registry.layouts.serverset import ServersetMember as ServersetMember
from .registry.layouts.serverset import Status as Status
from .registry.registration import Registration as Registration
from .registry.registry import Registry as Registry
from .registry.view import Change as Change
from .registry.view import Members as Members
