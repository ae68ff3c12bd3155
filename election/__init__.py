"""Leader election and service registry, on zkwire's public names. Bottom layer first:

    errors        what can go wrong
    clocks        the clock behind leases
    sequence      the number behind a sequential znode's name
    dialects      how contenders are named
    places        where the znodes of an election are
    lease         how long nobody else can lead
    znodes        deleting and finding what a session owns, over lost replies
    overrun       the hard deadline of a body that ignores its cancellation
    states        the states of an election, as a stream
    contender     a campaign: what both modes have in common
    sequential    first come, first led
    simple        one znode
    term          one time of leading
    observing     who leads and who contends
    election      Election
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
from .observing import Contender as Contender
from .observing import Leader as Leader
from .observing import LeaderStream as LeaderStream
from .overrun import OverrunError as OverrunError
from .states import StateStream as StateStream
from .term import Lost as Lost
from .term import Term as Term
