-- What scripts expect around the standard libraries: json, os.time, print into the answer, require.
local host = ...

json = { encode = host.encode, decode = host.decode }

-- The only time there is: that of the message at hand, in milliseconds, as in aos.
local now = 0
os = {
  time = function() return now end,
  clock = function() return 0.0 end,
}

-- The interpreter keeps error handlers per runtime, not per coroutine, so one must not outlive a yield.
function xpcall(f, handler, ...)
  local r = table.pack(pcall(f, ...))
  if r[1] then return table.unpack(r, 1, r.n) end
  return false, handler(r[2])
end

local printed = {}

function print(...)
  local t = table.pack(...)
  for i = 1, t.n do t[i] = type(t[i]) == "table" and dump(t[i]) or tostring(t[i]) end
  printed[#printed + 1] = table.concat(t, "\t", 1, t.n)
end

local function keyLess(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return ta < tb end
  if ta == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function quote(s) return host.encode(s) end

local function render(v, indent, seen, depth)
  if type(v) == "string" then return quote(v) end
  if type(v) ~= "table" then return tostring(v) end
  local meta = getmetatable(v)
  if type(meta) == "table" and meta.__tostring then return tostring(v) end
  if seen[v] then return "<cycle>" end
  if depth > 20 then return "{ ... }" end
  seen[v] = true
  local keys, out, n = {}, {}, #v
  for k in pairs(v) do
    if not (math.type(k) == "integer" and k >= 1 and k <= n) then keys[#keys + 1] = k end
  end
  table.sort(keys, keyLess)
  local inner = indent .. "  "
  for i = 1, n do out[#out + 1] = inner .. render(v[i], inner, seen, depth + 1) end
  for _, k in ipairs(keys) do
    local name = type(k) == "string" and k:match("^[%a_][%w_]*$") or "[" .. render(k, inner, seen, depth + 1) .. "]"
    out[#out + 1] = inner .. name .. " = " .. render(v[k], inner, seen, depth + 1)
  end
  seen[v] = nil
  if #out == 0 then return "{ }" end
  return "{\n" .. table.concat(out, ",\n") .. "\n" .. indent .. "}"
end

-- dump shows any value as text, with keys in order.
function dump(v)
  if type(v) == "string" then return v end
  return render(v, "", {}, 0)
end

local modules = { json = function() return json end, ao = function() return ao end, [".handlers"] = function() return Handlers end,
  [".handlers-utils"] = function() return Handlers.utils end, [".stringify"] = function() return { format = dump } end }
package = { loaded = {} }

-- require knows what is built in and what scripts put into package.loaded; there are no files.
function require(name)
  local found = package.loaded[name]
  if found == nil and modules[name] then found = modules[name]() end
  if found == nil then error("module '" .. tostring(name) .. "' not found", 2) end
  return found
end

function host.begin(time)
  now = time
  printed = {}
end

function host.printed() return table.concat(printed, "\n") end
