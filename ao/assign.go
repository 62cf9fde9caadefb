package ao

import (
	"fmt"
	"slices"
)

// What an assignment may leave out is bounded as the tags that say so are.
const (
	maxExcludes    = 16
	maxExcludeName = 64
)

// AssignOptions says how an existing message is assigned to one more process.
type AssignOptions struct {
	BaseLayer bool     `json:"baseLayer,omitempty"` // it is a transaction of Arweave itself and no item
	Exclude   []string `json:"exclude,omitempty"`   // fields of the message that the process does not see, as AssignmentFields.Excludes has them
}

// Check bounds what strangers ask to leave out. Errors: ErrTags.
func (o AssignOptions) Check() error {
	if len(o.Exclude) > maxExcludes {
		return fmt.Errorf("%w: %d fields to exclude, at most %d", ErrTags, len(o.Exclude), maxExcludes)
	}
	for i, name := range o.Exclude {
		if !isFieldName(name) {
			return fmt.Errorf("%w: exclude %.72q", ErrTags, name)
		}
		if slices.Contains(o.Exclude[:i], name) {
			return fmt.Errorf("%w: exclude %.72q stands twice", ErrTags, name)
		}
	}
	return nil
}

// isFieldName says whether s looks like a field of a message: letters, digits and hyphens.
func isFieldName(s string) bool {
	for _, c := range []byte(s) {
		isLetter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !isLetter && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxExcludeName
}

// Excludes says whether the assignment leaves that field out of what the process sees. Data, Anchor, Signature and Tags
// can be left out; any other name is signed and means nothing, so that nobody can take from a process the fields by which
// it judges a message.
func (f AssignmentFields) Excludes(field string) bool {
	switch field {
	case "Data", "Anchor", "Signature", "Tags":
		return slices.Contains(f.Exclude, field)
	}
	return false
}
