// Drives a devnet as its users do, with stock aoconnect in legacy mode: node aoconnect.mjs DEVNET.JSON SIGNER
import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'

const d = JSON.parse(readFileSync(process.argv[2]))
process.env.GATEWAY_URL = d.gateway
process.env.GRAPHQL_URL = d.gateway + '/graphql'

// Stock clients ask the public network's router for every process first. It does not know those of a devnet.
const wire = globalThis.fetch
globalThis.fetch = (url, ...rest) =>
  String(url).includes('su-router.ao-testnet.xyz') ? Promise.resolve(new Response('', { status: 400 })) : wire(url, ...rest)

const { connect, createDataItemSigner } = await import('@permaweb/aoconnect')
const { default: Arweave } = await import('arweave')

// A signer of each kind, and the address that a process sees.
const signers = {
  rsa: async () => {
    const arweave = Arweave.init({})
    const key = await arweave.wallets.generate()
    return [createDataItemSigner(key), await arweave.wallets.jwkToAddress(key)]
  },
  ed25519: async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url')
    return [async (create) => {
      const message = await create({ publicKey: raw, type: 2, alg: 'ed25519' })
      return { signature: sign(null, message, privateKey), address: '' }
    }, '']
  },
  ethereum: async () => {
    const { Wallet } = await import('@ethersproject/wallet')
    const wallet = Wallet.createRandom()
    const key = Buffer.from(wallet._signingKey().publicKey.slice(2), 'hex')
    return [async (create) => {
      const message = await create({ publicKey: key, type: 3, alg: 'secp256k1' })
      return { signature: Buffer.from((await wallet.signMessage(message)).slice(2), 'hex'), address: wallet.address }
    }, wallet.address]
  }
}

const ao = connect({ MODE: 'legacy', MU_URL: d.mu, CU_URL: d.cu, GATEWAY_URL: d.gateway })
const [signer, address] = await signers[process.argv[3]]()
const tags = (t) => Object.entries(t).map(([name, value]) => ({ name, value }))
const spawn = (more) => ao.spawn({ module: d.module, scheduler: d.scheduler, signer, tags: tags({ Authority: d.authority, ...more }) })
const text = (r) => typeof r.Output?.data === 'string' ? r.Output.data : r.Output?.data?.output
// Stock clients set no anchor, and two of these kinds of signatures repeat: what is to happen twice has to differ.
let count = 0
const evaluate = async (process, data) => {
  const message = await ao.message({ process, signer, data, tags: tags({ Action: 'Eval', Count: String(count++) }) })
  return [await ao.result({ process, message }), message]
}
const until = async (what, ok) => {
  for (const end = Date.now() + 60_000; !await ok(); await new Promise((resolve) => setTimeout(resolve, 100))) {
    assert(Date.now() < end, 'no ' + what)
  }
}
const slot = (cursor) => JSON.parse(Buffer.from(cursor, 'base64')).ordinate
const say = (...a) => console.log(...a)

// A process, and what it answers.
const alice = await spawn({ Name: 'alice' })
assert.equal((await ao.result({ process: alice, message: alice })).Error, undefined)
const [two, first] = await evaluate(alice, '1 + 1')
assert.equal(text(two), '2')
assert.deepEqual(Object.keys(two).filter((k) => k !== 'GasUsed'), ['Messages', 'Assignments', 'Spawns', 'Output'])
await evaluate(alice, 'Count = 1')
const [failed] = await evaluate(alice, 'Count = 2 error("boom")')
assert.match(String(failed.Error), /boom/)
if (address) assert.equal(text((await evaluate(alice, 'return Owner'))[0]), address)
else await evaluate(alice, 'return Owner')
say('spawned, evaluated, failed')

// Two processes talk.
const bob = await spawn({ Name: 'bob' })
await evaluate(bob, `Handlers.add("ping", Handlers.utils.hasMatchingTag("Action", "Ping"), function(msg)
  Pings = (Pings or 0) + 1
  Send({ Target = msg.From, Action = "Pong", Data = "pong " .. Pings })
end)`)
const [asked] = await evaluate(alice, `Send({ Target = "${bob}", Action = "Ping" }) return "sent"`)
assert.equal(asked.Messages.length, 1)
assert.equal(asked.Messages[0].Target, bob)
await until('answer', async () => text((await evaluate(alice, 'return Inbox[#Inbox] and Inbox[#Inbox].Data or ""'))[0]) === 'pong 1')
say('talked')

// Results, page by page, forwards and backwards.
const walk = async (sort, bound) => {
  const all = []
  for (let cursor; ;) {
    const page = await ao.results({ process: alice, sort, limit: 3, ...(cursor ? { [bound]: cursor } : {}) })
    const fresh = page.edges.filter((e) => !all.some((a) => slot(a.cursor) === slot(e.cursor)))
    if (fresh.length === 0) return all
    all.push(...fresh)
    cursor = all[all.length - 1].cursor
  }
}
const forwards = await walk('ASC', 'from')
const backwards = await walk('DESC', 'to')
assert.deepEqual(forwards.map((e) => slot(e.cursor)), forwards.map((_, i) => String(i)))
assert.deepEqual(backwards.map((e) => slot(e.cursor)), forwards.map((e) => slot(e.cursor)).reverse())
assert.equal(text(forwards[1].node), '2')
assert.match(String(forwards[3].node.Error), /boom/)
say(forwards.length, 'results, both ways')

// Dry-runs see the state and leave no trace.
const dry = () => ao.dryrun({ process: bob, data: 'x', tags: tags({ Action: 'Ping' }) })
assert.equal((await dry()).Messages[0].Data, 'pong 2')
assert.equal((await dry()).Messages[0].Data, 'pong 2')
say('dry-run')

// The log, as the scheduler tells it. A process is found by what is settled.
await until('settled process', async () => {
  const found = await wire(d.gateway + '/' + alice)
  return found.ok && found.headers.get('scheduler') === d.scheduler
})
const last = Number(await ao.getLastSlot({ processId: alice }))
assert.equal(last, forwards.length - 1)
const page = await ao.getMessages({ processId: alice, from: '0', to: String(Date.now()), limit: '1000' })
assert.equal(page.edges.length, last)
assert.equal(page.edges[0].node.message.id, first)
assert.equal((await ao.getMessageById({ processId: alice, messageId: first })).message.data, '1 + 1')
say('log')

// An existing message goes to one more process.
const note = await ao.message({ process: alice, signer, data: 'a note', tags: tags({ Action: 'Note', Colour: 'red' }) })
await evaluate(bob, `ao.addAssignable("note", { Action = "Note" })
Handlers.add("note", Handlers.utils.hasMatchingTag("Action", "Note"), function(msg)
  Noted = msg.Target .. " " .. tostring(msg.Data)
end)`)
const assigned = await ao.assign({ process: bob, message: note })
const seen = await ao.result({ process: bob, message: assigned })
assert.equal(seen.Error, undefined)
assert.equal(text((await evaluate(bob, 'return Noted'))[0]), alice + ' a note')
const hidden = await ao.message({ process: alice, signer, data: 'a secret', tags: tags({ Action: 'Note' }) })
await ao.assign({ process: bob, message: hidden, exclude: ['Data'] })
await until('note', async () => text((await evaluate(bob, 'return Noted'))[0]) !== alice + ' a note')
assert.doesNotMatch(text((await evaluate(bob, 'return Noted'))[0]), /secret/)
assert.equal(await ao.assign({ process: bob, message: note }), assigned)
say('assigned')

// So does a transaction of Arweave itself, once the chain has it as deep as the process asks.
const arweave = Arweave.init({ host: new URL(d.gateway).hostname, port: new URL(d.gateway).port, protocol: 'http' })
const purse = JSON.parse(readFileSync(d.wallet))
const onChain = await arweave.createTransaction({ data: 'written on Arweave' }, purse)
onChain.addTag('Action', 'Note')
onChain.addTag('Colour', 'green')
await arweave.transactions.sign(onChain, purse)
assert.equal((await arweave.transactions.post(onChain)).status, 200)
const reader = await spawn({ Name: 'reader', 'Settlement-Depth': '1' })
await evaluate(reader, `ao.addAssignable("note", { Action = "Note" })
Handlers.add("note", Handlers.utils.hasMatchingTag("Action", "Note"), function(msg)
  Noted = msg.Id .. " " .. msg.Tags.Colour .. " " .. msg.Owner .. " " .. tostring(msg.Data)
end)`)
await assert.rejects(ao.assign({ process: bob, message: onChain.id, baseLayer: true }), /Not enough confirmations/)
let landed
await until('transaction in a block', async () => {
  await wire(d.gateway + '/mine')
  return landed = await ao.assign({ process: reader, message: onChain.id, baseLayer: true, exclude: ['Anchor'] }).catch(() => undefined)
})
assert.equal((await ao.result({ process: reader, message: landed })).Error, undefined)
assert.equal(text((await evaluate(reader, 'return Noted'))[0]),
  [onChain.id, 'green', await arweave.wallets.jwkToAddress(purse), 'written on Arweave'].join(' '))
assert.equal((await (await wire(`${d.su}/${onChain.id}?process-id=${reader}`)).json()).message, null)
say('assigned from Arweave')

// A process that has a clock: its ticks are among its results, and what it sends is pushed while somebody asks for it.
const clock = await spawn({ Name: 'clock', 'Cron-Interval': '1-second', 'Cron-Tag-Action': 'Cron' })
await evaluate(bob, 'Handlers.add("ticked", Handlers.utils.hasMatchingTag("Action", "Tick"), function() Ticked = (Ticked or 0) + 1 end)')
await evaluate(clock, `Handlers.add("tick", Handlers.utils.hasMatchingTag("Action", "Cron"), function(msg)
  Send({ Target = "${bob}", Action = "Tick", Data = "tick" })
end)`)
const ticked = async () => Number(text((await evaluate(bob, 'return tostring(Ticked or 0)'))[0]))
assert.match(await ao.monitor({ process: clock, signer }), /^[\w-]{43}$/)
await until('ticks', async () => await ticked() >= 2)
const newest = await ao.results({ process: clock, sort: 'DESC', limit: 5 })
const ticks = newest.edges.filter((e) => JSON.parse(atob(e.cursor)).cron === '0-1-second')
assert(ticks.some((e) => e.node.Messages[0]?.Target === bob))
const alone = await (await wire(`${d.cu}/cron/${clock}?limit=2`)).json()
assert.equal(alone.edges.length, 2)
assert.equal(alone.pageInfo.hasNextPage, true)
await ao.unmonitor({ process: clock, signer })
say('ticked')

// What cannot be.
await assert.rejects(ao.monitor({ process: alice, signer }), /bad-tags/)
await assert.rejects(ao.spawn({ module: 'A'.repeat(43), scheduler: d.scheduler, signer, tags: [] }), /Invalid Return 'undefined': Required/)
await assert.rejects(ao.assign({ process: bob, message: 'x'.repeat(43) }))
say('done')
