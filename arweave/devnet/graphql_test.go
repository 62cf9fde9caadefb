package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// gqlTown is a chain with one of each kind of item that clients look for.
type gqlTown struct {
	d                                   *Devnet
	process, message, checkpoint, again *ans104.Item
	owner                               string
	names                               *strings.Replacer // what differs from run to run, by name
}

func newGQLTown(t testing.TB) *gqlTown {
	t.Helper()
	d := fresh(t)
	ao := tag("Data-Protocol", "ao")
	location := item(t, 1, "", ao, tag("Type", "Scheduler-Location"), tag("Url", "http://su"), tag("Time-To-Live", "1000"))
	process, err := ans104.Sign(signer(0), ans104.Fields{
		Target: bytes.Repeat([]byte{5}, 32), Anchor: bytes.Repeat([]byte{6}, 32), Data: []byte("code"),
		Tags: []ans104.Tag{ao, tag("Type", "Process"), tag("Name", "mine"), tag("Content-Type", "text/plain")},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := process.ID().String()
	checkpoint := item(t, 3, "mem", ao, tag("Type", "Checkpoint"), tag("Process", id), tag("Nonce", "7"), tag("Timestamp", "70"))
	again := item(t, 4, "mem", ao, tag("Type", "Checkpoint"), tag("Process", id), tag("Nonce", "9"), tag("Timestamp", "90"))
	message := item(t, 5, " ", ao, tag("Type", "Message"))
	put(t, d, location, process)
	mine(t, d, 1)
	put(t, d, checkpoint)
	mine(t, d, 1)
	put(t, d, again)
	mine(t, d, 1)
	put(t, d, message) // stays pending
	var names []string
	for h := range uint64(4) {
		b, err := d.Block(context.Background(), h)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, b.IndepHash, "BLOCK"+string(rune('0'+h)))
		for _, tx := range b.Txs {
			names = append(names, tx.String(), "BUNDLE"+string(rune('0'+h)))
		}
	}
	return &gqlTown{
		d: d, process: process, message: message, checkpoint: checkpoint, again: again, owner: process.OwnerAddress(),
		names: strings.NewReplacer(names...),
	}
}

func (g *gqlTown) ask(t testing.TB, query string, vars map[string]any) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": vars})
	if err != nil {
		t.Fatal(err)
	}
	w := call(g.d, "POST", "/graphql", bytes.NewReader(body), "Content-Type", "application/json")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, w.Body.Bytes(), "", " "); err != nil {
		t.Fatal(err)
	}
	return g.names.Replace(out.String()) + "\n"
}

// TestClientQueries runs what stock clients send, letter by letter.
func TestClientQueries(t *testing.T) {
	g := newGQLTown(t)
	id := g.process.ID().String()
	ids := []string{id, g.message.ID().String()}
	for name, q := range map[string]struct {
		query string
		vars  map[string]any
	}{
		"scheduler-location": {`query GetSchedulerLocation ($owner: String!) { transactions (owners: [$owner]
  tags: [ {name:"Data-Protocol",values:["ao"]}, {name:"Type",values:["Scheduler-Location"]} ] sort: HEIGHT_DESC first: 1)
  { edges { node { tags { name value } } } } }`, map[string]any{"owner": g.owner}},
		"scheduler-utils-transactions": {`query GetTransactions ($transactionIds: [ID!]!) { transactions(ids: $transactionIds tags: [{name:"Data-Protocol",values:["ao"]}])
  { edges { node { tags { name value } } } } }`, map[string]any{"transactionIds": ids}},
		"scheduler-utils-load-process": {
			`query ($ids:[ID!]!){transactions(ids:$ids){pageInfo{hasNextPage} edges{cursor node{id anchor signature recipient block{timestamp} owner{address key} fee{winston ar} quantity{winston ar} data{size type} tags{name value} block{id timestamp height previous} parent{id}}}}}`,
			map[string]any{"ids": ids[:1]},
		},
		"aoconnect-spawn": {
			`query GetTransactions ($transactionIds: [ID!]!) { transactions(ids: $transactionIds) { edges { node { owner { address } tags { name value } block { id height timestamp } } } } }`,
			map[string]any{"transactionIds": ids},
		},
		"cu-meta": {
			`query GetProcesses ($processIds: [ID!]! $skipTags: Boolean! $skipSignature: Boolean! $skipAnchor: Boolean!) {
  transactions(ids: $processIds) { edges { node { id signature @skip(if:$skipSignature) anchor @skip(if:$skipAnchor)
    owner { address key } tags @skip(if:$skipTags) { name value } recipient } } } }`,
			map[string]any{"processIds": ids, "skipTags": false, "skipSignature": true, "skipAnchor": false},
		},
		"cu-blocks": {
			`query GetBlocks($min: Int!, $limit: Int!) { blocks(height:{min:$min}, first:$limit, sort: HEIGHT_ASC) { pageInfo{hasNextPage} edges{ node{ timestamp height } } } }`,
			map[string]any{"min": 1, "limit": 2},
		},
		"cu-checkpoints": {
			`query GetAoProcessCheckpoints($owners:[String!]! $processId:String! $limit:Int!) { transactions(
  tags:[{name:"Process",values:[$processId]} {name:"Type",values:["Checkpoint"]} {name:"Data-Protocol",values:["ao"]}],
  owners:$owners, first:$limit, sort: HEIGHT_DESC) { edges { node { id owner{address} tags{name value} } } } }`,
			map[string]any{"owners": []string{g.owner}, "processId": id, "limit": 5},
		},
		"cu-checkpointed": {
			`query ($owner:String! $processId:String! $nonce:String! $timestamp:String!) { transactions(
  tags:[{name:"Process",values:[$processId]} {name:"Type",values:["Checkpoint"]} {name:"Nonce",values:[$nonce]} {name:"Timestamp",values:[$timestamp]}
  {name:"Data-Protocol",values:["ao"]}], owners:[$owner], first:1) { edges { node { id owner{address} tags{name value} } } } }`,
			map[string]any{"owner": g.owner, "processId": id, "nonce": "7", "timestamp": "70"},
		},
		"su-transaction": {`{transactions(ids:["` + id + `"]) {edges{node{id signature anchor owner{address key} tags{name value} recipient}}}}`, nil},
		"mu-scheduler-locations": {`query GetSchedulerLocations($cursor: String) { transactions(tags:[{name:"Type",values:["Scheduler-Location"]} {name:"Data-Protocol",values:["ao"]}], first:100 after:$cursor)
  { edges { node { id owner{address} tags{name value} block{id height timestamp} } cursor } pageInfo { hasNextPage } } }`, nil},
		"aos-find-process": {
			`query ($owners:[String!]!) { transactions(first:100, owners:$owners, tags:[{name:"Data-Protocol",values:["ao"]},{name:"Type",values:["Process"]},{name:"Name",values:["mine"]}]) { edges { node { id owner{address} tags{name value} } } } }`,
			map[string]any{"owners": []string{g.owner}},
		},
		"by-recipient-and-block": {`{transactions(recipients:["BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"], block:{min:1,max:1}){edges{node{id bundledIn{id}}}}}`, nil},
		"not-tagged":             {`{transactions(tags:[{name:"Type",values:["Checkpoint"]},{name:"Nonce",values:["7"],op:NEQ}]){count edges{node{id}}}}`, nil},
		"no-such-id":             {`{transactions(ids:["nonsense"]){pageInfo{hasNextPage} edges{node{id}}}}`, nil},
		"one-transaction":        {`{transaction(id:"` + id + `"){id data{size type}} none:transaction(id:"x"){id}}`, nil},
		"one-block":              {`{block(id:"nonsense"){height} blocks(first:1){edges{cursor node{height}}}}`, nil},
		"syntax-error":           {`{transactions(`, nil},
		"unknown-field":          {`{transactions{edges{node{color}}}}`, nil},
		"bad-cursor":             {`{transactions(after:"zzz"){edges{node{id}}}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := g.ask(t, q.query, q.vars)
			file := filepath.Join("testdata", "graphql", name+".json")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestIntrospectionAnswers(t *testing.T) {
	g := newGQLTown(t)
	if got := g.ask(t, `{__schema{queryType{name} types{name}}}`, nil); !strings.Contains(got, `"Transaction"`) {
		t.Fatal(got)
	}
}

// TestPagesHoldWhileBlocksAreMade walks the index in both directions while what is pending gets mined.
func TestPagesHoldWhileBlocksAreMade(t *testing.T) {
	for _, ascending := range []bool{false, true} {
		d := fresh(t)
		want := map[ans104.ID]bool{}
		for i := range 30 {
			it := item(t, i, "x", tag("K", "v"))
			want[it.ID()] = true
			put(t, d, it)
			if i == 9 || i == 19 {
				mine(t, d, 1)
			}
		}
		q := arweave.Query{Tags: []arweave.TagFilter{{Name: "K", Values: []string{"v"}}}, First: 4, Ascending: ascending}
		for pages := 0; ; pages++ {
			page, err := d.Query(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range page.Found {
				delete(want, f.ID)
				q.After = f.Cursor
			}
			if pages == 1 {
				mine(t, d, 1)
			}
			if !page.HasNext {
				break
			}
		}
		if len(want) != 0 {
			t.Fatalf("ascending %v: %d missing", ascending, len(want))
		}
	}
}

func FuzzGraphQL(f *testing.F) {
	g := newGQLTown(f)
	f.Add(`{transactions(first:1){edges{node{id tags{name value}}}}}`, `{}`)
	f.Add(`query($a:[ID!]!){transactions(ids:$a){edges{cursor node{...x}}}} fragment x on Transaction{block{id height}}`, `{"a":["b",null,3]}`)
	f.Add(`{blocks(height:{min:1,max:9},sort:HEIGHT_ASC){edges{node{height}}} __schema{types{name}}}`, `{"min":-1}`)
	f.Add(`query($t:[TagFilter!],$b:BlockFilter){transactions(tags:$t,block:$b){count}}`, `{"t":[{"name":"a","values":["b"],"op":"NEQ"}],"b":{"min":1e99}}`)
	f.Fuzz(func(t *testing.T, query, vars string) {
		if checkQuery(query) != nil {
			return
		}
		var v map[string]any
		if json.Unmarshal([]byte(vars), &v) != nil {
			return
		}
		result := g.d.query(context.Background(), query, "", v)
		if _, err := json.Marshal(result); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkQueryByTag(b *testing.B) {
	d := fresh(b)
	const items = 20_000
	d.lock.Lock()
	for i := range items {
		d.add(&entry{id: ans104.ID{byte(i), byte(i >> 8), byte(i >> 16), 1}, whole: item(b, i, "x", tag("Process", string(rune('a'+i%200))), tag("Data-Protocol", "ao"))})
	}
	d.lock.Unlock()
	q := arweave.Query{Tags: []arweave.TagFilter{{Name: "Data-Protocol", Values: []string{"ao"}}, {Name: "Process", Values: []string{"c"}}}}
	for b.Loop() {
		if page, err := d.Query(context.Background(), q); err != nil || len(page.Found) != 100 {
			b.Fatal(len(page.Found), err)
		}
	}
}
