package devnet

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/gqlerrors"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// Bounds of one GraphQL request. The library's checks are quadratic in places, so they see only what has passed these.
const (
	maxQueryText      = 16 << 10
	maxQueryDepth     = 12
	maxQuerySelection = 64  // selection sets
	maxQueryWords     = 800 // a word repeated 5000 times costs the library seconds
	maxQueryFragments = 16
	maxQueryRoots     = 8
)

// What a query is refused for.
var (
	errComplex = errors.New("query too complex")
	errQuery   = errors.New("malformed query")
)

// checkQuery bounds a query by its text alone. Strings are skipped, so that braces in them do not count.
func checkQuery(text string) error {
	if len(text) > maxQueryText {
		return fmt.Errorf("%w: %d bytes", errComplex, len(text))
	}
	if strings.Contains(text, `"""`) { // no client needs them, and they would hide braces from the count below
		return fmt.Errorf("%w: block string", errComplex)
	}
	depth, sets, brackets, words := 0, 0, 0, 0
	inString, inComment, inWord := false, false, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		letter := c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
		if letter && !inWord && !inString && !inComment {
			words++
		}
		inWord = letter
		switch {
		case inComment:
			inComment = c != '\n' && c != '\r'
		case inString:
			if c == '\\' {
				i++
			} else if c == '"' {
				inString = false
			}
		case c == '#':
			inComment = true
		case c == '"':
			inString = true
		case c == '{':
			sets++
			depth++
		case c == '}':
			depth--
		case c == '[', c == '(':
			brackets++
		case c == ']', c == ')':
			brackets--
		}
		if depth > maxQueryDepth || brackets > maxQueryDepth || sets > maxQuerySelection || words > maxQueryWords {
			return fmt.Errorf("%w: too deep or too long", errComplex)
		}
	}
	if strings.Count(text, "...") > maxQueryFragments || strings.Count(text, "transactions") > maxQueryRoots ||
		strings.Count(text, "blocks") > maxQueryRoots || strings.Count(text, "__schema") > 1 || strings.Count(text, "__type") > maxQueryRoots {
		return fmt.Errorf("%w: too many parts", errComplex)
	}
	return nil
}

// query executes one request. The library's parser takes some texts that its validator panics on, a list of nothing for
// one; such a request is refused like any other that is malformed.
func (d *Devnet) query(ctx context.Context, text, operation string, vars map[string]any) (result *graphql.Result) {
	defer func() {
		if recover() != nil {
			result = &graphql.Result{Errors: gqlerrors.FormatErrors(errQuery)}
		}
	}()
	return graphql.Do(graphql.Params{
		Schema: d.schema, RequestString: text, OperationName: operation, VariableValues: vars, Context: ctx,
	})
}

// object builds an output type whose fields are computed from a Go value of type T.
func object[T any](name string, fields map[string]field[T]) *graphql.Object {
	out := graphql.Fields{}
	for key, f := range fields {
		out[key] = &graphql.Field{Type: f.of, Resolve: func(p graphql.ResolveParams) (any, error) {
			v, ok := p.Source.(T)
			if !ok {
				return nil, nil
			}
			return f.get(v), nil
		}}
	}
	return graphql.NewObject(graphql.ObjectConfig{Name: name, Fields: out})
}

type field[T any] struct {
	of  graphql.Output
	get func(T) any
}

func must(t graphql.Type) graphql.Output { return graphql.NewNonNull(t) }

func listOf(t graphql.Type) graphql.Output {
	return graphql.NewNonNull(graphql.NewList(graphql.NewNonNull(t)))
}

// connection is a page of nodes of one kind.
type connection[T any] struct {
	edges []edge[T]
	more  bool
}

type edge[T any] struct {
	cursor string
	node   T
}

func connectionType[T any](name string, node *graphql.Object, pageInfo *graphql.Object) *graphql.Object {
	edgeType := object(name+"Edge", map[string]field[edge[T]]{
		"cursor": {must(graphql.String), func(e edge[T]) any { return e.cursor }},
		"node":   {must(node), func(e edge[T]) any { return e.node }},
	})
	return object(name+"Connection", map[string]field[connection[T]]{
		"pageInfo": {must(pageInfo), func(c connection[T]) any { return c.more }},
		"edges":    {listOf(edgeType), func(c connection[T]) any { return c.edges }},
		"count":    {graphql.String, func(c connection[T]) any { return strconv.Itoa(len(c.edges)) }},
	})
}

func (d *Devnet) newSchema() (graphql.Schema, error) {
	pageInfo := object("PageInfo", map[string]field[bool]{
		"hasNextPage": {must(graphql.Boolean), func(more bool) any { return more }},
	})
	blockType := object("Block", map[string]field[*block]{
		"id":        {must(graphql.ID), func(b *block) any { return b.Hash }},
		"timestamp": {must(graphql.Int), func(b *block) any { return int(b.Timestamp) }},
		"height":    {must(graphql.Int), func(b *block) any { return int(b.Height) }},
		"previous":  {must(graphql.ID), func(b *block) any { return b.Previous }},
	})
	txType := transactionType(blockType)
	sort := graphql.NewEnum(graphql.EnumConfig{Name: "SortOrder", Values: graphql.EnumValueConfigMap{
		"HEIGHT_ASC": {Value: true}, "HEIGHT_DESC": {Value: false},
		"INGESTED_AT_ASC": {Value: true}, "INGESTED_AT_DESC": {Value: false}, // some gateways' name for nearly the same
	}})
	args := transactionArgs(sort)
	root := graphql.NewObject(graphql.ObjectConfig{Name: "Query", Fields: graphql.Fields{
		"transactions": {Type: must(connectionType[*node]("Transaction", txType, pageInfo)), Args: args, Resolve: d.resolveTransactions},
		"transaction": {
			Type: txType, Args: graphql.FieldConfigArgument{"id": {Type: graphql.NewNonNull(graphql.ID)}}, Resolve: d.resolveTransaction,
		},
		"blocks": {
			Type:    must(connectionType[*block]("Block", blockType, pageInfo)),
			Resolve: d.resolveBlocks,
			Args: graphql.FieldConfigArgument{
				"ids": args["ids"], "height": args["block"], "first": args["first"], "after": args["after"], "sort": args["sort"],
			},
		},
		"block": {Type: blockType, Args: graphql.FieldConfigArgument{"id": {Type: graphql.String}}, Resolve: d.resolveBlock},
	}})
	schema, err := graphql.NewSchema(graphql.SchemaConfig{Query: root})
	if err != nil {
		return schema, fmt.Errorf("build GraphQL schema: %w", err)
	}
	return schema, nil
}

func transactionType(blockType *graphql.Object) *graphql.Object {
	owner := object("Owner", map[string]field[*node]{
		"address": {must(graphql.String), func(n *node) any { return n.address }},
		"key":     {must(graphql.String), func(n *node) any { return l1.Encode64(n.owner) }},
	})
	amount := object("Amount", map[string]field[*big.Int]{
		"winston": {must(graphql.String), func(n *big.Int) any { return n.String() }},
		"ar":      {must(graphql.String), func(n *big.Int) any { return inAR(n) }},
	})
	data := object("MetaData", map[string]field[*node]{
		"size": {must(graphql.String), func(n *node) any { return strconv.FormatInt(n.dataSize, 10) }},
		"type": {graphql.String, func(n *node) any { return contentType(n.tags) }},
	})
	tag := object("Tag", map[string]field[ans104.Tag]{
		"name":  {must(graphql.String), func(t ans104.Tag) any { return t.Name }},
		"value": {must(graphql.String), func(t ans104.Tag) any { return t.Value }},
	})
	idOf := func(id *ans104.ID) any { return id.String() }
	parent := object("Parent", map[string]field[*ans104.ID]{"id": {must(graphql.ID), idOf}})
	bundle := object("Bundle", map[string]field[*ans104.ID]{"id": {must(graphql.ID), idOf}})
	carrier := func(n *node) any {
		if n.parent == nil {
			return nil
		}
		return n.parent
	}
	return object("Transaction", map[string]field[*node]{
		"id":        {must(graphql.ID), func(n *node) any { return n.id.String() }},
		"anchor":    {must(graphql.String), func(n *node) any { return l1.Encode64(n.anchor) }},
		"signature": {must(graphql.String), func(n *node) any { return l1.Encode64(n.signature) }},
		"recipient": {must(graphql.String), func(n *node) any { return l1.Encode64(n.target) }},
		"owner":     {must(owner), func(n *node) any { return n }},
		"fee":       {must(amount), func(n *node) any { return n.fee }},
		"quantity":  {must(amount), func(n *node) any { return n.quantity }},
		"data":      {must(data), func(n *node) any { return n }},
		"tags":      {listOf(tag), func(n *node) any { return n.tags }},
		"block": {blockType, func(n *node) any {
			if n.block == nil {
				return nil
			}
			return n.block
		}},
		"parent":    {parent, carrier},
		"bundledIn": {bundle, carrier},
	})
}

func transactionArgs(sort *graphql.Enum) graphql.FieldConfigArgument {
	names := graphql.NewList(graphql.NewNonNull(graphql.String))
	ids := graphql.NewList(graphql.NewNonNull(graphql.ID))
	op := graphql.NewEnum(graphql.EnumConfig{Name: "TagOperator", Values: graphql.EnumValueConfigMap{
		"EQ": {Value: false}, "NEQ": {Value: true},
	}})
	tag := graphql.NewInputObject(graphql.InputObjectConfig{Name: "TagFilter", Fields: graphql.InputObjectConfigFieldMap{
		"name":   {Type: graphql.NewNonNull(graphql.String)},
		"values": {Type: graphql.NewNonNull(names)},
		"op":     {Type: op, DefaultValue: false},
	}})
	block := graphql.NewInputObject(graphql.InputObjectConfig{Name: "BlockFilter", Fields: graphql.InputObjectConfigFieldMap{
		"min": {Type: graphql.Int}, "max": {Type: graphql.Int},
	}})
	return graphql.FieldConfigArgument{
		"ids": {Type: ids}, "owners": {Type: names}, "recipients": {Type: names}, "bundledIn": {Type: ids},
		"tags":  {Type: graphql.NewList(graphql.NewNonNull(tag))},
		"block": {Type: block},
		"first": {Type: graphql.Int}, "after": {Type: graphql.String}, "sort": {Type: sort},
	}
}

// inAR spells winston as AR, a million million of them.
func inAR(winston *big.Int) string {
	whole, rest := new(big.Int).QuoRem(winston, big.NewInt(1_000_000_000_000), new(big.Int))
	return fmt.Sprintf("%s.%012d", whole, rest)
}

// contentType is what the Content-Type tag says; nil without one.
func contentType(tags []ans104.Tag) any {
	for _, t := range tags {
		if strings.EqualFold(t.Name, "Content-Type") {
			return t.Value
		}
	}
	return nil
}
