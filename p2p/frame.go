package p2p

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// A frame on the wire is a uvarint length, a kind byte and the bytes; the length counts the kind byte.
const (
	kindData    = 0
	kindRefusal = 1

	// frameStep is how much is allocated before the first byte of a frame has come: memory grows with what was
	// received, not with what was announced.
	frameStep = 64 << 10

	maxRefusalCode   = 64
	maxRefusalDetail = 1024
	maxRefusal       = 2 + maxRefusalCode + maxRefusalDetail
)

// reservation grows and shrinks the memory accounted to a stream; grow may refuse.
type reservation interface {
	grow(bytes int) error
	shrink(bytes int)
}

// readFrame reads one frame of at most max bytes. It gives io.EOF only when the stream ended between frames.
func readFrame(r *bufio.Reader, max int, memory reservation) (kind byte, data []byte, err error) {
	size, err := readUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	if size == 0 {
		return 0, nil, fmt.Errorf("%w: frame without a kind", ErrMalformed)
	}
	size--
	kind, err = r.ReadByte()
	if err != nil {
		return 0, nil, inside(err)
	}
	switch kind {
	case kindData:
	case kindRefusal:
		max = maxRefusal
	default:
		return 0, nil, fmt.Errorf("%w: unknown kind of frame %d", ErrMalformed, kind)
	}
	if size > uint64(max) {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes, limit %d", ErrTooLarge, size, max)
	}
	data, err = readGrowing(r, int(size), memory)
	return kind, data, err
}

// readGrowing reads exactly size bytes into a buffer that doubles as they arrive.
func readGrowing(r io.Reader, size int, memory reservation) ([]byte, error) {
	room := min(size, frameStep)
	if size > frameStep {
		if err := memory.grow(room); err != nil {
			return nil, err
		}
	}
	buffer := make([]byte, room)
	for have := 0; ; {
		if _, err := io.ReadFull(r, buffer[have:]); err != nil {
			memory.shrink(len(buffer))
			return nil, inside(err)
		}
		have = len(buffer)
		if have == size {
			return buffer, nil
		}
		room = min(size, 2*have)
		if err := memory.grow(room); err != nil {
			memory.shrink(have)
			return nil, err
		}
		larger := make([]byte, room)
		copy(larger, buffer)
		buffer = larger
		memory.shrink(have)
	}
}

// readUvarint accepts the shortest form only, so that a frame has one encoding.
func readUvarint(r *bufio.Reader) (uint64, error) {
	var value uint64
	for i := range 5 {
		b, err := r.ReadByte()
		if err != nil {
			if i == 0 {
				return 0, err
			}
			return 0, inside(err)
		}
		value |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				return 0, fmt.Errorf("%w: length is not in shortest form", ErrMalformed)
			}
			return value, nil
		}
	}
	return 0, fmt.Errorf("%w: length has more than 5 bytes", ErrMalformed)
}

func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendHeader appends what precedes size bytes of a frame.
func appendHeader(to []byte, kind byte, size int) []byte {
	return append(binary.AppendUvarint(to, uint64(size)+1), kind)
}

// encodeRefusal gives the bytes of a refusal frame: uvarint length of the code, code, detail.
func encodeRefusal(r *Refused) []byte {
	code := r.Code[:min(len(r.Code), maxRefusalCode)]
	detail := r.Detail[:min(len(r.Detail), maxRefusalDetail)]
	out := binary.AppendUvarint(nil, uint64(len(code)))
	return append(append(out, code...), detail...)
}

func decodeRefusal(data []byte) (*Refused, error) {
	size, width := binary.Uvarint(data)
	if width <= 0 || size > maxRefusalCode || size > uint64(len(data)-width) {
		return nil, fmt.Errorf("%w: bad refusal", ErrMalformed)
	}
	rest := data[width:]
	return &Refused{
		Code:   strings.ToValidUTF8(string(rest[:size]), "?"),
		Detail: strings.ToValidUTF8(string(rest[size:]), "?"),
	}, nil
}
