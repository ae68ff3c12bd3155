--
-- How a frame is found and read. The tables above say what it contains; the code below names no field of a record.

local zk = Proto("zookeeper", "Apache ZooKeeper client protocol")
zk.prefs.ports = Pref.range("TCP ports", "2181", "Where servers listen for clients", 65535)

local f = {
  length = ProtoField.int32("zookeeper.length", "Length"),
  title = ProtoField.string("zookeeper.title", "Frame"),
  direction = ProtoField.string("zookeeper.direction", "Direction"),
  op = ProtoField.string("zookeeper.op", "Operation"),
  path = ProtoField.string("zookeeper.path", "Path"),
  xid = ProtoField.int32("zookeeper.xid", "Xid", base.DEC, CODES.xid),
  zxid = ProtoField.uint64("zookeeper.zxid", "Zxid", base.HEX),
  err = ProtoField.int32("zookeeper.err", "Error", base.DEC, CODES.err),
  opcode = ProtoField.int32("zookeeper.opcode", "Opcode", base.DEC, OPCODES),
  request_in = ProtoField.framenum("zookeeper.request_in", "Request in", base.NONE, frametype.REQUEST),
  response_in = ProtoField.framenum("zookeeper.response_in", "Response in", base.NONE, frametype.RESPONSE),
  time = ProtoField.double("zookeeper.time", "Milliseconds since the request"),
  stray = ProtoField.bytes("zookeeper.stray", "Bytes that are not a frame"),
  trailing = ProtoField.bytes("zookeeper.trailing", "Bytes after the last record"),
  undecoded = ProtoField.bytes("zookeeper.undecoded", "Bytes that are not the record they should be"),
}

local MAKERS = {
  byte = function(abbr, name) return ProtoField.int8(abbr, name) end,
  boolean = function(abbr, name) return ProtoField.bool(abbr, name) end,
  int = function(abbr, name, field) return ProtoField.int32(abbr, name, base.DEC, CODES[name] or CODES[field]) end,
  long = function(abbr, name)
    if HEXADECIMAL[name] then return ProtoField.uint64(abbr, name, base.HEX) end
    return ProtoField.int64(abbr, name)
  end,
  ustring = function(abbr, name) return ProtoField.string(abbr, name) end,
  buffer = function(abbr, name) return ProtoField.bytes(abbr, name) end,
}

local function element_of(kind) return kind:match("^vector<(.+)>$") end

-- One field for each declared field: zookeeper.GetDataRequest.path. For a vector it is the count. Elements that are
-- not records follow as fields of the same name.
local declared, all = {}, {}
for record, fields in pairs(RECORDS) do
  for _, field in ipairs(fields) do
    local name, kind = field[1], field[2]
    local qualified = record .. "." .. name
    local abbr = "zookeeper." .. qualified
    local element = element_of(kind)
    if element then
      declared[qualified .. "#"] = ProtoField.int32(abbr .. ".count", name .. ": elements")
      kind = element
    end
    if MAKERS[kind] then declared[qualified] = MAKERS[kind](abbr, name, qualified) end
  end
end
for _, group in ipairs({ f, declared }) do
  for _, field in pairs(group) do all[#all + 1] = field end
end
zk.fields = all

local expert_malformed = ProtoExpert.new(
  "zookeeper.malformed", "Bytes are not the record they should be", expert.group.MALFORMED, expert.severity.ERROR)
zk.experts = { expert_malformed }

local tcp_stream = Field.new("tcp.stream")
local lost_segment = Field.new("tcp.analysis.lost_segment")

-- Reading Jute ------------------------------------------------------------------------------------------------------

-- Raised, as a table, if the bytes are not the declared record.
local function misfit(offset) error({ offset = offset }, 0) end

local function need(tvb, offset, size)
  if size < 0 or offset + size > tvb:len() then misfit(offset) end
end

-- The length before a string, a buffer or a vector; nil for null.
local function count(tvb, offset, smallest)
  need(tvb, offset, 4)
  local length = tvb(offset, 4):int()
  if length == -1 then return nil end
  need(tvb, offset + 4, length * smallest)
  return length
end

local read_record

-- Reads one value and adds it to the tree. `found` gets the first value of each name. Returns the offset after it.
local function read_value(tvb, offset, tree, record, name, kind, found)
  local qualified = record .. "." .. name
  local field = declared[qualified]
  local element = element_of(kind)
  if element then
    local length = count(tvb, offset, 1)
    local branch = tree:add(declared[qualified .. "#"], tvb(offset, 4))
    offset = offset + 4
    for _ = 1, length or 0 do
      if RECORDS[element] then
        offset = read_record(tvb, offset, branch, element, {}, element)
      else
        offset = read_value(tvb, offset, branch, record, name, element, {})
      end
    end
    return offset
  end
  if RECORDS[kind] then return read_record(tvb, offset, tree, kind, {}, name .. ": " .. kind) end
  if kind == "ustring" or kind == "buffer" then
    local length = count(tvb, offset, 1)
    local whole = tvb(offset, 4 + (length or 0))
    if length == nil or length == 0 then
      local item = kind == "ustring" and tree:add(field, whole, "") or tree:add(field, whole)
      item:set_text(name .. ": " .. (length == nil and "null" or "empty"))
    elseif kind == "ustring" then
      local text = tvb(offset + 4, length):string(ENC_UTF_8)
      tree:add(field, whole, text)
      if found[name] == nil then found[name] = text end
    elseif SECRETS[qualified] then
      tree:add(field, tvb(offset + 4, length)):set_text(name .. ": <" .. length .. (length == 1 and " byte>" or " bytes>"))
    else
      tree:add(field, tvb(offset + 4, length))
    end
    return offset + whole:len()
  end
  local size = SIZES[kind]
  need(tvb, offset, size)
  tree:add(field, tvb(offset, size))
  if found[name] == nil then
    local range = tvb(offset, size)
    found[name] = size == 8 and range:uint64() or size == 4 and range:int() or range:uint()
  end
  return offset + size
end

function read_record(tvb, offset, tree, record, found, label)
  need(tvb, offset, 1)
  local branch = tree:add(zk, tvb(offset), label or record)
  local start = offset
  for _, field in ipairs(RECORDS[record]) do
    local is_left_out = field[3] and offset == tvb:len()
    if not is_left_out then offset = read_value(tvb, offset, branch, record, field[1], field[2], found) end
  end
  branch:set_len(offset - start)
  return offset
end

-- multi, multiRead and their replies: a header and a record each, up to a header that says "done".
local function read_sequence(tvb, offset, tree, sequence, found)
  found.items = 0
  while true do
    local header = {}
    local start = offset
    offset = read_record(tvb, offset, tree, SEQUENCE_HEADER, header)
    if header.done ~= 0 then return offset end
    found.items = found.items + 1
    local body = SEQUENCES[sequence][header.type]
    if body == nil then misfit(start) end
    if body then
      local values = {}
      offset = read_record(tvb, offset, tree, body, values)
      if body == ERROR_RECORD and values.err ~= 0 and found.failure == nil then found.failure = values.err end
    end
  end
end

local function read_any(tvb, offset, tree, name, found)
  if SEQUENCES[name] then return read_sequence(tvb, offset, tree, name, found) end
  return read_record(tvb, offset, tree, name, found)
end

-- Connections --------------------------------------------------------------------------------------------------------

local connections = {} -- by tcp.stream
local meanings = {} -- by packet number: what was found in it when it was first seen

local seen = {} -- by packet number: whether it was dissected before
local look -- the packet that is being dissected for the first time, although tshark counts it as visited

function zk.init()
  connections, meanings, seen, look = {}, {}, {}, nil
end

-- Whether this packet is dissected for the first time. tshark -2 also counts packets as visited that it skipped.
local function is_first_look(pinfo)
  local number = pinfo.number
  if pinfo.visited and not seen[number] then look = number end
  seen[number] = true
  return not pinfo.visited or look == number
end

local function is_port(port)
  for range in tostring(zk.prefs.ports):gmatch("[^,]+") do
    local first, last = range:match("^(%d+)-(%d+)$")
    first, last = tonumber(first or range), tonumber(last or range)
    if first and port >= first and port <= last then return true end
  end
  return false
end

-- The first frame of each direction has no header. It starts with protocol version 0, where other frames have their
-- xid. Its password ends at the end of the frame or one byte before; the length of the password is the last fixed field.
local function is_handshake(tvb, side)
  local fixed = LENGTH_SIZE + side.handshake_size
  if tvb:len() < fixed then return false end
  local length = tvb(0, LENGTH_SIZE):int()
  if length > 1024 or tvb(side.at.xid, 4):int() ~= 0 then return false end
  local rest = length - side.handshake_size - tvb(fixed - 4, 4):int()
  return rest == 0 or rest == 1
end

local function connection_of(tvb, pinfo)
  local stream = tcp_stream().value
  local connection = connections[stream]
  if connection == nil then
    local server = pinfo.src_port
    if is_handshake(tvb, SENT) or is_port(pinfo.dst_port) then
      server = pinfo.dst_port
    elseif not is_port(pinfo.src_port) then
      server = math.min(pinfo.src_port, pinfo.dst_port)
    end
    connection = { server = server, unanswered = {}, begun = {}, known = {} }
    connections[stream] = connection
  end
  return connection
end

-- Whether a frame may start here, in a stream of which the beginning or a part was not captured.
local function may_start(tvb, side)
  if tvb:len() < LENGTH_SIZE + side.header_size then return true end
  local length = tvb(0, LENGTH_SIZE):int()
  if length < side.header_size or length > MAX_LENGTH then return false end
  if is_handshake(tvb, side) then return true end
  if side == SENT then return OPERATIONS[tvb(side.at.type, 4):int()] ~= nil end
  return CODES.err[tvb(side.at.err, 4):int()] ~= nil
end

-- What a frame is. It is found out when the frame is first seen, in order, and kept: later, packets come in any order.
local function meaning_of(tvb, pinfo, connection, side)
  local meaning = { side = side, number = pinfo.number, at = pinfo.abs_ts }
  local is_first = not connection.begun[side]
  connection.begun[side] = true
  if is_first and is_handshake(tvb, side) then
    meaning.handshake = side.handshake
    if side == SENT then connection.connect = meaning else meaning.request = connection.connect end
  elseif tvb:len() >= LENGTH_SIZE + side.header_size then
    meaning.xid = tvb(side.at.xid, 4):int()
    if side == SENT then
      meaning.opcode = tvb(side.at.type, 4):int()
      table.insert(connection.unanswered, meaning)
    elseif meaning.xid == NOTIFICATION then
      meaning.event = true
    else
      for place, request in ipairs(connection.unanswered) do
        -- A ping is answered with xid -2, whatever xid it was sent with.
        if meaning.xid == (request.opcode == PING_OPCODE and PING or request.xid) then
          meaning.request = table.remove(connection.unanswered, place)
          meaning.opcode, meaning.path = request.opcode, request.path
          break
        end
      end
    end
  end
  if meaning.request then meaning.request.response = meaning end
  local kept = meanings[pinfo.number] or { next = 0 }
  meanings[pinfo.number] = kept
  kept[#kept + 1] = meaning
  return meaning
end

-- Each time a packet is dissected, all its frames are, in the same order.
local function meaning_again(pinfo)
  local kept = meanings[pinfo.number]
  kept.next = kept.next % #kept + 1
  return kept[kept.next]
end

-- Showing a frame ----------------------------------------------------------------------------------------------------

local function hexadecimal(number) return "0x" .. number:tohex():lower():gsub("^0+(%x)", "%1") end

local function name_of(codes, number) return codes[number] or tostring(number) end

-- The error, or nil. When a multi fails, its header has err 0 and its results have the error.
local function error_of(meaning, found)
  return meaning.opcode == MULTI_OPCODE and found.failure or found.err
end

local function title_of(meaning, found)
  local arrow = meaning.side == SENT and ">" or "<"
  if meaning.handshake then
    local session = found.session_id and hexadecimal(found.session_id) or "0x0"
    return ("%s %s session=%s time_out=%s ms"):format(arrow, meaning.handshake, session, tostring(found.time_out))
  end
  if meaning.event and found.path then
    return ("%s event %s %s"):format(arrow, name_of(EVENT_TYPES, found.type), found.path)
  end
  if meaning.xid == nil then return arrow .. " frame" end
  local words = { arrow, meaning.op, "xid=" .. meaning.xid }
  if meaning.path and meaning.path ~= "" then words[#words + 1] = "path=" .. meaning.path end
  if found.items then words[#words + 1] = "items=" .. found.items end
  if found.err then words[#words + 1] = name_of(CODES.err, error_of(meaning, found)) end
  if found.zxid then words[#words + 1] = "zxid=" .. hexadecimal(found.zxid) end
  return table.concat(words, " ")
end

local function operation_name(meaning)
  if meaning.handshake then return "connect" end
  if meaning.event then return "event" end
  if meaning.opcode == nil then return "reply" end
  return OPCODES[meaning.opcode] or "opcode " .. meaning.opcode
end

-- The records that the frame holds, by name.
local function records_of(meaning, tvb)
  if meaning.handshake then return { meaning.handshake } end
  if meaning.xid == nil then return {} end
  if meaning.event then return EVENT end
  local operation = OPERATIONS[meaning.opcode]
  if meaning.side == SENT then return operation and operation.request or { SENT.header } end
  local is_error = tvb(RECEIVED.at.err, 4):int() ~= 0
  return operation and not is_error and operation.reply or { RECEIVED.header }
end

local function show(tvb, pinfo, root)
  local connection = connection_of(tvb, pinfo)
  local side = pinfo.dst_port == connection.server and SENT or RECEIVED
  local meaning = is_first_look(pinfo) and meaning_of(tvb, pinfo, connection, side) or meaning_again(pinfo)
  meaning.op = operation_name(meaning)
  local tree = root:add(zk, tvb())
  tree:add(f.length, tvb(0, LENGTH_SIZE))
  local found = {}
  local offset = LENGTH_SIZE
  for _, record in ipairs(records_of(meaning, tvb)) do
    local ok, result = pcall(read_any, tvb, offset, tree, record, found)
    if not ok then
      if type(result) ~= "table" then error(result, 0) end -- a fault of this program
      tree:add(f.undecoded, tvb(offset)):add_proto_expert_info(expert_malformed, record)
      offset = tvb:len()
      break
    end
    offset = result
  end
  if offset < tvb:len() then tree:add(f.trailing, tvb(offset)) end

  if meaning.side == SENT or meaning.event then meaning.path = found.path end
  local title = title_of(meaning, found)
  local function note(field, value) if value ~= nil then tree:add(field, value):set_generated() end end
  note(f.title, title)
  note(f.direction, meaning.side == SENT and ">" or "<")
  note(f.op, meaning.op)
  note(f.opcode, meaning.opcode)
  note(f.xid, meaning.xid)
  note(f.path, meaning.path)
  note(f.zxid, found.zxid)
  note(f.err, error_of(meaning, found))
  if meaning.request then
    note(f.request_in, meaning.request.number)
    note(f.time, (meaning.at - meaning.request.at) * 1000)
  end
  if meaning.response then note(f.response_in, meaning.response.number) end
  tree:append_text(", " .. title)

  pinfo.cols.protocol = "ZooKeeper"
  if pinfo.private.zookeeper then
    pinfo.cols.info:append("; " .. title)
  else
    pinfo.cols.info = title
  end
  pinfo.private.zookeeper = "seen"
  return tvb:len()
end

-- Bytes in which no frame starts: a four-letter word, TLS, the rest of a frame whose beginning was not captured.
local function stray(tvb, pinfo, root)
  pinfo.cols.protocol = "ZooKeeper"
  pinfo.cols.info = tvb:len() == 1 and "1 byte that is not a frame" or tvb:len() .. " bytes that are not a frame"
  root:add(zk, tvb()):add(f.stray, tvb())
  return tvb:len()
end

local function frame_length(tvb, _, offset)
  local length = tvb(offset, LENGTH_SIZE):int()
  if length < 0 or length > MAX_LENGTH then return tvb:len() - offset end
  return LENGTH_SIZE + length
end

local function frame(tvb, pinfo, root)
  if tvb(0, LENGTH_SIZE):int() ~= tvb:len() - LENGTH_SIZE then return stray(tvb, pinfo, root) end
  return show(tvb, pinfo, root)
end

-- A packet of which only the beginning was captured: its whole frames. The next bytes can start anywhere in a frame.
local function cut_short(tvb, pinfo, root)
  local offset = 0
  while offset + LENGTH_SIZE <= tvb:len() do
    local length = frame_length(tvb, pinfo, offset)
    if offset + length > tvb:len() then break end
    frame(tvb(offset, length):tvb(), pinfo, root)
    offset = offset + length
  end
  if offset < tvb:len() then stray(tvb(offset):tvb(), pinfo, root) end
end

function zk.dissector(tvb, pinfo, root)
  local connection = connection_of(tvb, pinfo)
  local side = pinfo.dst_port == connection.server and SENT or RECEIVED
  if is_first_look(pinfo) then
    if lost_segment() then connection.known[side] = false end
    if not connection.known[side] and not may_start(tvb, side) then
      connection.strays = connection.strays or {}
      connection.strays[pinfo.number] = true
    else
      connection.known[side] = true
    end
  end
  if connection.strays and connection.strays[pinfo.number] then return stray(tvb, pinfo, root) end
  if tvb:len() < tvb:reported_len() then
    if is_first_look(pinfo) then connection.known[side] = false end
    cut_short(tvb, pinfo, root)
    return tvb:len()
  end
  dissect_tcp_pdus(tvb, root, LENGTH_SIZE, frame_length, frame)
  return tvb:len()
end

local by_port = DissectorTable.get("tcp.port")
local registered = ""

function zk.prefs_changed()
  if registered ~= "" then by_port:remove(registered, zk) end
  registered = zk.prefs.ports
  if registered ~= "" then by_port:add(registered, zk) end
end

registered = zk.prefs.ports
by_port:add(registered, zk)

-- Any other port, if the first bytes sent to it are a ConnectRequest.
zk:register_heuristic("tcp", function(tvb, pinfo, root)
  if not is_handshake(tvb, SENT) or tvb(0, LENGTH_SIZE):int() > tvb:len() - LENGTH_SIZE then return false end
  pinfo.conversation = zk
  zk.dissector(tvb, pinfo, root)
  return true
end)
