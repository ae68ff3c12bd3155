"""What one frame is, and what its bytes mean.

dump          a frame as text: each byte with its field, and the frame's title
readings      which frames some bytes may be, if nothing else is known about them
explained     explains bytes about which nothing else is known
sentences     a frame in one sentence
describe      records, operations, errors and words, from their declarations
plain         a record as JSON
pasted        bytes from the output of other tools; json_request: a request from JSON
"""
