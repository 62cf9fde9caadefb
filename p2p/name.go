package p2p

import (
	"crypto/ed25519"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	maxNetwork = 32
	maxName    = 128
)

// CheckNetwork says whether name can name a network: 1 to 32 characters of a-z, 0-9 and "-".
func CheckNetwork(name string) error {
	if len(name) == 0 || len(name) > maxNetwork {
		return fmt.Errorf("%w: %d characters, want 1 to %d", ErrName, len(name), maxNetwork)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: %q holds a character other than a-z, 0-9 and \"-\"", ErrName, name)
		}
	}
	return nil
}

// wireName is the form of every protocol ID and topic: /ao/<network>/<name>/<version>.
func (n *Node) wireName(name, version string) (string, error) {
	for _, part := range []string{name, version} {
		if err := checkPath(part); err != nil {
			return "", err
		}
	}
	return "/ao/" + n.config.Network + "/" + name + "/" + version, nil
}

// checkPath allows segments of letters, digits, ".", "_" and "-", joined by single slashes.
func checkPath(path string) error {
	if len(path) == 0 || len(path) > maxName {
		return fmt.Errorf("%w: %q has %d characters, want 1 to %d", ErrName, path, len(path), maxName)
	}
	slash := true
	for _, c := range []byte(path) {
		switch {
		case c == '/':
			if slash {
				return fmt.Errorf("%w: %q has an empty segment", ErrName, path)
			}
			slash = true
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			slash = false
		default:
			return fmt.Errorf("%w: %q holds a forbidden character", ErrName, path)
		}
	}
	if slash {
		return fmt.Errorf("%w: %q has an empty segment", ErrName, path)
	}
	return nil
}

// Peer is who is at the other end of a stream, proved by the connection's handshake.
type Peer struct {
	// ID is the libp2p identity.
	ID peer.ID
	// PublicKey is the unit key, the same identity in its raw form.
	PublicKey ed25519.PublicKey
}

// PeerIDFromKey gives the peer ID of a unit's public key.
func PeerIDFromKey(key ed25519.PublicKey) (peer.ID, error) {
	public, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	return id, nil
}

// KeyFromPeerID gives the public key that a peer ID is made of; ErrKey for a peer whose key is not Ed25519.
func KeyFromPeerID(id peer.ID) (ed25519.PublicKey, error) {
	public, err := id.ExtractPublicKey()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if public.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("%w: %s is not an Ed25519 key", ErrKey, public.Type())
	}
	raw, err := public.Raw()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return ed25519.PublicKey(raw), nil
}
