"""The client on trio."""

from .client import Client as Client
from .client import connect as connect
