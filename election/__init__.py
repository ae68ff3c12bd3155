"""Leader election and service registry, on zkwire's public names. Bottom layer first:

    errors        what can go wrong
    clocks        the clock behind leases
    sequence      the number behind a sequential znode's name
    dialects      how contenders are named
    places        where the znodes of an election are
    lease         how long nobody else can lead
    witness       signs that a leader may still work although its znodes are gone
    znodes        deleting and finding what a session owns, over lost replies
    overrun       the hard deadline of a body that ignores its cancellation
    states        the states of an election, as a stream
    contender     a campaign: what both modes have in common
    sequential    first come, first led
    simple        one znode
    term          one time of leading
    observing     who leads and who contends
    election      Election
    strategies    which member to pick
    layouts       what a member's znode says: names, Curator's JSON, serverset JSON
    registration  a member that is kept registered
    members       a live view of all of them
    registry      Registry
    watchdog      the process that ends a command when the lease of its leader ends
    runner        a command that runs only while leader
    local_server  a ZooKeeper for the demo
    demo          two candidates, three servers, a takeover
    cli           the command line

What is imported here is public.
"""

from .election import Election as Election
from .errors import CampaignTimeout as CampaignTimeout
from .errors import ElectionError as ElectionError
from .errors import LeadershipLostError as LeadershipLostError
from .errors import MixedDialect as MixedDialect
from .errors import NoMembersError as NoMembersError
from .errors import NotLeaderError as NotLeaderError
from .errors import ProclaimConflict as ProclaimConflict
from .errors import RegistryError as RegistryError
from .layouts import Endpoint as Endpoint
from .layouts import Member as Member
from .layouts import ServersetMember as ServersetMember
from .layouts import ServiceInstance as ServiceInstance
from .layouts import ServiceType as ServiceType
from .layouts import Status as Status
from .layouts import UriPart as UriPart
from .layouts import UriSpec as UriSpec
from .members import Change as Change
from .members import Members as Members
from .observing import Contender as Contender
from .observing import Leader as Leader
from .observing import LeaderStream as LeaderStream
from .overrun import OverrunError as OverrunError
from .registration import Registration as Registration
from .registry import Registry as Registry
from .states import StateStream as StateStream
from .term import Lost as Lost
from .term import Term as Term
