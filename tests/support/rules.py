"""The rules of docs/client-rules.md and docs/election-rules.md."""

from __future__ import annotations

CLIENT_RULES = list(range(1, 83))
#: How many there are by each letter.
LETTERS = {"C": 13, "W": 17, "L": 20, "R": 8, "S": 6, "P": 11, "D": 13}
ELECTION_RULES = [f"{letter}{number}" for letter, last in LETTERS.items() for number in range(1, last + 1)]
