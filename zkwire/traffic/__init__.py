"""Frames on their way between clients and servers, connection by connection. No input or output, no clock.

The words of this folder, and of tap/, capture/ and the command line:

    a frame seen   SeenFrame, in `conversation`: one whole frame with its direction, the time when it came, the number
                   of its connection, and, for a reply, the request that it answers.
    stray bytes    Bytes that are not a frame: a four-letter word and its answer, TLS, and everything after a length
                   that no frame may have. They are plain `bytes`.
    an entry       One line of a report, in `entries`: a request with its reply, an event with its cause, a connection
                   that opened or closed. An entry can be made of several frames, and is made when the last of them
                   comes.
    a fault        What a tap does to a frame on purpose, in `faults`: drops it, delays it, cuts the connection.

    conversation   finds the frames and the stray bytes in the bytes of one connection
    selection      which operations and which paths, in words: for filters and faults
    faults         which frames a fault acts on, what it does, and how often
    causes         which write caused an event, and which request armed the watch
    entries        makes entries from the frames seen
    report         an entry as a line of text, and as JSON
    recording      frames seen and stray bytes as JSON lines, and back
    as_server      plays a recording to a client
    as_client      sends a recording to a server again, and compares the replies
"""
