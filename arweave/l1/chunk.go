package l1

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
)

const (
	// MaxChunk is the most data one chunk carries.
	MaxChunk = 256 << 10
	// MaxDataPath bounds a chunk's proof.
	MaxDataPath = 64 << 10

	leafSize   = hashSize + 32
	branchSize = 2*hashSize + 32
)

// Chunk is a piece of a transaction's data and the proof that it belongs there.
type Chunk struct {
	Root []byte
	// Size is the length of the whole data.
	Size uint64
	// Offset is the position of the chunk's last byte, as the proof addresses it.
	Offset uint64
	Path   []byte
	Data   []byte
}

// chunkJSON is a chunk on Arweave's HTTP interface.
type chunkJSON struct {
	DataRoot string `json:"data_root"`
	DataSize string `json:"data_size"`
	DataPath string `json:"data_path"`
	Offset   string `json:"offset"`
	Chunk    string `json:"chunk"`
}

// ParseChunk reads a posted chunk's JSON; Chunk.Verify says whether it is genuine.
func ParseChunk(raw []byte) (*Chunk, error) {
	var doc chunkJSON
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: chunk is not JSON: %w", ErrTx, err)
	}
	var c Chunk
	var err error
	for _, f := range []struct {
		text string
		into *[]byte
	}{{doc.DataRoot, &c.Root}, {doc.DataPath, &c.Path}, {doc.Chunk, &c.Data}} {
		if *f.into, err = Decode64(f.text); err != nil {
			return nil, fmt.Errorf("%w: chunk is not base64url", ErrTx)
		}
	}
	if c.Size, err = ParseSize(doc.DataSize); err != nil {
		return nil, fmt.Errorf("%w: chunk data_size: %w", ErrTx, err)
	}
	if c.Offset, err = ParseSize(doc.Offset); err != nil {
		return nil, fmt.Errorf("%w: chunk offset: %w", ErrTx, err)
	}
	return &c, nil
}

// MarshalJSON spells the chunk as POST /chunk takes it.
func (c *Chunk) MarshalJSON() ([]byte, error) {
	return json.Marshal(chunkJSON{
		DataRoot: Encode64(c.Root), DataSize: strconv.FormatUint(c.Size, 10), DataPath: Encode64(c.Path),
		Offset: strconv.FormatUint(c.Offset, 10), Chunk: Encode64(c.Data),
	})
}

// Verify checks the chunk's proof and returns where its data starts.
func (c *Chunk) Verify() (start uint64, err error) {
	if len(c.Root) != hashSize || c.Offset >= c.Size || len(c.Data) == 0 || len(c.Data) > MaxChunk || len(c.Path) > MaxDataPath {
		return 0, fmt.Errorf("%w: chunk out of bounds", ErrTx)
	}
	id, path, left, right := c.Root, c.Path, uint64(0), c.Size
	for len(path) > leafSize {
		if len(path) < branchSize+leafSize {
			return 0, fmt.Errorf("%w: chunk proof of %d bytes", ErrTx, len(path))
		}
		first, second, note := path[:hashSize], path[hashSize:2*hashSize], path[2*hashSize:branchSize]
		if hashOfHashes(first, second, note) != [hashSize]byte(id) {
			return 0, fmt.Errorf("%w: chunk proof does not lead to the data root", ErrTx)
		}
		split, ok := noteValue(note)
		if !ok || split <= left || split >= right {
			// A zero-length last leaf sits behind the end of the data; nothing lies right of it.
			if !ok || split != right || c.Offset >= split {
				return 0, fmt.Errorf("%w: chunk proof splits outside the data", ErrTx)
			}
		}
		if c.Offset < split {
			id, right = first, split
		} else {
			id, left = second, split
		}
		path = path[branchSize:]
	}
	if len(path) != leafSize {
		return 0, fmt.Errorf("%w: chunk proof of %d bytes", ErrTx, len(path))
	}
	end, ok := noteValue(path[hashSize:])
	if !ok || end != right || hashOfHashes(path[:hashSize], path[hashSize:]) != [hashSize]byte(id) {
		return 0, fmt.Errorf("%w: chunk proof does not lead to the data root", ErrTx)
	}
	sum := sha256.Sum256(c.Data)
	if !bytes.Equal(sum[:], path[:hashSize]) || uint64(len(c.Data)) != right-left {
		return 0, fmt.Errorf("%w: chunk is not the proven data", ErrTx)
	}
	return left, nil
}

// noteValue reads the 32-byte big-endian position of a tree node; positions over 63 bits do not exist.
func noteValue(note []byte) (uint64, bool) {
	for _, b := range note[:24] {
		if b != 0 {
			return 0, false
		}
	}
	v := binary.BigEndian.Uint64(note[24:])
	return v, v < 1<<63
}
