package arweave

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/everFinance/goar/utils"
)

const (
	// MaxChunk is the most data one chunk carries.
	MaxChunk = 256 << 10
	// MaxDataPath bounds a chunk's proof.
	MaxDataPath = 64 << 10

	hashSize   = 32
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

// Chunks cuts data into provable pieces; a piece's Data shares memory with data. Empty data has none.
func Chunks(data []byte) ([]Chunk, error) {
	if len(data) == 0 {
		return nil, nil
	}
	cut, err := utils.GenerateChunks(data)
	if err != nil {
		return nil, fmt.Errorf("cut chunks: %w", err)
	}
	chunks := make([]Chunk, len(cut.Chunks))
	for i, c := range cut.Chunks {
		chunks[i] = Chunk{
			Root: cut.DataRoot, Size: uint64(len(data)), Offset: uint64(cut.Proofs[i].Offest),
			Path: cut.Proofs[i].Proof, Data: data[c.MinByteRange:c.MaxByteRange],
		}
	}
	return chunks, nil
}

// DataRoot is the merkle root over the chunks of data; nil for empty data.
func DataRoot(data []byte) ([]byte, error) {
	chunks, err := Chunks(data)
	if err != nil || len(chunks) == 0 {
		return nil, err
	}
	return chunks[0].Root, nil
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
		if !bytes.Equal(id, hashOfHashes(first, second, note)) {
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
	if !ok || end != right || !bytes.Equal(id, hashOfHashes(path[:hashSize], path[hashSize:])) {
		return 0, fmt.Errorf("%w: chunk proof does not lead to the data root", ErrTx)
	}
	sum := sha256.Sum256(c.Data)
	if !bytes.Equal(sum[:], path[:hashSize]) || uint64(len(c.Data)) != right-left {
		return 0, fmt.Errorf("%w: chunk is not the proven data", ErrTx)
	}
	return left, nil
}

func hashOfHashes(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256(p)
		h.Write(sum[:])
	}
	return h.Sum(nil)
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
