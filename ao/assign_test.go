package ao

import (
	"slices"
	"strings"
	"testing"
)

func TestAssignOptions(t *testing.T) {
	for name, c := range map[string]struct {
		exclude []string
		fits    bool
	}{
		"nothing":     {nil, true},
		"some":        {[]string{"Data", "Forwarded-By", "x9"}, true},
		"empty":       {[]string{""}, false},
		"twice":       {[]string{"Data", "Data"}, false},
		"a list":      {[]string{"Data,Tags"}, false},
		"no ASCII":    {[]string{"D\xc3\xa4ta"}, false},
		"long":        {[]string{strings.Repeat("x", 65)}, false},
		"as long":     {[]string{strings.Repeat("x", 64)}, true},
		"brackets":    {[]string{"[", "@", "{"}, false},
		"many":        {strings.Split("abcdefghijklmnopq", ""), false},
		"not so many": {strings.Split("abcdefghijklmnop", ""), true},
	} {
		err := AssignOptions{Exclude: c.exclude}.Check()
		if (err == nil) != c.fits {
			t.Errorf("%s: %v", name, err)
		}
		if !c.fits {
			wantErr(t, err, ErrTags)
		}
	}
}

func TestExcludes(t *testing.T) {
	all := []string{"Data", "Anchor", "Signature", "Tags", "Owner", "From", "Target", "Id", "data"}
	var got []string
	for _, name := range all {
		if (AssignmentFields{Exclude: all}).Excludes(name) {
			got = append(got, name)
		}
		if (AssignmentFields{}).Excludes(name) {
			t.Errorf("%s is excluded by nobody", name)
		}
	}
	if !slices.Equal(got, all[:4]) {
		t.Errorf("excluded are %v, want %v", got, all[:4])
	}
}

func TestIsFor(t *testing.T) {
	m, err := SignMessage(signer("user"), id(7), nil, nil, nil)
	check(t, err)
	if !m.IsFor(id(7)) || m.IsFor(m.ID()) {
		t.Error("a message is for its target alone")
	}
	p, err := SignProcess(signer("user"), id(1), "s", nil, nil, nil)
	check(t, err)
	if !p.IsFor(p.ID()) || p.IsFor(id(7)) || p.IsFor(ID{}) {
		t.Error("a process without a target is for itself alone")
	}
}

// TestFurtherProcesses: the tag Assignments is a JSON list, in a text or as it is.
func TestFurtherProcesses(t *testing.T) {
	long := `["` + strings.Repeat(`p","`, maxList) + `p"]`
	for name, c := range map[string]struct {
		tags Tags
		want []string
		err  error
	}{
		"none":       {Tags{{Name: "Action", Value: "a"}}, nil, nil},
		"a list":     {Tags{{Name: "Assignments", Value: ` ["p", "q"]`}}, []string{"p", "q"}, nil},
		"the first":  {Tags{{Name: "Assignments", Value: `["p"]`}, {Name: "Assignments", Value: `["q"]`}}, []string{"p"}, nil},
		"an empty":   {Tags{{Name: "Assignments", Value: `{}`}}, nil, nil},
		"a process":  {Tags{{Name: "Assignments", Value: id(1).String()}}, nil, ErrDraft},
		"an object":  {Tags{{Name: "Assignments", Value: `{"p":"q"}`}}, nil, ErrDraft},
		"half":       {Tags{{Name: "Assignments", Value: `["p"`}}, nil, ErrDraft},
		"a long one": {Tags{{Name: "Assignments", Value: long}}, nil, ErrDraft},
	} {
		got, err := Draft{Tags: c.tags}.Assignments()
		wantErr(t, err, c.err)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
