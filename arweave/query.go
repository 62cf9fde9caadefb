package arweave

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aopeer/aopeer/arweave/ans104"
)

const (
	defaultPage   = 100
	maxCursor     = 1024
	maxQueryTags  = 128
	maxTagText    = 16 << 10
	maxNodeField  = 8 << 10
	maxOwnerField = 128
)

const pageQuery = `query($ids:[ID!],$owners:[String!],$tags:[TagFilter!],$block:BlockFilter,$sort:SortOrder,$first:Int,$after:String){
 transactions(ids:$ids,owners:$owners,tags:$tags,block:$block,sort:$sort,first:$first,after:$after){
 pageInfo{hasNextPage} edges{cursor node{id owner{address} tags{name value} block{id height} bundledIn{id}}}}}`

const nodeQuery = `query($ids:[ID!]){transactions(ids:$ids,first:1){
 pageInfo{hasNextPage} edges{cursor node{id anchor signature recipient owner{address key} tags{name value} block{id height} bundledIn{id}}}}}`

// graphAnswer is the part of a gateway's GraphQL answer that is read; everything in it is the gateway's word.
type graphAnswer struct {
	Data *struct {
		Transactions *struct {
			PageInfo struct {
				HasNextPage bool `json:"hasNextPage"`
			} `json:"pageInfo"`
			Edges graphEdges `json:"edges"`
		} `json:"transactions"`
	} `json:"data"`
	Errors []struct {
		Message string `json:"message"`
	} `json:"errors"`
}

// graphEdges is a list that stops growing where a page ends: an edge takes fifty times the bytes of an empty one's JSON.
type graphEdges []graphEdge

type graphEdge struct {
	Cursor string    `json:"cursor"`
	Node   graphNode `json:"node"`
}

// UnmarshalJSON reads a list of at most MaxPage edges.
func (e *graphEdges) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return errors.New("edges are no list")
	}
	for *e = nil; d.More(); {
		if len(*e) == MaxPage {
			return fmt.Errorf("a page of over %d", MaxPage)
		}
		var edge graphEdge
		if err := d.Decode(&edge); err != nil {
			return err
		}
		*e = append(*e, edge)
	}
	return nil
}

type graphNode struct {
	ID        string `json:"id"`
	Anchor    string `json:"anchor"`
	Signature string `json:"signature"`
	Recipient string `json:"recipient"`
	Owner     struct {
		Address string `json:"address"`
		Key     string `json:"key"`
	} `json:"owner"`
	Tags  []ans104.Tag `json:"tags"`
	Block *struct {
		ID     string `json:"id"`
		Height uint64 `json:"height"`
	} `json:"block"`
	BundledIn *struct {
		ID string `json:"id"`
	} `json:"bundledIn"`
}

// Query asks the index of one gateway. A page continues at the gateway it came from, since cursors are the gateway's own;
// if that one is gone, the query has to start anew.
func (c *Client) Query(ctx context.Context, q Query) (Page, error) {
	body, err := encodeQuery(q)
	if err != nil {
		return Page{}, err
	}
	ask := func(ctx context.Context, g *gateway) (Page, error) {
		answer, err := c.graphql(ctx, g, body)
		if err != nil {
			return Page{}, err
		}
		return answer.page(g)
	}
	var page Page
	if q.After == "" {
		page, err = anyGateway(ctx, c, ask)
	} else {
		var g *gateway
		if g, _, err = c.splitCursor(q.After); err != nil {
			return Page{}, err
		}
		page, err = retry(ctx, c, func() (Page, error) { return ask(ctx, g) })
	}
	if err != nil {
		return Page{}, fmt.Errorf("query arweave: %w", err)
	}
	return page, nil
}

// splitCursor finds the gateway that a cursor of ours belongs to.
func (c *Client) splitCursor(after string) (*gateway, string, error) {
	number, cursor, ok := strings.Cut(after, ":")
	i, err := strconv.Atoi(number)
	if !ok || err != nil || i < 0 || i >= len(c.gateways) {
		return nil, "", fmt.Errorf("query arweave: %.40q is not a cursor of this client", after)
	}
	return c.gateways[i], cursor, nil
}

func encodeQuery(q Query) ([]byte, error) {
	type filter struct {
		Name   string   `json:"name"`
		Values []string `json:"values"`
	}
	vars := map[string]any{"sort": "HEIGHT_DESC", "first": pageSize(q.First)}
	if q.Ascending {
		vars["sort"] = "HEIGHT_ASC"
	}
	if len(q.IDs) > 0 {
		vars["ids"] = q.IDs
	}
	if len(q.Owners) > 0 {
		vars["owners"] = q.Owners
	}
	if len(q.Tags) > maxQueryTags {
		return nil, fmt.Errorf("query arweave: %d tag filters", len(q.Tags))
	}
	var tags []filter
	for _, t := range q.Tags {
		tags = append(tags, filter(t))
	}
	if tags != nil {
		vars["tags"] = tags
	}
	block := map[string]uint64{}
	if q.MinHeight > 0 {
		block["min"] = q.MinHeight
	}
	if q.MaxHeight > 0 {
		block["max"] = q.MaxHeight
	}
	if len(block) > 0 {
		vars["block"] = block
	}
	if q.After != "" {
		_, cursor, _ := strings.Cut(q.After, ":")
		vars["after"] = cursor
	}
	return encodeGraphQL(pageQuery, vars)
}

func pageSize(first int) int {
	if first <= 0 {
		return defaultPage
	}
	return min(first, MaxPage)
}

func encodeGraphQL(query string, vars map[string]any) ([]byte, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": vars})
	if err != nil {
		return nil, fmt.Errorf("encode query: %w", err)
	}
	return body, nil
}

func (c *Client) graphql(ctx context.Context, g *gateway, body []byte) (*graphAnswer, error) {
	resp, err := c.send(ctx, g, request{
		method: http.MethodPost, path: "/graphql", contentType: "application/json", body: body, limit: maxAnswer,
	})
	if err != nil {
		return nil, err
	}
	if resp.status != http.StatusOK {
		return nil, statusError("/graphql", resp)
	}
	return parseGraphAnswer(resp.body)
}

// parseGraphAnswer reads an answer and bounds it; the meaning of the fields is checked where they are used.
func parseGraphAnswer(raw []byte) (*graphAnswer, error) {
	var answer graphAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("%w: GraphQL answer is not JSON: %w", ErrCorrupt, err)
	}
	if len(answer.Errors) > 0 {
		// Timeouts and overloads of the index come as errors, so they are asked again.
		return nil, fmt.Errorf("GraphQL error: %.200q", answer.Errors[0].Message)
	}
	if answer.Data == nil || answer.Data.Transactions == nil {
		return nil, fmt.Errorf("%w: GraphQL answer without transactions", ErrCorrupt)
	}
	for i := range answer.Data.Transactions.Edges {
		e := &answer.Data.Transactions.Edges[i]
		n := &e.Node
		tagText := 0
		for _, t := range n.Tags {
			tagText += len(t.Name) + len(t.Value)
		}
		if len(e.Cursor) > maxCursor || len(n.Tags) > maxQueryTags || tagText > maxTagText || len(n.Owner.Address) > maxOwnerField ||
			len(n.Owner.Key) > maxNodeField || len(n.Signature) > maxNodeField || len(n.Anchor) > maxNodeField ||
			(n.Block != nil && n.Block.Height > maxHeight) {
			return nil, fmt.Errorf("%w: GraphQL fields out of bounds", ErrCorrupt)
		}
	}
	return &answer, nil
}

func (a *graphAnswer) page(g *gateway) (Page, error) {
	txs := a.Data.Transactions
	page := Page{HasNext: txs.PageInfo.HasNextPage}
	for _, e := range txs.Edges {
		id, err := ans104.ParseID(e.Node.ID)
		if err != nil {
			return Page{}, fmt.Errorf("%w: index lists %.50q", ErrCorrupt, e.Node.ID)
		}
		found := Found{
			ID: id, Owner: e.Node.Owner.Address, Tags: e.Node.Tags, Cursor: strconv.Itoa(g.index) + ":" + e.Cursor,
			BundledIn: e.Node.bundledIn(),
		}
		if e.Node.Block != nil {
			found.Height = e.Node.Block.Height
		}
		page.Found = append(page.Found, found)
	}
	if page.HasNext && len(page.Found) == 0 {
		return Page{}, fmt.Errorf("%w: an empty page that says there is more", ErrCorrupt)
	}
	return page, nil
}

// bundledIn is the carrier that the index names; nil if it names none or nonsense.
func (n *graphNode) bundledIn() *ans104.ID {
	if n.BundledIn == nil {
		return nil
	}
	id, err := ans104.ParseID(n.BundledIn.ID)
	if err != nil {
		return nil
	}
	return &id
}

// nodeByID fetches all that one gateway's index says about one item.
func (c *Client) nodeByID(ctx context.Context, g *gateway, id ans104.ID) (*graphNode, error) {
	body, err := encodeGraphQL(nodeQuery, map[string]any{"ids": []string{id.String()}})
	if err != nil {
		return nil, err
	}
	answer, err := c.graphql(ctx, g, body)
	if err != nil {
		return nil, err
	}
	edges := answer.Data.Transactions.Edges
	if len(edges) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	if len(edges) != 1 || edges[0].Node.ID != id.String() {
		return nil, fmt.Errorf("%w: the index answers for another ID", ErrCorrupt)
	}
	return &edges[0].Node, nil
}

var errNotText = errors.New("tags are not text")

// textTags says whether tags could have survived JSON: a replacement character may stand for bytes that were no UTF-8.
func textTags(tags []ans104.Tag) error {
	for _, t := range tags {
		if strings.ContainsRune(t.Name, utf8.RuneError) || strings.ContainsRune(t.Value, utf8.RuneError) {
			return errNotText
		}
	}
	return nil
}
