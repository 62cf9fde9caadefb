-- Where a message goes: trust, Eval by the owner, the handlers, the Inbox; and what comes out.
local host = ...

local MAX_INBOX = 10000

Inbox = {}
Name = "aopeer"
Owner = nil
local ready = false

function Prompt() return tostring(Name) .. "@aopeer[Inbox:" .. #Inbox .. "]> " end

local function init(msg, env)
  ready = true
  ao.init(env)
  host.seed(table.concat({ ao.id, tostring(msg.Id), tostring(msg.Timestamp), tostring(msg["Block-Height"]) }, "/"))
  Owner = env.Process.Owner
  for _, t in ipairs(env.Process.Tags or {}) do
    if t.name == "Name" then Name = t.value end
    if t.name == "From-Process" then Owner = t.value end
  end
end

-- eval runs code, as an expression if it is one, and shows what it returns.
local function eval(code)
  -- A variable to be closed keeps what is returned from being a tail call, whose errors would not be placed in it.
  local fn = load("local __eval <close> = nil return " .. code, "eval") or load("local __eval <close> = nil " .. code, "eval")
  if not fn then error(select(2, load(code, "eval")), 0) end
  local r = table.pack(fn())
  for i = 1, r.n do r[i] = dump(r[i]) end
  if r.n > 0 then print(table.concat(r, "\t", 1, r.n)) end
end

local function short(s)
  s = tostring(s)
  return #s > 7 and s:sub(1, 3) .. "..." .. s:sub(-3) or s
end

local function inbox(msg)
  local what = msg.Action and "Action = " .. tostring(msg.Action) or "Data = " .. tostring(msg.Data):sub(1, 20)
  print("New Message From " .. short(msg.From) .. ": " .. what)
  if #Inbox >= MAX_INBOX then table.remove(Inbox, 1) end
  table.insert(Inbox, msg)
end

-- dispatch is one message, inside a coroutine so that it may wait for others.
local function dispatch(msg, env)
  if msg.Id == ao.id then
    if msg.Tags["On-Boot"] == "Data" then eval(msg.Data) end
  elseif not ao.isTrusted(msg) then
    print("Message is not trusted! From: " .. tostring(msg.From) .. " - Owner: " .. tostring(msg.Owner))
  elseif ao.isAssignment(msg) and not ao.isAssignable(msg) then
    print("Assignment is not trusted! From: " .. tostring(msg.From) .. " - Target: " .. tostring(msg.Target))
  elseif msg.Action == "Eval" and msg.From == Owner then
    eval(msg.Data)
  elseif not Handlers.evaluate(msg, env) then
    inbox(msg)
  end
end

local function errorText(err, trace)
  if type(err) == "table" then
    local ok, s = pcall(host.encode, err)
    err = ok and s or tostring(err)
  end
  err = tostring(err)
  return trace ~= "" and err .. "\nstack traceback:\n" .. trace or err
end

return function(msg, env)
  if type(msg) ~= "table" or type(env) ~= "table" or type(env.Process) ~= "table" then error("malformed message or environment", 0) end
  host.begin(msg.Timestamp or 0)
  ao.clearOutbox()
  if not ready then init(msg, env) end
  ao.decorate(ao.normalize(msg))
  local isEval = msg.Action == "Eval" and msg.From == Owner
  local co = coroutine.create(dispatch)
  local ok, err = coroutine.resume(co, msg, env)
  if not ok then return { Error = errorText(err, host.traceback(co)) } end
  local box = ao.outbox
  local output = box.Output
  if type(output) == "table" and next(output) == nil then
    output = { data = host.printed(), prompt = Prompt(), print = not isEval }
  end
  return { Output = output, Messages = box.Messages, Spawns = box.Spawns, Assignments = box.Assignments }
end
