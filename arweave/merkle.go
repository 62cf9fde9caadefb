package arweave

import (
	"fmt"

	"github.com/everFinance/goar/utils"

	"github.com/aopeer/aopeer/arweave/l1"
)

// Chunks cuts data into provable pieces; a piece's Data shares memory with data. Empty data has none.
func Chunks(data []byte) ([]l1.Chunk, error) {
	if len(data) == 0 {
		return nil, nil
	}
	cut, err := utils.GenerateChunks(data)
	if err != nil {
		return nil, fmt.Errorf("cut chunks: %w", err)
	}
	chunks := make([]l1.Chunk, len(cut.Chunks))
	for i, c := range cut.Chunks {
		chunks[i] = l1.Chunk{
			Root: cut.DataRoot, Size: uint64(len(data)), Offset: uint64(cut.Proofs[i].Offest),
			Path: cut.Proofs[i].Proof, Data: data[c.MinByteRange:c.MaxByteRange],
		}
	}
	return chunks, nil
}
