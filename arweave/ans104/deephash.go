package ans104

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// DeepHash is Arweave's deep hash of a list of blobs: SHA-384 over each blob with its length, folded from
// left to right over the length of the list.
func DeepHash(chunks ...[]byte) [48]byte {
	acc := listHash(len(chunks))
	for _, c := range chunks {
		acc = foldBlob(acc, c)
	}
	return acc
}

// DeepHashData is the deep hash of the list of the prefix blobs and one last blob, the n bytes that data
// yields. It holds none of them in memory and reads no further than n.
func DeepHashData(prefix [][]byte, data io.Reader, n int64) ([48]byte, error) {
	if n < 0 {
		return [48]byte{}, fmt.Errorf("hash data: %w: %d bytes", ErrTooShort, n)
	}
	acc := listHash(len(prefix) + 1)
	for _, c := range prefix {
		acc = foldBlob(acc, c)
	}
	h := sha512.New384()
	if _, err := io.CopyN(h, data, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return [48]byte{}, fmt.Errorf("hash data: %w", err)
	}
	var sum [48]byte
	h.Sum(sum[:0])
	return fold(acc, blobHash(n, &sum)), nil
}

// DeepHash returns the 48 bytes that the owner signs: the deep hash of "dataitem", "1", the signature type
// in decimal, owner, target, anchor, the raw tag block and the data.
func (it *Item) DeepHash() [48]byte {
	return itemDeepHash(it.typ, it.Owner(), it.Target(), it.Anchor(), it.RawTags(), it.Data())
}

// hashFrom is DeepHash from begunHash of its owner on.
func (it *Item) hashFrom(begun [48]byte) [48]byte {
	return foldBlobs(begun, it.Target(), it.Anchor(), it.RawTags(), it.Data())
}

// itemDeepHash starts from the constant that the first three of the eight blobs fold to.
func itemDeepHash(t SignatureType, rest ...[]byte) [48]byte {
	return foldBlobs(itemPrefix(t), rest...)
}

func foldBlobs(acc [48]byte, blobs ...[]byte) [48]byte {
	for _, c := range blobs {
		acc = foldBlob(acc, c)
	}
	return acc
}

func listHash(n int) [48]byte {
	var buf [32]byte
	return sha512.Sum384(strconv.AppendInt(append(buf[:0], "list"...), int64(n), 10))
}

func foldBlob(acc [48]byte, blob []byte) [48]byte {
	if len(blob) == 0 {
		return fold(acc, [48]byte([]byte(emptyBlob)))
	}
	sum := sha512.Sum384(blob)
	return fold(acc, blobHash(int64(len(blob)), &sum))
}

// blobHash is the deep hash of a blob of n bytes whose SHA-384 is sum.
func blobHash(n int64, sum *[48]byte) [48]byte {
	return fold(blobTag(n), *sum)
}

// emptyBlob is the deep hash of a blob of no bytes: of a target or anchor that is absent.
const emptyBlob = "\xfb\xf0\x0c\xc4\x44\xf5\xfe\xa9\xdc\x3b\xed\xf6\x2a\x13\xfb\xa8\xae\x87\xe7\x44\x5f\xc9\x10\x56" +
	"\x7a\x23\xbe\xc4\xeb\x82\xfa\xdb\x11\x43\xc4\x33\x06\x93\x14\xd8\x36\x29\x83\xdc\x3c\x2e\x4a\x38"

// blobTag is SHA-384 of "blob" and the length in decimal. That of the lengths which fixed fields have is known.
func blobTag(n int64) (tag [48]byte) {
	switch n {
	case 32:
		copy(tag[:], "\x3d\x4f\xc9\xab\xdc\x35\x97\x0f\x56\x9f\x7d\x3d\x9e\x2b\xa3\x07\xf6\x2b\x5e\x56\xa3\x02\x55\xc9"+
			"\xbf\x76\x4a\x74\xf3\x98\xf4\x5d\x9b\x4d\x93\xe2\x9a\x38\x98\xb0\xf8\x27\x65\xad\xc9\x3f\x96\xe4")
	case rsaLen:
		copy(tag[:], "\xd8\x3c\x5c\x22\xfb\xc9\xb3\xf9\x42\xdc\x20\xa8\x4a\xd5\x74\x2b\x84\x7b\x42\x2b\x99\x9b\xff\x93"+
			"\xaa\xfa\xc1\xfd\xfc\x2b\xe5\x65\x63\xb1\x21\xad\x05\xeb\x92\x0d\x60\xa7\x65\x03\x49\x67\xbd\x8c")
	default:
		var buf [32]byte
		tag = sha512.Sum384(strconv.AppendInt(append(buf[:0], "blob"...), n, 10))
	}
	return tag
}

func fold(a, b [48]byte) [48]byte {
	var pair [96]byte
	copy(pair[:48], a[:])
	copy(pair[48:], b[:])
	return sha512.Sum384(pair[:])
}

// itemPrefix is the deep hash of an item's list after its first three blobs, "dataitem", "1" and the type in
// decimal: what is the same for all items of a type. It spares a third of the hashing of a small item.
func itemPrefix(t SignatureType) (acc [48]byte) {
	switch t {
	case Arweave:
		copy(acc[:], "\xc1\x51\x56\xce\xf3\xb4\xb7\xb8\x7f\x85\x0c\xe8\x0b\x64\x62\x49\x63\xe2\xd3\xe0\xc1\x9c\x9c\x5f"+
			"\x65\x01\xd6\x8d\x97\x79\xd4\x59\x2a\x50\xe3\x52\xdb\x2f\xf7\x5b\x8c\x86\x4d\x36\xf0\x09\x81\x1a")
	case Ed25519:
		copy(acc[:], "\x5b\x78\x4e\xa2\xbb\x0b\x97\x0d\x08\x79\x48\x05\xde\x85\x60\x99\xb8\xf5\x28\x09\x96\xd3\x14\x06"+
			"\x24\x9b\xce\xba\xde\x5f\xd2\x13\xb9\xc9\x3a\xf7\xf8\xa6\x32\xff\xaf\x51\xaa\xee\x5b\x9e\x51\x23")
	case Ethereum:
		copy(acc[:], "\xcf\x52\x0c\xdf\x16\xe5\x17\x90\xd6\x41\xb2\x3d\xb9\x9a\x9a\x9c\x16\x2a\x54\x6e\x9e\x34\x8d\xaf"+
			"\xb6\x22\xcf\x71\x9b\x0a\x90\xe6\xd9\x48\xe6\x7b\x09\x3a\xfb\xa5\xee\xfe\x99\xc7\x87\xf0\xc3\x9e")
	case Solana:
		copy(acc[:], "\x70\x6a\xee\xdd\x21\xd5\xa8\xc6\xdc\x12\xef\xa2\x58\x60\xcd\x3e\xc7\x4d\x95\xd5\xf2\x17\xb5\x0d"+
			"\xbd\x0c\xd2\xd7\x08\x54\x86\x09\x73\x5b\x9e\x25\xae\x24\x25\x28\x09\x55\x05\x31\xb9\xef\x32\x32")
	case TypedEthereum:
		copy(acc[:], "\xe6\xfb\x91\x16\x9d\xfc\x51\xfb\x9f\xe4\x07\x02\xeb\x1f\xac\x75\xa6\x23\x7c\xbf\x64\xd0\x82\x6f"+
			"\xb8\x22\x04\xd2\x06\xc7\x55\x6c\x87\x49\x09\xd4\x57\x75\xca\x70\x8d\x6f\x6f\x99\x0d\x65\xa6\x39")
	}
	return acc
}
