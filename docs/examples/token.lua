-- A token for aos processes. Load it with:  aopeer eval PROCESS --file token.lua
-- Quantities are whole numbers of the smallest unit, as decimal text; Denomination says how many of their digits are decimals.

local bint = require(".bint")(256)
local json = require("json")

Name = Name or "Example" -- aos has one already, the name of its process
Ticker = Ticker or "EXA"
Logo = Logo or ""
Denomination = Denomination or "12"
TotalSupply = TotalSupply or "0"
Balances = Balances or {}

local digits = 76 -- what is shorter, and the sum of two of them, fits into 256 bits

local function quantity(text)
  assert(type(text) == "string" and text:match("^%d+$") and #text <= digits, "Quantity must be a whole number")
  local n = bint(text)
  assert(bint.ispos(n), "Quantity must be more than zero")
  return n
end

local function sum(a, b)
  local text = tostring(bint(a) + bint(b))
  assert(#text <= digits, "too many tokens")
  return text
end

-- The tags that a sender wants its notices to carry.
local function extra(msg, notice)
  for name, value in pairs(msg.Tags) do
    if name:sub(1, 2) == "X-" and notice[name] == nil then notice[name] = value end
  end
  return notice
end

Handlers.add("Info", "Info", function(msg)
  msg.reply({ Name = Name, Ticker = Ticker, Logo = Logo, Denomination = Denomination, Supply = TotalSupply })
end)

Handlers.add("Balance", "Balance", function(msg)
  local account = msg.Tags.Recipient or msg.Tags.Target or msg.From
  local balance = Balances[account] or "0"
  msg.reply({ Balance = balance, Ticker = Ticker, Account = account, Data = balance })
end)

Handlers.add("Balances", "Balances", function(msg)
  msg.reply({ Data = next(Balances) and json.encode(Balances) or "{}" })
end)

Handlers.add("Total-Supply", "Total-Supply", function(msg)
  assert(msg.From ~= ao.id, "a token does not ask itself")
  msg.reply({ Action = "Total-Supply", Data = TotalSupply, Ticker = Ticker })
end)

Handlers.add("Transfer", "Transfer", function(msg)
  local sender, recipient = msg.From, msg.Tags.Recipient
  assert(type(recipient) == "string" and recipient ~= "", "Recipient is missing")
  local amount = quantity(msg.Tags.Quantity)
  Balances[sender], Balances[recipient] = Balances[sender] or "0", Balances[recipient] or "0"
  if bint(Balances[sender]) < amount then
    msg.reply({ Action = "Transfer-Error", ["Message-Id"] = msg.Id, Error = "Insufficient Balance!" })
    return
  end
  Balances[sender] = tostring(bint(Balances[sender]) - amount)
  Balances[recipient] = sum(Balances[recipient], amount)
  if msg.Tags.Cast then return end
  local text = tostring(amount)
  msg.reply(extra(msg, {
    Action = "Debit-Notice", Recipient = recipient, Quantity = text, Data = "You sent " .. text .. " to " .. recipient,
  }))
  Send(extra(msg, {
    Target = recipient, Action = "Credit-Notice", Sender = sender, Quantity = text, Data = "You received " .. text .. " from " .. sender,
  }))
end)

Handlers.add("Mint", "Mint", function(msg)
  local amount = quantity(msg.Tags.Quantity)
  if msg.From ~= ao.id then
    msg.reply({ Action = "Mint-Error", ["Message-Id"] = msg.Id, Error = "Only the process itself mints." })
    return
  end
  TotalSupply = sum(TotalSupply, amount)
  Balances[ao.id] = sum(Balances[ao.id] or "0", amount)
end)

return "token " .. Ticker .. " is ready"
