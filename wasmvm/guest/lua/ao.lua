-- The ao table: who this process is, whom it trusts, and what it sends.
local host = ...

local VARIANT = "ao.TN.1"

ao = { _version = "1.0.0", id = "", _module = "", env = {}, authorities = {}, assignables = {}, reference = 0, outbox = {} }

function ao.clearOutbox() ao.outbox = { Output = {}, Messages = {}, Spawns = {}, Assignments = {} } end
ao.clearOutbox()

-- Fields that a tag never sets: what the scheduler and the signature vouch for, and what the runtime adds.
local fixed = {}
for name in ([[Id Signature Data Owner Target Anchor From Forwarded-By Tags TagArray Epoch Nonce Slot Timestamp Block-Height Hash-Chain
  Cron Read-Only Module Data-Protocol Variant Type From-Process From-Module Pushed-For reply forward receive onReply]]):gmatch("%S+") do
  fixed[name] = true
end

-- Keys of an outgoing message that are no tags, or that the protocol sets.
local reserved = {}
for name in ([[Target Data Anchor Tags TagArray Data-Protocol Variant Type Reference Id Owner From Signature receive onReply after]]):gmatch("%S+") do
  reserved[name] = true
end

-- ao.normalize gives a message its tags by name and as fields.
function ao.normalize(msg)
  local list = msg.TagArray or msg.Tags or {}
  local tags = {}
  for _, t in ipairs(list) do
    if type(t) == "table" and type(t.name) == "string" then tags[t.name] = t.value end
  end
  msg.TagArray, msg.Tags = list, tags
  for _, t in ipairs(list) do
    if type(t) == "table" and type(t.name) == "string" and not fixed[t.name] then msg[t.name] = tags[t.name] end
  end
  return msg
end

local function text(v)
  if type(v) == "string" then return v end
  if type(v) == "table" then return json.encode(v) end
  return tostring(v)
end

local function sortedKeys(t)
  local keys = {}
  for k in pairs(t) do
    if type(k) == "string" then keys[#keys + 1] = k end
  end
  table.sort(keys)
  return keys
end

-- addTags appends the tags of a message: its own fields, then Tags, as a map or a list.
local function addTags(out, msg)
  for _, k in ipairs(sortedKeys(msg)) do
    if not reserved[k] then
      if type(msg[k]) == "function" then error("tag " .. k .. " is a function", 3) end
      out[#out + 1] = { name = k, value = text(msg[k]) }
    end
  end
  local tags = msg.Tags
  if tags == nil then return end
  if type(tags) ~= "table" then error("Tags must be a table", 3) end
  if #tags > 0 then
    for _, t in ipairs(tags) do
      if type(t) ~= "table" or type(t.name) ~= "string" then error("Tags must hold { name, value } pairs", 3) end
      if not reserved[t.name] then out[#out + 1] = { name = t.name, value = text(t.value) } end
    end
    return
  end
  for _, k in ipairs(sortedKeys(tags)) do
    if not reserved[k] then out[#out + 1] = { name = k, value = text(tags[k]) } end
  end
end

local function draft(kind, msg)
  ao.reference = ao.reference + 1
  local ref = string.format("%d", ao.reference)
  local out = {
    Target = msg.Target ~= nil and text(msg.Target) or "",
    Data = msg.Data ~= nil and text(msg.Data) or "",
    Anchor = string.rep("0", 32 - #ref) .. ref,
    Tags = {
      { name = "Data-Protocol", value = "ao" }, { name = "Variant", value = VARIANT },
      { name = "Type", value = kind }, { name = "Reference", value = ref },
    },
  }
  return out, ref
end

-- handle is what a sender holds: the draft, and ways to wait for what comes back.
local function handle(out, pattern)
  local h = { Target = out.Target, Data = out.Data, Anchor = out.Anchor, Tags = out.Tags }
  function h.receive(from) return Handlers.receive(pattern(from)) end
  function h.onReply(from, fn)
    if fn == nil then from, fn = nil, from end
    Handlers.once(pattern(from), fn)
    return h
  end
  h.after = h.onReply
  return h
end

-- ao.send puts a message into the outbox.
function ao.send(msg)
  if type(msg) ~= "table" then error("Send needs a table", 2) end
  local out, ref = draft("Message", msg)
  addTags(out.Tags, msg)
  table.insert(ao.outbox.Messages, out)
  return handle(out, function(from) return { From = from or out.Target, ["X-Reference"] = ref } end)
end

-- ao.spawn asks for a new process of a module; it trusts whom this process trusts, unless msg says otherwise.
function ao.spawn(module, msg)
  if type(module) ~= "string" then error("Spawn needs a module", 2) end
  msg = msg or {}
  if type(msg) ~= "table" then error("Spawn needs a table", 2) end
  local out, ref = draft("Process", msg)
  out.Target = nil
  addTags(out.Tags, msg)
  local own, trusted = {}, false
  for _, t in ipairs(out.Tags) do
    if t.name ~= "Module" then own[#own + 1] = t end
    trusted = trusted or t.name == "Authority"
  end
  own[#own + 1] = { name = "Module", value = module }
  if not trusted then
    for _, a in ipairs(ao.authorities) do own[#own + 1] = { name = "Authority", value = a } end
  end
  out.Tags = own
  table.insert(ao.outbox.Spawns, out)
  return handle(out, function() return { Action = "Spawned", From = ao.id, Reference = ref } end)
end

-- ao.assign asks that a message be put into the logs of other processes too.
function ao.assign(a)
  if type(a) ~= "table" or type(a.Processes) ~= "table" or type(a.Message) ~= "string" then
    error("Assign needs { Processes = { ... }, Message = id }", 2)
  end
  table.insert(ao.outbox.Assignments, { Processes = a.Processes, Message = a.Message, BaseLayer = a.BaseLayer, Exclude = a.Exclude })
end

-- ao.result sets the answer's Output by hand.
function ao.result(r)
  if type(r) == "table" and r.Output ~= nil then ao.outbox.Output = r.Output end
  return ao.outbox
end

-- ao.isTrusted: the sender signed it himself, or a unit named in an Authority tag did.
function ao.isTrusted(msg)
  if msg.From == msg.Owner then return true end
  for _, a in ipairs(ao.authorities) do
    if msg.Owner == a then return true end
  end
  return false
end

-- A message for somebody else that was assigned here runs only if the process said that it wants such.
function ao.isAssignment(msg) return type(msg.Target) == "string" and msg.Target ~= "" and msg.Target ~= ao.id end

function ao.addAssignable(name, pattern)
  if pattern == nil then name, pattern = nil, name end
  if name then ao.removeAssignable(name) end
  table.insert(ao.assignables, { name = name, pattern = pattern })
end

function ao.removeAssignable(name)
  for i = #ao.assignables, 1, -1 do
    if ao.assignables[i].name == name then table.remove(ao.assignables, i) end
  end
end

function ao.isAssignable(msg)
  for _, a in ipairs(ao.assignables) do
    if Handlers.match(msg, a.pattern) ~= 0 then return true end
  end
  return false
end

-- ao.decorate adds reply and forward to an incoming message.
function ao.decorate(msg)
  function msg.reply(answer)
    local out = {}
    for k, v in pairs(answer or {}) do out[k] = v end
    out.Target = msg["Reply-To"] or out.Target or msg.From
    out["X-Reference"] = msg["X-Reference"] or msg.Reference
    out["X-Origin"] = msg["X-Origin"]
    return ao.send(out)
  end
  function msg.forward(target, extra)
    local out = { Data = msg.Data, Tags = {} }
    for _, t in ipairs(msg.TagArray) do
      if not fixed[t.name] and not reserved[t.name] and t.name ~= "Reply-To" then out.Tags[t.name] = t.value end
    end
    for k, v in pairs(extra or {}) do
      if k == "Tags" then
        for name, value in pairs(v) do out.Tags[name] = value end
      else
        out[k] = v
        out.Tags[k] = nil
      end
    end
    out.Target = target
    out["Reply-To"] = msg["Reply-To"] or msg.From
    out["X-Reference"] = msg["X-Reference"] or msg.Reference
    out["X-Origin"] = msg["X-Origin"] or msg.From
    out.Tags["X-Reference"], out.Tags["X-Origin"] = nil, nil
    return ao.send(out)
  end
  return msg
end

-- ao.init reads who this process is from its environment.
function ao.init(env)
  ao.env = env
  ao.id = env.Process.Id
  ao._module = env.Module and env.Module.Id or ""
  ao.authorities = {}
  for _, t in ipairs(env.Process.Tags or {}) do
    if t.name == "Authority" then
      for a in t.value:gmatch("[^,%s]+") do table.insert(ao.authorities, a) end
    end
  end
end

Send, Spawn, Assign = ao.send, ao.spawn, ao.assign
