package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

// arrange puts a command line into the order that the parser reads without surprises: the command, its flags, and
// behind -- the arguments, byte for byte. So flags may stand anywhere, and data may be empty, begin with a dash or end
// with a space.
func arrange(root *cli.Command, args []string) []string {
	if len(args) == 0 {
		return args
	}
	path, at := args[:1:1], root
	var flags, rest []string
	lineage := []*cli.Command{root}
	for i := 1; i < len(args); i++ {
		a := args[i]
		switch sub := at.Command(a); {
		case a == "--":
			rest = append(rest, args[i+1:]...)
			i = len(args)
		case sub != nil && len(rest) == 0:
			path, at, lineage = append(path, a), sub, append(lineage, sub)
		case len(at.Commands) > 0 && (a == "help" || a == "h"): // the parser's own command
			return args
		case !isFlag(a):
			rest = append(rest, a)
		default:
			flags = append(flags, a)
			if takesNext(lineage, a) && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		}
	}
	out := slices.Concat(path, flags)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out
}

// isFlag tells a flag from data such as -5 or a comment of Lua.
func isFlag(a string) bool {
	name, dashed := strings.CutPrefix(a, "-")
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "-"), "=")
	return dashed && name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '-' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0 && name[0] != '-'
}

// takesNext says whether the argument behind a flag is its value.
func takesNext(lineage []*cli.Command, a string) bool {
	name := strings.TrimLeft(a, "-")
	for _, c := range lineage {
		for _, f := range c.Flags {
			if d, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
				return d.TakesValue()
			}
		}
	}
	return false
}
