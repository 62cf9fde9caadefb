package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// printStatus writes what a peer says of itself for a person: a line that names it, then a line for each of its parts
// with whatever that part tells, in its order. What is JSON stays complete; this is only another look.
func printStatus(w io.Writer, raw json.RawMessage) error {
	var s struct {
		Peer struct {
			Name, ID, Address string
			Roles             []string
		} `json:"peer"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	fmt.Fprintf(w, "%s  %s  %s  %s\n", plain(s.Peer.Name), plain(strings.Join(s.Peer.Roles, ",")), plain(s.Peer.Address), plain(s.Peer.ID))
	var own []string
	var parts []string
	err := eachMember(raw, func(name string, value json.RawMessage) error {
		switch {
		case name == "peer":
		case value[0] == '{':
			facts, err := factsOf("", value)
			if err != nil {
				return err
			}
			parts = append(parts, fmt.Sprintf("  %-8s %s", plain(name), strings.Join(facts, " · ")))
		default:
			own = append(own, fact(name, value))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	fmt.Fprintf(w, "  %-8s %s\n", "peer", strings.Join(own, " · "))
	for _, p := range parts {
		fmt.Fprintln(w, p)
	}
	return nil
}

// factsOf are the members of an object, those of objects inside it with both names.
func factsOf(prefix string, object json.RawMessage) (out []string, err error) {
	err = eachMember(object, func(name string, value json.RawMessage) error {
		if value[0] != '{' {
			out = append(out, fact(prefix+name, value))
			return nil
		}
		inner, err := factsOf(prefix+name+".", value)
		out = append(out, inner...)
		return err
	})
	return out, err
}

// fact is a member in a word or two; of a list of objects only how many they are.
func fact(name string, value json.RawMessage) string {
	var list []map[string]json.RawMessage
	if value[0] == '[' && json.Unmarshal(value, &list) == nil && len(list) > 0 {
		return fmt.Sprintf("%s %d", plain(name), len(list))
	}
	return plain(name) + " " + plain(strings.Trim(string(value), `"`))
}

// eachMember visits the members of an object in their order.
func eachMember(object json.RawMessage, visit func(name string, value json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("not an object: %.40q", object)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := visit(fmt.Sprint(name), value); err != nil {
			return err
		}
	}
	return nil
}
