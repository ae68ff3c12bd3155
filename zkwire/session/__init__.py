"""The client's side of a session, sans-IO."""

from .connection import Connection as Connection
from .requests import Request as Request
from .session import Session as Session
