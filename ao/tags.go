package ao

import (
	"slices"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// Tag is one name and value of an item; both are bytes as the signer wrote them.
type Tag = ans104.Tag

// Tags is an ordered list: order is signed, names may repeat.
type Tags []Tag

// Get is the value of the first tag of that name, "" if there is none.
func (t Tags) Get(name string) string {
	v, _ := t.Lookup(name)
	return v
}

// Lookup is the value of the first tag of that name and whether there is one.
func (t Tags) Lookup(name string) (string, bool) {
	for _, tag := range t {
		if tag.Name == name {
			return tag.Value, true
		}
	}
	return "", false
}

// All is every value of that name, in order.
func (t Tags) All(name string) []string {
	var out []string
	for _, tag := range t {
		if tag.Name == name {
			out = append(out, tag.Value)
		}
	}
	return out
}

// Without is a copy that lacks every tag of the given names.
func (t Tags) Without(names ...string) Tags {
	out := make(Tags, 0, len(t))
	for _, tag := range t {
		if !slices.Contains(names, tag.Name) {
			out = append(out, tag)
		}
	}
	return out
}
