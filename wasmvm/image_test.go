package wasmvm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
)

func testImage() *Image {
	mem := make([]byte, 3*wasmPage)
	copy(mem[5000:], "hello")
	mem[len(mem)-1] = 1
	return captureImage(mem, []byte("globals"))
}

func TestImageRoundTrip(t *testing.T) {
	img := testImage()
	file, err := img.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeImage(file, 3*wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	if got.Len() != 3*wasmPage || got.Count() != 2 || string(got.Tail()) != "globals" || !bytes.Equal(got.pages, img.pages) {
		t.Fatalf("decoded %d bytes, %d pages, tail %q", got.Len(), got.Count(), got.Tail())
	}
	var list []uint32
	for index, p := range got.Pages {
		list = append(list, index)
		if index == 1 && string(p[5000-PageSize:][:5]) != "hello" {
			t.Error("page 1 holds something else")
		}
	}
	if len(list) != 2 || list[0] != 1 || list[1] != 47 {
		t.Errorf("pages %v", list)
	}
	if _, err := DecodeImage(file, 2*wasmPage); !errors.Is(err, ErrImage) {
		t.Errorf("image over the limit: %v", err)
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if _, err := DecodeImage(bad, testLimit); !errors.Is(err, ErrImage) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	for n := range file {
		if _, err := DecodeImage(file[:n], testLimit); !errors.Is(err, ErrImage) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

// TestImageMemory: read in pieces of any size, an image is the memory that it was taken of.
func TestImageMemory(t *testing.T) {
	mem := make([]byte, 3*wasmPage)
	for _, at := range []int{0, 5000, 8191, 8192, 2 * wasmPage, len(mem) - 1} {
		mem[at] = byte(at) | 1
	}
	img := captureImage(mem, nil)
	for _, piece := range []int{1 << 20, 4096, 1000} {
		var got []byte
		for r := img.Memory(); ; {
			b := make([]byte, piece)
			n, err := r.Read(b)
			got = append(got, b[:n]...)
			if err != nil {
				break
			}
			if n == 0 {
				t.Fatal("nothing was read")
			}
		}
		if !bytes.Equal(got, mem) {
			t.Errorf("in pieces of %d the memory is another", piece)
		}
	}
}

// reseal gives a forged image the digest it needs to be looked at.
func reseal(file []byte) []byte {
	body := file[:len(file)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestImageForged(t *testing.T) {
	file, err := testImage().Encode()
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	for name, forge := range map[string]func(b []byte) []byte{
		"length":      func(b []byte) []byte { le.PutUint64(b[8:], 1<<60); return b },
		"odd length":  func(b []byte) []byte { le.PutUint64(b[8:], wasmPage+1); return b },
		"more pages":  func(b []byte) []byte { le.PutUint32(b[16:], 1<<31); return b },
		"long tail":   func(b []byte) []byte { le.PutUint32(b[20:], 1<<30); return b },
		"packed size": func(b []byte) []byte { le.PutUint64(b[24:], 1<<63); return b },
		"order":       func(b []byte) []byte { le.PutUint32(b[32:], 47); return b },
		"outside":     func(b []byte) []byte { le.PutUint32(b[36:], 48); return b },
		"pages":       func(b []byte) []byte { b[len(b)-sha256.Size-1] ^= 0xff; return b },
	} {
		if _, err := DecodeImage(reseal(forge(bytes.Clone(file))), testLimit); !errors.Is(err, ErrImage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	zero := testImage()
	clear(zero.pages[:PageSize])
	file, err = zero.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeImage(file, testLimit); !errors.Is(err, ErrImage) {
		t.Errorf("zero page: %v", err)
	}
}

// FuzzImageDecode feeds files whose digest is right, so that everything behind it is reached.
func FuzzImageDecode(f *testing.F) {
	file, err := testImage().Encode()
	if err != nil {
		f.Fatal(err)
	}
	empty, err := captureImage(nil, nil).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file[:len(file)-sha256.Size])
	f.Add(empty[:len(empty)-sha256.Size])
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		img, err := DecodeImage(append(bytes.Clone(body), sum[:]...), 1<<24)
		if err != nil {
			if !errors.Is(err, ErrImage) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		again, err := img.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeImage(again, 1<<24)
		if err != nil || !bytes.Equal(back.pages, img.pages) || !bytes.Equal(back.tail, img.tail) || back.length != img.length {
			t.Fatalf("second reading differs: %v", err)
		}
	})
}

// FuzzInspect reads hostile modules; what it passes must survive its own rewriting.
func FuzzInspect(f *testing.F) {
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x01"))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x01\x05\x01\x60\x01\x7f\x00\x02\x07\x01\x01e\x01f\x00\x00\x05\x04\x01\x05\x01\x02\x06\x06\x01\x7f\x01\x41\x07\x0b\x07\x05\x01\x01m\x02\x00"))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		s, err := inspect(wasm)
		if err != nil {
			if !errors.Is(err, ErrModule) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		out, err := s.exportGlobals()
		if err != nil {
			return
		}
		again, err := inspect(out)
		if err != nil {
			t.Fatalf("rewritten module: %v", err)
		}
		if len(again.imports) != len(s.imports) || len(again.globals) != len(s.globals) || again.memory != s.memory {
			t.Fatal("rewriting changed the module")
		}
	})
}
