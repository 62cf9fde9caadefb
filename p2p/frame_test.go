package p2p

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
)

// meter is a reservation with a limit.
type meter struct{ held, peak, limit int }

func (m *meter) grow(n int) error {
	if m.limit > 0 && m.held+n > m.limit {
		return ErrBusy
	}
	m.held += n
	m.peak = max(m.peak, m.held)
	return nil
}

func (m *meter) shrink(n int) { m.held = max(m.held-n, 0) }

func frame(kind byte, data []byte) []byte { return append(appendHeader(nil, kind, len(data)), data...) }

func TestReadFrame(t *testing.T) {
	for name, test := range map[string]struct {
		wire []byte
		max  int
		want error
	}{
		"empty":               {nil, 10, io.EOF},
		"no kind":             {[]byte{0}, 10, ErrMalformed},
		"kind missing":        {[]byte{1}, 10, io.ErrUnexpectedEOF},
		"unknown kind":        {[]byte{1, 9}, 10, ErrMalformed},
		"torn length":         {[]byte{0x80}, 10, io.ErrUnexpectedEOF},
		"long form of length": {[]byte{0x81, 0x00, 0}, 10, ErrMalformed},
		"length of 6 bytes":   {[]byte{0x80, 0x80, 0x80, 0x80, 0x80, 1, 0}, 10, ErrMalformed},
		"beyond max":          {frame(kindData, make([]byte, 11)), 10, ErrTooLarge},
		"4 GiB announced":     {[]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, 1 << 20, ErrTooLarge},
		"torn":                {frame(kindData, make([]byte, 10))[:8], 10, io.ErrUnexpectedEOF},
		"large refusal":       {frame(kindRefusal, make([]byte, maxRefusal+1)), 1 << 20, ErrTooLarge},
		"at max":              {frame(kindData, make([]byte, 10)), 10, nil},
		"nothing in it":       {frame(kindData, nil), 0, nil},
	} {
		memory := new(meter)
		_, _, err := readFrame(bufio.NewReader(bytes.NewReader(test.wire)), test.max, memory)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if memory.held != 0 {
			t.Errorf("%s: %d bytes stay reserved", name, memory.held)
		}
	}
}

func TestFrameMemoryFollowsWhatCame(t *testing.T) {
	memory := new(meter)
	wire := frame(kindData, make([]byte, 16<<20))[:100<<10]
	if _, _, err := readFrame(bufio.NewReader(bytes.NewReader(wire)), 16<<20, memory); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if memory.peak > 300<<10 || memory.held != 0 {
		t.Errorf("100 KiB of an announced 16 MiB reserved %d, kept %d", memory.peak, memory.held)
	}
	memory = &meter{limit: 1 << 20}
	wire = frame(kindData, make([]byte, 4<<20))
	if _, _, err := readFrame(bufio.NewReader(bytes.NewReader(wire)), 16<<20, memory); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond the reservation: %v", err)
	}
	if memory.held != 0 {
		t.Errorf("kept %d", memory.held)
	}
	memory = new(meter)
	if _, data, err := readFrame(bufio.NewReader(bytes.NewReader(wire)), 16<<20, memory); err != nil ||
		len(data) != 4<<20 || cap(data) != 4<<20 || memory.held != 4<<20 {
		t.Errorf("whole frame: %d of %d bytes, %d reserved, %v", len(data), cap(data), memory.held, err)
	}
}

func TestRefusalRoundTrip(t *testing.T) {
	for _, r := range []Refused{{}, {Code: "busy"}, {Code: "busy", Detail: "12 behind"}, {Detail: "x"}} {
		got, err := decodeRefusal(encodeRefusal(&r))
		if err != nil || *got != r {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
	}
	long := Refused{Code: string(make([]byte, 100)), Detail: string(make([]byte, 2000))}
	if wire := encodeRefusal(&long); len(wire) > maxRefusal {
		t.Errorf("long refusal has %d bytes", len(wire))
	}
	for _, bad := range [][]byte{nil, {5, 'a'}, {200, 1}, {0x80}} {
		if _, err := decodeRefusal(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(frame(kindData, []byte("hello")))
	f.Add(append(frame(kindData, nil), frame(kindRefusal, encodeRefusal(&Refused{Code: "c", Detail: "d"}))...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})
	f.Add([]byte{0x81, 0x00, 0})
	f.Add(frame(kindData, make([]byte, frameStep+1)))
	f.Fuzz(func(t *testing.T, wire []byte) {
		const limit = 1 << 20
		memory := &meter{limit: 2 * limit}
		r := bufio.NewReaderSize(bytes.NewReader(wire), readBuffer)
		var again []byte
		for {
			memory.shrink(memory.held)
			kind, data, err := readFrame(r, limit, memory)
			if err != nil {
				if memory.held != 0 {
					t.Fatalf("%d bytes stay reserved after %v", memory.held, err)
				}
				break
			}
			if len(data) > limit {
				t.Fatalf("frame of %d bytes", len(data))
			}
			if kind == kindRefusal {
				if refused, err := decodeRefusal(data); err == nil {
					_ = encodeRefusal(refused)
				}
			}
			again = append(again, frame(kind, data)...)
		}
		if memory.peak > 2*limit || memory.peak > 0 && memory.peak > 4*len(wire)+frameStep {
			t.Fatalf("%d bytes reserved %d", len(wire), memory.peak)
		}
		if !bytes.HasPrefix(wire, again) {
			t.Fatalf("frames have two encodings: %x and %x", wire, again)
		}
	})
}
