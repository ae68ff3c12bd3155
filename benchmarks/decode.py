"""The decode of a GetDataResponse with 100 bytes of data: the fused codec and the construct Struct, in microseconds.

python -m benchmarks.decode [TIMES]            prints JSON
"""

from __future__ import annotations

import json
import sys
import timeit

from benchmarks.scenarios import SMALL_DATA
from zkwire.jute import decode, encode
from zkwire.jute.wire import parse
from zkwire.records import GetDataResponse, Stat


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    data = encode(GetDataResponse(SMALL_DATA, Stat(1, 2, 3, 4, 5, 6, 7, 8, 100, 10, 11)))
    assert decode(GetDataResponse, data) == parse(GetDataResponse, data)
    ways = {
        "fused": lambda: decode(GetDataResponse, data),
        "construct": lambda: GetDataResponse.WIRE.parse(data),
    }
    print(
        json.dumps(
            {name: min(timeit.repeat(way, number=number, repeat=5)) / number * 1e6 for name, way in ways.items()}
        )
    )


if __name__ == "__main__":
    main()
