package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/libp2p/go-libp2p/core/network"
)

// What can go wrong, for errors.Is. Those that a peer can cause on purpose cross the wire as reset codes.
var (
	// ErrClosed means that the node is not running.
	ErrClosed = errors.New("p2p node is not running")
	// ErrKey means a key or peer ID that is not Ed25519 or not well-formed.
	ErrKey = errors.New("not an Ed25519 peer key")
	// ErrName means a network, verb, version or topic name that cannot go into a protocol ID.
	ErrName = errors.New("name cannot be used on the wire")
	// ErrAddr means an address that is not a multiaddr, or lacks the peer ID.
	ErrAddr = errors.New("bad peer address")
	// ErrOtherNetwork means that the peer belongs to another network or speaks another wire version.
	ErrOtherNetwork = errors.New("peer is of another network")
	// ErrUnreachable means that the peer has no known address, cannot be dialled, or the connection was lost.
	ErrUnreachable = errors.New("peer is unreachable")
	// ErrUnsupported means that the peer does not serve this verb in this version.
	ErrUnsupported = errors.New("peer does not serve this verb")
	// ErrBusy means that a limit on streams, rate or memory was met; try later or elsewhere.
	ErrBusy = errors.New("peer is busy")
	// ErrTooLarge means a frame, request or message beyond its limit.
	ErrTooLarge = errors.New("too large")
	// ErrDeadline means that one side did not read or write in time.
	ErrDeadline = errors.New("deadline exceeded on stream")
	// ErrMalformed means bytes that are not frames, or a stream that ended inside one.
	ErrMalformed = errors.New("malformed stream")
	// ErrCanceled means that the caller gave the call up.
	ErrCanceled = errors.New("call canceled")
	// ErrFault means that the other side's handler failed for a reason that it keeps to itself.
	ErrFault = errors.New("fault at the peer")
	// ErrReset means that the other side reset the stream with a code unknown here.
	ErrReset = errors.New("stream reset")
	// ErrRefused is what every *Refused is.
	ErrRefused = errors.New("refused")
	// ErrNoPeers means that the DHT had nobody to ask.
	ErrNoPeers = errors.New("no DHT peers")
)

// Refused is an answer of no, with its reason: a code and an optional detail that this package carries and does
// not interpret. A handler returns it; the caller's Read or Call gets it back.
type Refused struct {
	// Code is at most 64 bytes; longer ones are cut.
	Code string
	// Detail is at most 1024 bytes; longer ones are cut.
	Detail string
}

// Refuse builds the error by which a handler refuses.
func Refuse(code, detail string) error { return &Refused{Code: code, Detail: detail} }

// Error gives the code and the detail.
func (r *Refused) Error() string {
	if r.Detail == "" {
		return "refused: " + r.Code
	}
	return "refused: " + r.Code + ": " + r.Detail
}

// Is makes every refusal an ErrRefused.
func (r *Refused) Is(target error) bool { return target == ErrRefused }

// Code is the reason given when a stream is reset. Codes below 0x10000 belong to libp2p and its transports.
type Code uint32

// The reset codes of this package.
const (
	CodeFault     Code = 0xa0_0001 // the handler failed
	CodeBusy      Code = 0xa0_0002 // a limit on streams, rate or memory was met
	CodeTooLarge  Code = 0xa0_0003 // a frame or request beyond the limit
	CodeDeadline  Code = 0xa0_0004 // no bytes in time
	CodeMalformed Code = 0xa0_0005 // bytes that are not frames
	CodeCanceled  Code = 0xa0_0006 // the caller gave up
	CodeClosing   Code = 0xa0_0007 // the node is shutting down
)

// resetError gives the sentinel for the code in a reset that came from the other side.
func resetError(code network.StreamErrorCode) error {
	switch Code(code) {
	case CodeFault:
		return ErrFault
	case CodeBusy:
		return ErrBusy
	case CodeTooLarge:
		return ErrTooLarge
	case CodeDeadline:
		return ErrDeadline
	case CodeMalformed:
		return ErrMalformed
	case CodeCanceled:
		return ErrCanceled
	case CodeClosing:
		return ErrUnreachable
	}
	switch code {
	case network.StreamResourceLimitExceeded, network.StreamRateLimited, network.StreamGarbageCollected:
		return ErrBusy
	case network.StreamProtocolNegotiationFailed:
		return ErrUnsupported
	case network.StreamShutdown, network.StreamGated:
		return ErrUnreachable
	}
	return ErrReset
}

// codeFor gives the reset code that tells the other side of err.
func codeFor(err error) Code {
	switch {
	case errors.Is(err, ErrBusy):
		return CodeBusy
	case errors.Is(err, ErrTooLarge):
		return CodeTooLarge
	case errors.Is(err, ErrDeadline), errors.Is(err, context.DeadlineExceeded):
		return CodeDeadline
	case errors.Is(err, ErrMalformed), errors.Is(err, io.EOF):
		return CodeMalformed
	case errors.Is(err, ErrCanceled), errors.Is(err, context.Canceled):
		return CodeCanceled
	}
	return CodeFault
}

// streamError turns what libp2p says about a failed read or write into one of our sentinels.
func streamError(err error) error {
	var timeout net.Error
	var reset *network.StreamError
	var lost *network.ConnError
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.As(err, &reset) && reset.Remote:
		return fmt.Errorf("%w (reset code %#x)", resetError(reset.ErrorCode), uint32(reset.ErrorCode))
	case errors.As(err, &lost):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrDeadline, err)
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return fmt.Errorf("%w: %w", ErrReset, err)
}
