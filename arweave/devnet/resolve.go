package devnet

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/graphql-go/graphql"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// resolveTransactions answers the transactions field. IDs that are none match nothing, as on public gateways.
func (d *Devnet) resolveTransactions(p graphql.ResolveParams) (any, error) {
	f := filter{first: 10}
	var err error
	if ids, ok := p.Args["ids"]; ok && ids != nil {
		f.byIDs, f.ids = true, parseIDs(stringsOf(ids))
	}
	f.owners, f.recipients = stringsOf(p.Args["owners"]), stringsOf(p.Args["recipients"])
	if bundles := stringsOf(p.Args["bundledIn"]); len(bundles) > 0 {
		if f.bundledIn = parseIDs(bundles); len(f.bundledIn) == 0 {
			f.byIDs = true
		}
	}
	if tags, ok := p.Args["tags"].([]any); ok {
		for _, t := range tags {
			m, _ := t.(map[string]any)
			name, _ := m["name"].(string)
			not, _ := m["op"].(bool)
			f.tags = append(f.tags, tagFilter{name: name, values: stringsOf(m["values"]), not: not})
		}
	}
	if f.min, f.max, err = heightRange(p.Args["block"]); err != nil {
		return nil, err
	}
	if f.first, err = firstOf(p.Args); err != nil {
		return nil, err
	}
	after, _ := p.Args["after"].(string)
	if err := f.setAfter(after); err != nil {
		return nil, err
	}
	f.ascending, _ = p.Args["sort"].(bool)
	nodes, more := d.find(f)
	page := connection[*node]{more: more, edges: make([]edge[*node], 0, len(nodes))}
	for _, n := range nodes {
		page.edges = append(page.edges, edge[*node]{cursor: n.cursor, node: n})
	}
	return page, nil
}

func (d *Devnet) resolveTransaction(p graphql.ResolveParams) (any, error) {
	text, _ := p.Args["id"].(string)
	nodes, _ := d.find(filter{byIDs: true, ids: parseIDs([]string{text}), first: 1})
	if len(nodes) == 0 {
		return nil, nil
	}
	return nodes[0], nil
}

// resolveBlocks answers the blocks field; the newest come first unless asked otherwise.
func (d *Devnet) resolveBlocks(p graphql.ResolveParams) (any, error) {
	low, high, err := heightRange(p.Args["height"])
	if err != nil {
		return nil, err
	}
	first, err := firstOf(p.Args)
	if err != nil {
		return nil, err
	}
	ascending, _ := p.Args["sort"].(bool)
	ids := stringsOf(p.Args["ids"])
	d.lock.RLock()
	defer d.lock.RUnlock()
	top := d.tip().Height
	if high == 0 || high > top {
		high = top
	}
	if after, _ := p.Args["after"].(string); after != "" {
		h, err := strconv.ParseUint(after, 10, 40)
		if err != nil {
			return nil, fmt.Errorf("after: %.40q is not a cursor", after)
		}
		if ascending {
			low = max(low, h+1)
		} else if h == 0 {
			low = high + 1
		} else {
			high = min(high, h-1)
		}
	}
	page := connection[*block]{edges: []edge[*block]{}}
	for i := low; i <= high; i++ {
		b := d.blocks[i]
		if !ascending {
			b = d.blocks[high-(i-low)]
		}
		if len(ids) > 0 && !slices.Contains(ids, b.Hash) {
			continue
		}
		if len(page.edges) == first {
			page.more = true
			break
		}
		page.edges = append(page.edges, edge[*block]{cursor: strconv.FormatUint(b.Height, 10), node: b})
	}
	return page, nil
}

func (d *Devnet) resolveBlock(p graphql.ResolveParams) (any, error) {
	id, _ := p.Args["id"].(string)
	d.lock.RLock()
	defer d.lock.RUnlock()
	if b := d.byHash[id]; b != nil {
		return b, nil
	}
	return nil, nil
}

func firstOf(args map[string]any) (int, error) {
	first, ok := args["first"].(int)
	if !ok {
		return 10, nil
	}
	if first < 1 {
		return 0, fmt.Errorf("first: %d is not a page size", first)
	}
	return pageSize(first), nil
}

func heightRange(arg any) (low, high uint64, err error) {
	m, ok := arg.(map[string]any)
	if !ok {
		return 0, 0, nil
	}
	for name, into := range map[string]*uint64{"min": &low, "max": &high} {
		if h, ok := m[name].(int); ok {
			if h < 0 {
				return 0, 0, fmt.Errorf("%s: negative height", name)
			}
			*into = uint64(h)
		}
	}
	return low, high, nil
}

func stringsOf(arg any) []string {
	list, _ := arg.([]any)
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func parseIDs(texts []string) []ans104.ID {
	ids := make([]ans104.ID, 0, len(texts))
	for _, t := range texts {
		if id, err := ans104.ParseID(t); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}
