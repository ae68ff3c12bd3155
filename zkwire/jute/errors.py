"""The only error of the Jute layer: bytes or values that do not fit a declaration."""


class JuteError(ValueError):
    """The bytes are not the declared record, or a value does not fit its field.

    Attributes:
        path: the field, from the record's name on: `GetACLResponse.acl[2].id.scheme`.
        offset: where that field starts, in bytes from the start of the record; None: the error is from encoding.
        reason: what was expected and what was seen.
        missing: how many more bytes are needed at least, if the bytes end too early; else 0.
    """

    def __init__(self, path: str, reason: str, offset: int | None = None, missing: int = 0) -> None:
        self.path = path
        self.reason = reason
        self.offset = offset
        self.missing = missing
        super().__init__(path, reason, offset, missing)

    def __str__(self) -> str:
        where = "" if self.offset is None else f" at offset {self.offset}"
        return f"{self.path}{where}: {self.reason}"
