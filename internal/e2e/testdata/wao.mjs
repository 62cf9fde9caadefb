// Drives a devnet with npm wao as a client, and the older aoconnect inside it: node wao.mjs DEVNET.JSON
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { AO } from 'wao'
import Arweave from 'arweave'

const d = JSON.parse(readFileSync(process.argv[2]))
const gateway = new URL(d.gateway)
const jwk = await Arweave.init({}).wallets.generate()
const ao = await new AO({
  wao: false, module: d.module, scheduler: d.scheduler, authority: d.authority,
  aoconnect: { MU_URL: d.mu, CU_URL: d.cu, SU_URL: d.su, GATEWAY_URL: d.gateway },
  ar: { host: gateway.hostname, port: Number(gateway.port), protocol: 'http' }
}).init(jwk)
const good = (what, r) => { assert(!r.err, what + ': ' + (r.err?.stack ?? r.err)); return r }
// What was done in several steps has a result for each.
const output = (r) => {
  const { Output } = Array.isArray(r.res) ? r.res.at(-1).res : r.res
  return String(Output.data.output ?? Output.data)
}

const { pid: alice } = good('spawn', await ao.spwn({ tags: { Name: 'alice' } }))
const { pid: bob } = good('spawn', await ao.spwn({ tags: { Name: 'bob' } }))
assert.match(output(good('eval', await ao.eval({ pid: alice, data: 'return 1 + 1' }))), /2/)
good('load', await ao.load({ pid: bob, fills: { WORD: 'pong' }, data: `Handlers.add("ping", "Ping", function(msg)
  Pings = (Pings or 0) + 1
  msg.reply({ Data = "<WORD> " .. Pings, Action = "Pong" })
end)` }))
console.log('spawned, evaluated, loaded')

const pong = good('message', await ao.msg({ pid: bob, act: 'Ping', check: /pong 1/ }))
assert.equal(pong.res.Messages[0].Data, 'pong 1')
good('send', await ao.msg({ pid: alice, data: `Send({ Target = "${bob}", Action = "Ping" }) return "sent"` }))
for (const end = Date.now() + 60_000; ;) {
  const r = good('inbox', await ao.msg({ pid: alice, data: 'return Inbox[#Inbox] and Inbox[#Inbox].Data or "nothing"' }))
  if (/pong 2/.test(output(r))) break
  assert(Date.now() < end, 'no answer')
}
console.log('ping, pong')

assert.equal(good('dry-run', await ao.dry({ pid: bob, act: 'Ping' })).res.Messages[0].Data, 'pong 3')
assert.equal(good('dry-run', await ao.dry({ pid: bob, act: 'Ping' })).res.Messages[0].Data, 'pong 3')
console.log('dry-run')

// wao looks for another name than any computer gives to say that there are more, so that its own paging ends with an error.
const all = []
for (let cursor; ;) {
  const { res } = await ao.ress({ pid: alice, limit: 2, asc: true, cursor })
  if (res.edges.length === 0) break
  all.push(...res.edges)
  cursor = all[all.length - 1].cursor
}
const newest = await ao.ress({ pid: alice, limit: 1 })
assert.equal(JSON.parse(atob(newest.res.edges[0].cursor)).ordinate, String(all.length - 1))
console.log(all.length, 'results')

good('allow', await ao.eval({ pid: bob, data: 'ao.addAssignable("note", { Action = "Note" }) return "allowed"' }))
good('load', await ao.load({ pid: bob, data: 'Handlers.add("note", "Note", function(msg) Noted = msg.Target end) return "listens"' }))
const note = good('note', await ao.msg({ pid: alice, act: 'Note', data: 'a note' }))
good('assign', await ao.asgn({ pid: bob, mid: note.mid }))
assert.match(output(good('noted', await ao.eval({ pid: bob, data: 'return Noted' }))), new RegExp(alice))
console.log('assigned')

const { pid: clock } = good('spawn', await ao.spwn({ tags: { Name: 'clock', 'Cron-Interval': '1-second', 'Cron-Tag-Action': 'Cron' } }))
good('load', await ao.load({ pid: clock, data: `Handlers.add("tick", "Cron", function(msg)
  Ticks = (Ticks or 0) + 1
  Send({ Target = "${bob}", Action = "Tick" })
end) return "ticks"` }))
good('listen', await ao.load({ pid: bob, data: 'Handlers.add("ticked", "Tick", function() Ticked = (Ticked or 0) + 1 end) return "listens"' }))
const ticked = async () => Number(output(good('ticked', await ao.eval({ pid: bob, data: 'return tostring(Ticked or 0)' }))).replace(/\x1B\[[0-9;]*m/g, ''))
await ao.monitor({ process: clock, signer: ao.toSigner(jwk) })
for (const end = Date.now() + 90_000; await ticked() < 2;) assert(Date.now() < end, 'no ticks')
await ao.unmonitor({ process: clock, signer: ao.toSigner(jwk) })
console.log('ticked')
process.exit(0) // it leaves timers behind
