package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// OpenAPI is the page of one surface, made from the table of routes: what docs/openapi-mu.json and its like hold.
func OpenAPI(s Surface) ([]byte, error) {
	titles := map[Surface]string{
		Messenger: "Messenger (mu) of a peer of the AO computer", Scheduler: "Scheduler (su) of a peer of the AO computer",
		Computer: "Computer (cu) of a peer of the AO computer", HyperBEAM: "Computer of a HyperBEAM node: what it answers besides a computer (cu)",
	}
	server := map[string]any{"url": "http://127.0.0.1:" + map[Surface]string{Messenger: "4002", Scheduler: "4003", Computer: "4004"}[s], "description": "of `aopeer devnet`"}
	if s == HyperBEAM {
		server = map[string]any{"url": "http://127.0.0.1:6363", "description": "of `aopeer run --hyperbeam URL --http 127.0.0.1:6363`"}
	}
	paths := map[string]map[string]any{}
	schemas := map[string]any{}
	for _, r := range Routes() {
		if r.Surface != "" && r.Surface != s {
			continue
		}
		if paths[r.Path] == nil {
			paths[r.Path] = map[string]any{}
		}
		paths[r.Path][strings.ToLower(r.Method)] = r.operation(schemas)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": titles[s], "version": "1",
			"description": "Generated from the table in internal/gateway/routes.go; rewrite it with `make docs`. docs/interop.md says how it differs from today's network.",
		},
		"servers":    []any{server},
		"paths":      paths,
		"components": map[string]any{"schemas": schemas},
	})
	if err != nil {
		return nil, fmt.Errorf("write OpenAPI page: %w", err)
	}
	return b.Bytes(), nil
}

// operation is a route as OpenAPI has it. The types that its answers name are added to schemas.
func (r Route) operation(schemas map[string]any) map[string]any {
	op := map[string]any{"summary": r.What}
	var params []any
	for _, p := range r.Params {
		params = append(params, map[string]any{
			"name": p.Name, "in": p.In, "required": p.Needed, "description": p.What, "schema": map[string]any{"type": "string"},
		})
	}
	if params != nil {
		op["parameters"] = params
	}
	switch r.Body {
	case bodyItem:
		op["requestBody"] = body(kindBytes, map[string]any{"type": "string", "format": "binary", "description": "An ANS-104 data item."})
	case bodyJSON:
		op["requestBody"] = body(kindJSON, schemaOf(reflect.TypeFor[dryMessage](), schemas))
	case bodyTold:
		op["requestBody"] = body(kindJSON, map[string]any{"type": "object", "description": "A page of the node's schedule, in the format application/aos-2."})
	}
	answers := map[string]any{"default": map[string]any{
		"description": "It is refused: the status says how, the text why. With 429 and 503 Retry-After says when to try again.",
		"content":     content(kindJSON, schemaOf(reflect.TypeFor[errorBody](), schemas)),
	}}
	for _, a := range r.Answers {
		schema := map[string]any{"type": "string"}
		if a.Like != nil {
			schema = schemaOf(reflect.TypeOf(a.Like), schemas)
		}
		answers[strconv.Itoa(a.Status)] = map[string]any{"description": a.What, "content": content(a.Kind, schema)}
	}
	op["responses"] = answers
	return op
}

func body(kind string, schema map[string]any) map[string]any {
	return map[string]any{"required": true, "content": content(kind, schema)}
}

func content(kind string, schema map[string]any) map[string]any {
	return map[string]any{kind: map[string]any{"schema": schema}}
}

// schemaOf is a type as its JSON looks: a struct by name, with its fields in schemas.
func schemaOf(t reflect.Type, schemas map[string]any) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		s := schemaOf(t.Elem(), schemas)
		if kind, ok := s["type"].(string); ok {
			return map[string]any{"type": []string{kind, "null"}}
		}
		return map[string]any{"oneOf": []any{s, map[string]any{"type": "null"}}}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int64, reflect.Uint64:
		return map[string]any{"type": "integer"}
	case reflect.Map:
		return map[string]any{"type": "object"}
	case reflect.Slice:
		if t == reflect.TypeFor[json.RawMessage]() { // whatever the module or the caller put there
			return map[string]any{}
		}
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	}
	name := title.ReplaceAllStringFunc(t.Name(), strings.ToUpper)
	ref := map[string]any{"$ref": "#/components/schemas/" + name}
	if _, ok := schemas[name]; ok {
		return ref
	}
	fields, needed := map[string]any{}, []string{}
	schemas[name] = nil // so that a type that holds itself ends
	for i := range t.NumField() {
		f := t.Field(i)
		key, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields[key] = schemaOf(f.Type, schemas)
		if rest == "" {
			needed = append(needed, key)
		}
	}
	schemas[name] = map[string]any{"type": "object", "properties": fields, "required": needed}
	return ref
}

// title is the first letter of a name.
var title = regexp.MustCompile(`^[a-z]`)
