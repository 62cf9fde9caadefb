package simnet

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/remote"
)

// bait is a computer that offers below all others and means something else.
type bait struct {
	*Stranger
	asked atomic.Int64
}

// baits starts one that answers who asks for a quote as it pleases.
func (c *City) baits(answer func(*Stranger, market.Need, market.Offer, *p2p.Stream) error) *bait {
	c.T.Helper()
	var topic *p2p.Topic
	var last atomic.Pointer[market.Offer]
	b := &bait{}
	b.Stranger = c.Stranger(func(s *Stranger) {
		topic = s.joins(market.Computer)
		s.P2P.Handle("quote", remote.Version, func(_ context.Context, _ p2p.Peer, st *p2p.Stream) error {
			b.asked.Add(1)
			if _, err := st.Read(0); err != nil { // the header says nothing
				return err
			}
			raw, err := st.Read(0)
			if err != nil {
				return err
			}
			n, err := market.ParseNeed(raw)
			if err != nil {
				return err
			}
			return answer(s, n, *last.Load(), st)
		})
	})
	go func() {
		for {
			raw := b.offer(b.Signer, b.addr, 1)
			o, err := market.ParseOffer(raw)
			if err != nil {
				panic(err) // it was just signed
			}
			last.Store(&o)
			if topic.Publish(context.Background(), raw) != nil || !b.passes(20*time.Second) {
				return
			}
		}
	}()
	return b
}
