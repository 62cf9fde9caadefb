-- Handlers: an ordered list of patterns and what to do about the messages that match.
local MAX_WAITING = 1000

Handlers = { _version = "1.0.0", list = {}, utils = {} }
local utils = Handlers.utils
local nonce, waiting = 0, 0

-- A value matches a text that is equal to it, a Lua pattern, a predicate, or any of a list of these. "_" is anything.
local function matchesValue(pattern, value, msg)
  if pattern == "_" then return value ~= nil end
  local kind = type(pattern)
  if kind == "function" then
    local r = pattern(value, msg)
    return r ~= nil and r ~= false
  elseif kind == "string" then
    if value == pattern then return true end
    return type(value) == "string" and pattern:find("[%^%$%(%)%%%.%[%]%*%+%-%?]") ~= nil and value:match(pattern) ~= nil
  elseif kind == "table" then
    for _, p in ipairs(pattern) do
      if matchesValue(p, value, msg) then return true end
    end
    return false
  end
  return value == pattern
end

local verdicts = { skip = 0, continue = 1, ["break"] = -1 }

-- Handlers.match says what a pattern makes of a message: 0 skip it, 1 run and go on, -1 run and stop.
function Handlers.match(msg, pattern)
  local kind = type(pattern)
  if kind == "string" then return msg.Action == pattern and -1 or 0 end
  if kind == "function" then
    local r = pattern(msg)
    if type(r) == "number" then return r == 0 and 0 or (r > 0 and 1 or -1) end
    if r == nil or r == false then return 0 end
    return verdicts[r] or -1
  end
  if kind ~= "table" then error("a pattern is a function, a table or an Action", 2) end
  for k, p in pairs(pattern) do
    local fits = msg[k] ~= nil and matchesValue(p, msg[k], msg)
    if not fits and msg.Tags[k] ~= nil then fits = matchesValue(p, msg.Tags[k], msg) end
    if not fits then return 0 end
  end
  return -1
end

local function find(name)
  for i, h in ipairs(Handlers.list) do
    if h.name == name then return i end
  end
end

-- resolver turns a table of patterns and functions into one function.
local function resolver(handle)
  if type(handle) ~= "table" then return handle end
  return function(msg, env)
    for pattern, fn in pairs(handle) do
      if Handlers.match(msg, pattern) ~= 0 then return fn(msg, env) end
    end
  end
end

local function entry(name, pattern, handle, runs)
  if type(name) ~= "string" then error("a handler needs a name", 3) end
  if handle == nil then pattern, handle = name, pattern end
  handle = resolver(handle)
  if type(handle) ~= "function" then error("handler " .. name .. " needs a function", 3) end
  if runs ~= nil and runs ~= "inf" and (math.type(runs) ~= "integer" or runs < 1) then error("handler " .. name .. ": bad number of runs", 3) end
  return { name = name, pattern = pattern, handle = handle, runs = runs ~= "inf" and runs or nil }
end

-- place puts a handler at position at; one of that name is replaced where it stands.
local function place(h, at)
  local i = find(h.name)
  if i then
    Handlers.list[i].gone = true
    Handlers.list[i] = h
  else
    table.insert(Handlers.list, at, h)
  end
end

function Handlers.add(...) place(entry(...), #Handlers.list + 1) end
Handlers.append = Handlers.add
function Handlers.prepend(...) place(entry(...), 1) end

function Handlers.remove(name)
  local i = find(name)
  if i then table.remove(Handlers.list, i).gone = true end
end

local function relative(offset)
  return function(name)
    local i = find(name)
    if not i then error("no handler " .. tostring(name), 2) end
    return { add = function(...) place(entry(...), i + offset) end }
  end
end
Handlers.before, Handlers.after = relative(0), relative(1)

-- Handlers.once runs a handler for the first match only.
function Handlers.once(name, pattern, handle)
  if handle == nil then
    nonce = nonce + 1
    name, pattern, handle = "_once_" .. nonce, name, pattern
  end
  place(entry(name, pattern, handle, 1), 1)
end

-- Handlers.receive waits, in this or a later message, for one that matches.
function Handlers.receive(pattern)
  local me, main = coroutine.running()
  if main then error("Receive needs a coroutine", 2) end
  if waiting >= MAX_WAITING then error("too many waiting Receives", 2) end
  waiting = waiting + 1
  Handlers.once(pattern, function(msg)
    waiting = waiting - 1
    local ok, err = coroutine.resume(me, msg)
    if not ok then error(err, 0) end
  end)
  return coroutine.yield()
end
Receive = Handlers.receive

-- Handlers.evaluate runs what matches and says whether the message is done with.
function Handlers.evaluate(msg, env)
  local list = table.move(Handlers.list, 1, #Handlers.list, 1, {})
  for _, h in ipairs(list) do
    local verdict = h.gone and 0 or Handlers.match(msg, h.pattern)
    if verdict ~= 0 then
      if h.runs then
        h.runs = h.runs - 1
        if h.runs == 0 then Handlers.remove(h.name) end
      end
      h.handle(msg, env)
      if verdict < 0 then return true end
    end
  end
  return false
end

function utils.hasMatchingTag(name, value)
  return function(msg) return msg.Tags[name] == value end
end

function utils.hasMatchingTagOf(name, values)
  return function(msg)
    for _, v in ipairs(values) do
      if msg.Tags[name] == v then return -1 end
    end
    return 0
  end
end

function utils.hasMatchingData(value)
  return function(msg) return msg.Data == value end
end

function utils.reply(answer)
  return function(msg)
    if type(answer) == "table" then return msg.reply(answer) end
    return msg.reply({ Data = answer })
  end
end

function utils.continue(pattern)
  return function(msg)
    if Handlers.match(msg, pattern) == 0 then return 0 end
    return 1
  end
end
