package l1

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// minChunk is the least of data that is cut: where less would be left, the last two chunks share what there is.
const minChunk = 32 << 10

// hasRoot says whether data has that data root. Where the last two chunks share an odd number of bytes, arweave-js gives the
// odd one to the first and goar to the second; the chain takes either.
func hasRoot(data, root []byte) bool {
	up := dataRoot(data, 1)
	if bytes.Equal(up[:], root) {
		return true
	}
	down := dataRoot(data, 0)
	return bytes.Equal(down[:], root)
}

// node is one of the tree over the chunks: its hash, and where the data under it ends.
type node struct {
	hash [hashSize]byte
	end  uint64
}

// dataRoot is the root of the tree over the chunks of data, which is not empty. carry is added before a rest is halved. Data
// that ends with a full chunk has an empty one behind it, as in the clients that sign.
func dataRoot(data []byte, carry int) [hashSize]byte {
	layer := make([]node, 0, len(data)/MaxChunk+2)
	end := uint64(0)
	for isLast := false; !isLast; {
		size := min(len(data), MaxChunk)
		if rest := len(data) - size; rest > 0 && rest < minChunk {
			size = (len(data) + carry) / 2
		}
		isLast = len(data) < MaxChunk
		sum := sha256.Sum256(data[:size])
		end += uint64(size)
		layer = append(layer, node{hashOfHashes(sum[:], note(end)), end})
		data = data[size:]
	}
	for len(layer) > 1 {
		above := layer[:0]
		for i := 0; i < len(layer); i += 2 {
			if i+1 == len(layer) {
				above = append(above, layer[i])
				break
			}
			left, right := layer[i], layer[i+1]
			above = append(above, node{hashOfHashes(left.hash[:], right.hash[:], note(left.end)), right.end})
		}
		layer = above
	}
	return layer[0].hash
}

// note is a position as the tree hashes it: 32 bytes, big-endian.
func note(position uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, hashSize-8, hashSize), position)
}

func hashOfHashes(parts ...[]byte) (out [hashSize]byte) {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256(p)
		h.Write(sum[:])
	}
	h.Sum(out[:0])
	return out
}
