package ao

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// Process is the initial item of a log: who owns it, which module computes it and who schedules it (§3.1).
type Process struct {
	message   Message
	module    ID
	authority []string
}

// Process reads a spawn as the process that it starts. Errors: ErrType.
func (m Message) Process() (Process, error) {
	if !m.spawn {
		return Process{}, fmt.Errorf("%w: %s is no process", ErrType, m.ID())
	}
	module, err := ParseID(m.Tags().Get("Module"))
	if err != nil {
		return Process{}, fmt.Errorf("%w: Module: %w", ErrTags, err)
	}
	p := Process{message: m, module: module}
	for _, list := range m.Tags().All("Authority") {
		for a := range strings.SplitSeq(list, ",") {
			if a = strings.TrimSpace(a); a != "" {
				p.authority = append(p.authority, a)
			}
		}
	}
	return p, nil
}

// ID is the process's ID, that of its item.
func (p Process) ID() ID { return p.message.ID() }

// Message is the process as the message in slot 0.
func (p Process) Message() Message { return p.message }

// Owner is the address that signed the process, or the process that spawned it.
func (p Process) Owner() string { return p.message.From() }

// Tags is the process's ordered tags.
func (p Process) Tags() Tags { return p.message.Tags() }

// Module is the ID of the module item that computes it.
func (p Process) Module() ID { return p.module }

// Scheduler is the address whose assignments make its log.
func (p Process) Scheduler() string {
	address, _ := p.message.Tag("Scheduler")
	return address
}

// enoughBlocks is how deep in the chain a transaction must be for a process that does not say it.
const enoughBlocks = 20

// SettlementDepth is how many blocks must confirm a transaction of Arweave before it is assigned to the process: what its tag
// of that name says, and at least one, for until then it may vanish.
func (p Process) SettlementDepth() uint64 {
	n, err := strconv.ParseUint(p.Tags().Get("Settlement-Depth"), 10, 63)
	if err != nil {
		return enoughBlocks
	}
	return max(n, 1)
}

// Authorities are the addresses whose pushed messages the process trusts.
func (p Process) Authorities() []string { return p.authority }

// Trusts says whether a message signed by that address may speak for another process.
func (p Process) Trusts(address string) bool {
	for _, a := range p.authority {
		if a == address {
			return true
		}
	}
	return false
}

// Module is a published module: the code of processes and the limits that it asks for.
type Module struct {
	item *ans104.Item
}

// NewModule verifies an item and takes it as a module. Errors: those of ans104, ErrNotAO, ErrType, ErrTags.
func NewModule(it *ans104.Item) (Module, error) {
	tags := Tags(it.Tags())
	if tags.Get("Data-Protocol") != DataProtocol {
		return Module{}, ErrNotAO
	}
	if tags.Get("Type") != TypeModule {
		return Module{}, fmt.Errorf("%w: %.32q, want %s", ErrType, tags.Get("Type"), TypeModule)
	}
	for _, need := range []string{"Module-Format", "Input-Encoding", "Output-Encoding"} {
		if tags.Get(need) == "" {
			return Module{}, fmt.Errorf("%w: a module needs %s", ErrTags, need)
		}
	}
	if err := it.Verify(); err != nil {
		return Module{}, err
	}
	return Module{item: it}, nil
}

// SignModule makes the module item of wasm code in the given format with its limits, as tags.
func SignModule(s ans104.Signer, format, memoryLimit, computeLimit string, code []byte, extra ...Tag) (Module, error) {
	tags := Tags{
		{Name: "Data-Protocol", Value: DataProtocol},
		{Name: "Type", Value: TypeModule},
		{Name: "Variant", Value: Variant},
		{Name: "Module-Format", Value: format},
		{Name: "Input-Encoding", Value: "JSON-1"},
		{Name: "Output-Encoding", Value: "JSON-1"},
		{Name: "Memory-Limit", Value: memoryLimit},
		{Name: "Compute-Limit", Value: computeLimit},
		{Name: "Content-Type", Value: "application/wasm"},
	}
	it, err := ans104.Sign(s, ans104.Fields{Tags: append(tags, extra...), Data: code})
	if err != nil {
		return Module{}, fmt.Errorf("sign module: %w", err)
	}
	return Module{item: it}, nil
}

// ID is the module item's ID.
func (m Module) ID() ID { return m.item.ID() }

// Owner is the address that published it.
func (m Module) Owner() string { return m.item.OwnerAddress() }

// Tags is the module's ordered tags.
func (m Module) Tags() Tags { return Tags(m.item.Tags()) }

// Format is the Module-Format tag: which machine can run the code.
func (m Module) Format() string { return m.Tags().Get("Module-Format") }

// Code is the module's bytes; they must not be changed.
func (m Module) Code() []byte { return m.item.Data() }

// Item is the signed item itself.
func (m Module) Item() *ans104.Item { return m.item }

// Limits is what one evaluation of a process may use.
type Limits struct {
	Memory  uint64 // bytes of linear memory
	Compute uint64 // the Compute-Limit tag, before a machine's own ceiling
}

// LimitsOf reads Memory-Limit and Compute-Limit: a process's tag overrides its module's. Errors: ErrTags.
func LimitsOf(p Process, m Module) (Limits, error) {
	pick := func(name string) string {
		if v, ok := p.Tags().Lookup(name); ok {
			return v
		}
		return m.Tags().Get(name)
	}
	memory, err := parseBytes(pick("Memory-Limit"))
	if err != nil {
		return Limits{}, fmt.Errorf("%w: Memory-Limit: %w", ErrTags, err)
	}
	compute, err := strconv.ParseUint(pick("Compute-Limit"), 10, 64)
	if err != nil {
		return Limits{}, fmt.Errorf("%w: Compute-Limit %.24q is not a decimal number", ErrTags, pick("Compute-Limit"))
	}
	return Limits{Memory: memory, Compute: compute}, nil
}

// parseBytes reads "512-mb", "1gb", "65536": a whole number and an optional unit, powers of 1024.
func parseBytes(s string) (uint64, error) {
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ- ")
	unit := strings.ToLower(strings.Trim(s[len(digits):], "- "))
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.24q is not a size such as 512-mb", s)
	}
	shift := map[string]uint{"": 0, "b": 0, "kb": 10, "mb": 20, "gb": 30, "tb": 40}
	by, ok := shift[unit]
	if !ok || n > (1<<50)>>by {
		return 0, fmt.Errorf("%.24q is not a size such as 512-mb", s)
	}
	return n << by, nil
}
