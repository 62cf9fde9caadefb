package remote

import (
	"context"
	"encoding/json"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/p2p"
)

const verbStatus = "status"

// ServeStatus answers who asks how this peer is, with whatever the function returns as JSON.
func ServeStatus(node *p2p.Node, status func(context.Context) (any, error)) {
	serve(node, verbStatus, func(ctx context.Context, _ struct{}, st *p2p.Stream) error {
		s, err := status(ctx)
		if err != nil {
			return err
		}
		return writeHeader(st, s)
	})
}

// Status asks a peer how it is.
func Status(ctx context.Context, node *p2p.Node, to peer.ID) (json.RawMessage, error) {
	call, err := client{node: node, to: to}.open(ctx, verbStatus, struct{}{})
	if err != nil {
		return nil, err
	}
	defer call.close()
	var out json.RawMessage
	if err := call.header(&out); err != nil {
		return nil, short(verbStatus, err)
	}
	return out, nil
}
