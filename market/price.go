package market

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"strconv"

	"github.com/aopeer/aopeer/ao"
)

// maxPrice is the largest price component; one above it is absurd.
const maxPrice = math.MaxInt64

// The components of prices, and of the counts that they are multiplied by, for each role. An attestor has one
// component, its annual rate in millionths, and the counts are what is attested and for how many milliseconds.
const (
	SUMessage = 0 // a message
	SUKiB     = 1 // a KiB of it
	SUProcess = 2 // a process hosted
	SUWatched = 3 // surcharge for a process whose challenges are watched
	SUWindow  = 4 // surcharge for a short liveness window

	CUBase    = 0 // an answer
	CUSlot    = 1 // a slot that must be replayed first
	CUCompute = 2 // a unit of compute
	CUKiB     = 3 // a KiB of the result

	MUPush = 0 // a message pushed
	MUHop  = 1 // a hop of what follows from it
	MUDay  = 2 // a day that a process is monitored

	AttestRate   = 0 // millionths a year; as a count, the value attested
	AttestPeriod = 1 // as a count, for how many milliseconds
)

const (
	maxParts = 5
	year     = 365 * 24 * 3600 * 1000 // milliseconds
)

// Parts is a number for each component of a role.
type Parts [maxParts]uint64

// PartNames are the names of a role's components, in their order: the JSON members of prices.
func PartNames(r Role) []string {
	switch r {
	case Scheduler:
		return []string{"message", "kib", "process", "watched", "window"}
	case Computer:
		return []string{"base", "slot", "compute", "kib"}
	case Messenger:
		return []string{"push", "hop", "day"}
	case Attestor:
		return []string{"rate"}
	}
	return nil
}

// encodeParts is the JSON object of prices, amounts as decimal strings, zeros left out.
func encodeParts(r Role, p Parts) json.RawMessage {
	b := []byte{'{'}
	for i, name := range PartNames(r) {
		if p[i] == 0 {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `"%s":"%d"`, name, p[i])
	}
	return append(b, '}')
}

// pricesBody is that object as it is read, of any role: in one pass, because every gossiped offer comes this way. A
// component that is absent is 0, one that is unknown, or of another role, is not owed and ignored.
type pricesBody struct {
	Message, KiB, Process, Watched, Window component
	Base, Slot, Compute                    component
	Push, Hop, Day                         component
	Rate                                   component
}

func (b *pricesBody) parts(r Role) Parts {
	var p Parts
	switch r {
	case Scheduler:
		p[SUMessage], p[SUKiB], p[SUProcess], p[SUWatched], p[SUWindow] = uint64(b.Message), uint64(b.KiB), uint64(b.Process), uint64(b.Watched), uint64(b.Window)
	case Computer:
		p[CUBase], p[CUSlot], p[CUCompute], p[CUKiB] = uint64(b.Base), uint64(b.Slot), uint64(b.Compute), uint64(b.KiB)
	case Messenger:
		p[MUPush], p[MUHop], p[MUDay] = uint64(b.Push), uint64(b.Hop), uint64(b.Day)
	case Attestor:
		p[AttestRate] = uint64(b.Rate)
	}
	return p
}

// component is a price that is small enough, on the wire an amount.
type component uint64

// UnmarshalText reads the decimal form of ao.Amount. Errors: Absurd.
func (c *component) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil || b[0] == '0' && len(b) > 1 || b[0] == '+' {
		return refuse(Absurd, "%.90q", b)
	}
	*c = component(v)
	return nil
}

// check refuses components that are absurd, or that the role does not have.
func (p Parts) check(r Role) error {
	for i, v := range p {
		if v > maxPrice {
			return refuse(Absurd, "%d", v)
		}
		if i >= len(PartNames(r)) && v != 0 {
			return refuse(BadShape, "a %s has no price number %d", r, i)
		}
	}
	return nil
}

// smallAmount is an amount that fits a price component.
func smallAmount(a ao.Amount) (uint64, error) {
	if a.Cmp(ao.NewAmount(maxPrice)) > 0 {
		return 0, refuse(Absurd, "%s", a)
	}
	return strconv.ParseUint(a.String(), 10, 64)
}

// cost is what counts cost at prices, saturating: for ranking and caps, where more than 2^64 is as bad as 2^64.
func cost(r Role, prices, counts *Parts) uint64 {
	if r == Attestor {
		return attestCost(prices, counts)
	}
	// Unrolled: this is what a look at many offers is made of.
	h0, l0 := bits.Mul64(prices[0], counts[0])
	h1, l1 := bits.Mul64(prices[1], counts[1])
	h2, l2 := bits.Mul64(prices[2], counts[2])
	h3, l3 := bits.Mul64(prices[3], counts[3])
	h4, l4 := bits.Mul64(prices[4], counts[4])
	sum, c1 := bits.Add64(l0, l1, 0)
	sum, c2 := bits.Add64(sum, l2, 0)
	sum, c3 := bits.Add64(sum, l3, 0)
	sum, c4 := bits.Add64(sum, l4, 0)
	if h0|h1|h2|h3|h4|c1|c2|c3|c4 != 0 {
		return math.MaxUint64
	}
	return sum
}

// attestCost is value × rate × period / (a year × a million), rounded up as everything that is charged.
func attestCost(prices, counts *Parts) uint64 {
	hi, lo := bits.Mul64(prices[AttestRate], counts[AttestRate])
	perYear, exact := divide(hi, lo, 1_000_000)
	hi, lo = bits.Mul64(perYear, counts[AttestPeriod])
	out, exact2 := divide(hi, lo, year)
	if (!exact || !exact2) && out < math.MaxUint64 && counts[AttestPeriod] != 0 {
		out++
	}
	return out
}

// divide is a 128-bit number through d, saturating, and whether nothing was left over.
func divide(hi, lo, d uint64) (q uint64, exact bool) {
	if hi >= d {
		return math.MaxUint64, true
	}
	q, rest := bits.Div64(hi, lo, d)
	return q, rest == 0
}

// bill is what counts cost at prices, component by component, exact. An attestor's bill has one part. Errors: Absurd.
func bill(r Role, prices, counts *Parts) (parts []ao.Amount, sum ao.Amount, err error) {
	if r == Attestor {
		c := attestCost(prices, counts)
		if c == math.MaxUint64 {
			return nil, ao.Amount{}, refuse(Absurd, "the attestation's price")
		}
		return []ao.Amount{ao.NewAmount(c)}, ao.NewAmount(c), nil
	}
	for i := range PartNames(r) {
		part, err := ao.NewAmount(prices[i]).Mul(counts[i])
		if err != nil {
			return nil, ao.Amount{}, refuse(Absurd, "part %d", i)
		}
		parts = append(parts, part)
	}
	sum, err = total(parts)
	return parts, sum, err
}

// total is the sum of amounts. Errors: Absurd.
func total(parts []ao.Amount) (sum ao.Amount, err error) {
	for _, p := range parts {
		if sum, err = sum.Add(p); err != nil {
			return ao.Amount{}, refuse(Absurd, "a sum")
		}
	}
	return sum, nil
}
