package archtest

import (
	"path"
	"strings"
)

// floorOf is the house's table: a package imports only packages of lower floors. Packages on one floor do not know
// each other; a subpackage may know the room it is in.
func floorOf(pkg string) (floor int, known bool) {
	switch pkg {
	case "arweave/ans104": // the cellar
		return -1, true
	case "arweave/l1", "p2p", "internal/store", "internal/trace":
		return 0, true
	case "ao", "arweave", "arweave/devnet":
		return 1, true
	case "wasmvm", "attest", "market":
		return 2, true
	case "units", "staking":
		return 3, true
	case "units/su", "units/cu", "units/mu", "units/remote", "units/unitstest", "internal/gateway":
		return 4, true
	case "internal/node", "internal/trial":
		return 5, true
	case "simnet":
		return 6, true
	case "cmd/aopeer":
		return 7, true
	}
	return 0, false
}

// outside tells whether a package stands outside the house: the tests and measurements of the house itself, and the guest
// program that runs inside a virtual machine. Nothing imports them.
func outside(pkg string) bool {
	return within(pkg, "internal/archtest") || within(pkg, "internal/e2e") || within(pkg, "internal/bench") || within(pkg, "internal/crash") || within(pkg, "wasmvm/guest")
}

func checkFloor(all []*Source) []Finding {
	var out []Finding
	for _, s := range all {
		from, known := floorOf(s.pkg())
		if s.isTest() || !known {
			continue
		}
		for _, spec := range s.File.Imports {
			to, ours := strings.CutPrefix(importPath(spec), Module+"/")
			if !ours {
				continue
			}
			floor, known := floorOf(to)
			switch {
			case !known:
				out = append(out, s.at(spec.Pos(), "%s imports %s, which has no floor", s.pkg(), to))
			case floor < from || within(s.pkg(), to):
			case floor == from:
				out = append(out, s.at(spec.Pos(), "%s imports %s sideways on floor %d", s.pkg(), to, from))
			default:
				out = append(out, s.at(spec.Pos(), "%s on floor %d imports %s up on floor %d", s.pkg(), from, to, floor))
			}
		}
	}
	return out
}

func checkRoom(all []*Source) []Finding {
	var out []Finding
	seen := make(map[string]bool)
	for _, s := range all {
		pkg := s.pkg()
		if _, known := floorOf(pkg); known || outside(pkg) || seen[pkg] {
			continue
		}
		seen[pkg] = true
		out = append(out, s.at(s.File.Package, "package %s is not in the table of floors", pkg))
	}
	return out
}

func checkName(s *Source) []Finding {
	var out []Finding
	switch strings.TrimSuffix(strings.TrimSuffix(path.Base(s.Path), ".go"), "_test") {
	case "util", "utils", "helper", "helpers", "type", "types", "interface", "interfaces", "common", "misc", "model", "models":
		out = append(out, s.at(s.File.Package, "file %s: name it after what it does", path.Base(s.Path)))
	}
	for _, part := range append(strings.Split(s.pkg(), "/"), s.File.Name.Name) {
		switch part {
		case "util", "utils", "helper", "helpers", "types", "interfaces", "common", "misc", "models", "pkg":
			return append(out, s.at(s.File.Package, "package %s: name it after a noun of the paper", s.pkg()))
		}
	}
	return out
}

func checkLength(s *Source) []Finding {
	const most = 600
	if s.isTest() || s.Lines <= most {
		return nil
	}
	return []Finding{s.at(s.File.FileStart, "%d lines, at most %d: split it by verb", s.Lines, most)}
}
