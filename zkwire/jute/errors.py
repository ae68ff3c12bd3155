"""The one error of the Jute layer: bytes or values that do not fit a declaration."""


class JuteError(ValueError):
    """Bytes that are not the declared record, or a value that the declared record cannot carry.

    Attributes:
        path: the field, dotted from the record's name: `GetACLResponse.acl[2].id.scheme`.
        offset: where that field starts, in bytes from the start of what was decoded; None when encoding.
        reason: what was expected and what was seen.
    """

    def __init__(self, path: str, reason: str, offset: int | None = None) -> None:
        self.path = path
        self.reason = reason
        self.offset = offset
        super().__init__(path, reason, offset)

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at offset {self.offset}"
        return f"{self.path}{where}: {self.reason}"
