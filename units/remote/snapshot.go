package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

const verbOffers = "offers"

// What a snapshot may cost. Whoever asks names the offers that it has by the first bytes of their IDs, so that asking a
// neighbour who knows the same costs next to nothing.
const (
	markLen        = 8
	maxHave        = 4 * 5120 * markLen // bytes: all that a book may hold
	maxSnapshotAll = 4096               // offers in one answer
	maxSnapshotLen = 4 << 20            // bytes of it
	snapshotBatch  = 64                 // offers that are verified together, and that are written together
	maxPullsServed = 16                 // at once
	pullPatience   = 10 * time.Second
	maxPassedOn    = 128 // offers of one pull that are published again
)

// When a peer asks for snapshots.
const (
	joinAsks    = 3 // neighbours asked at once by a newcomer
	learnEvery  = 100 * time.Millisecond
	askEvery    = 500 * time.Millisecond // one more neighbour, once there is something in the book
	againEvery  = time.Minute            // some neighbour that was asked before: what gossip lost
	seekAfter   = 3 * time.Second        // the DHT, if no neighbour has an offer until then
	seekEvery   = 2 * time.Second        // and again, with growing pauses
	seekFor     = 5 * time.Second
	seekBuckets = 4 // of a role, at once

	maxSeekEvery = time.Minute
)

// offerBuckets is over how many DHT keys the sellers of a role and format are spread, by the first byte of their names.
const offerBuckets = 16

type offersRequest struct{}

// serveOffers answers with the offers that whoever asks does not have.
func (m *Market) serveOffers() {
	serve(m.node, verbOffers, func(_ context.Context, _ offersRequest, st *p2p.Stream) error {
		have, err := st.Read(maxHave)
		if err != nil {
			return err
		}
		select {
		case m.pulls <- struct{}{}:
			defer func() { <-m.pulls }()
		default:
			return ao.Refuse(verbOffers, ao.Busy, "%d others are being answered", maxPullsServed)
		}
		for raws := range slices.Chunk(m.snapshot(have), snapshotBatch) {
			if err := st.Write(raws...); err != nil {
				return err
			}
		}
		return nil
	})
}

// snapshot is the offers that hold now but for those marked. Of more than fit any part will do, but not the same one
// always: names can be ground.
func (m *Market) snapshot(have []byte) (raws [][]byte) {
	known := make(map[[markLen]byte]bool, len(have)/markLen)
	for mark := range slices.Chunk(have, markLen) {
		known[[markLen]byte(append(mark, make([]byte, markLen-len(mark))...))] = true
	}
	for _, r := range marketRoles() {
		for _, o := range m.Offers(r) {
			if !known[markOf(o)] {
				raws = append(raws, o.Raw())
			}
		}
	}
	rand.Shuffle(len(raws), func(i, j int) { raws[i], raws[j] = raws[j], raws[i] })
	size := 0
	for i, raw := range raws {
		if size += len(raw); size > maxSnapshotLen || i == maxSnapshotAll {
			return raws[:i]
		}
	}
	return raws
}

func markOf(o market.Offer) [markLen]byte {
	id := o.ID()
	return [markLen]byte(id[:markLen])
}

// Pull takes over the offers that a peer has and this one has not: how a newcomer learns of the market without waiting
// for gossip. The error is a refusal; what came before it is kept.
func (m *Market) Pull(ctx context.Context, from peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, pullPatience)
	defer cancel()
	var have []byte
	for _, r := range marketRoles() {
		for _, o := range m.Offers(r) {
			mark := markOf(o)
			have = append(have, mark[:]...)
		}
	}
	call, err := client{node: m.node, to: from}.open(ctx, verbOffers, offersRequest{}, have[:min(len(have), maxHave)])
	if err != nil {
		return err
	}
	defer call.close()
	news, err := m.readOffers(call)
	if len(have) > 0 { // what the others around here may have missed as well
		for _, o := range news[:min(len(news), maxPassedOn)] {
			m.publish(ctx, o.Terms().Role, o.Raw())
		}
	}
	return err
}

// readOffers takes what comes, and gives what was news.
func (m *Market) readOffers(c *call) (news []market.Offer, err error) {
	for left := maxSnapshotAll; left >= 0; left -= snapshotBatch {
		raws, ended, err := readBatch(c)
		if err != nil {
			return news, err
		}
		taken, err := m.take(raws)
		if news = append(news, taken...); err != nil {
			return news, c.malformed("%v", err)
		}
		if ended {
			return news, nil
		}
	}
	return news, c.malformed("more than %d offers", maxSnapshotAll)
}

func readBatch(c *call) (raws [][]byte, ended bool, err error) {
	for range snapshotBatch {
		raw, err := c.read(market.MaxOffer)
		if errors.Is(err, io.EOF) {
			return raws, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		raws = append(raws, raw)
	}
	return raws, false, nil
}

// take verifies offers together and gives those that were news. The error is the first for which whoever sent them
// answers.
func (m *Market) take(raws [][]byte) (news []market.Offer, fault error) {
	offers, errs := market.ParseOffers(raws)
	for i, o := range offers {
		err := errs[i]
		if err == nil {
			err = m.add(o)
		}
		if err == nil {
			news = append(news, o)
		} else if m.refuse(err).IsFault() && fault == nil {
			fault = fmt.Errorf("offer %d: %w", i, err)
		}
	}
	return news, fault
}

// known is how many offers of others hold now.
func (m *Market) known() (n int) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, r := range marketRoles() {
		n += m.book.Len(r)
	}
	return n
}

// learn fills the book: a newcomer asks three neighbours at once, then each further one as it comes, and where no
// neighbour knows of an offer, the DHT. All the while this peer says in the DHT what it sells.
func (m *Market) learn(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { m.provide(ctx) })
	pace := learnEvery
	tick := time.NewTicker(pace)
	defer tick.Stop()
	asked := map[peer.ID]bool{}
	seeking, buckets := make(chan struct{}, 1), rand.Perm(offerBuckets)
	var again time.Time
	seek, pause := time.Now().Add(seekAfter), seekEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, isNew := time.Now(), m.known() == 0
		if !isNew && pace == learnEvery { // a newcomer is in a hurry, nobody else is
			pace = askEvery
			tick.Reset(pace)
			continue
		}
		fresh, all := m.neighbours(asked)
		switch {
		case len(fresh) > 0 && isNew:
			fresh = fresh[:min(joinAsks, len(fresh))]
		case len(fresh) > 0:
			fresh = fresh[:1]
		case !isNew && len(all) > 0 && now.Sub(again) > againEvery:
			fresh, again = all[:1], now
		case isNew && now.After(seek):
			select {
			case seeking <- struct{}{}:
				next := buckets[:seekBuckets:seekBuckets]
				buckets = append(buckets[seekBuckets:], next...)
				tasks.Go(func() {
					m.seek(ctx, next)
					<-seeking
				})
			default:
			}
			clear(asked)
			seek, pause = now.Add(pause), min(2*pause, maxSeekEvery)
		}
		m.pullAll(ctx, fresh)
		for _, p := range fresh {
			asked[p] = true
		}
	}
}

// neighbours are the connected peers, in no order, and those of them that were not asked since they are connected.
func (m *Market) neighbours(asked map[peer.ID]bool) (fresh, all []peer.ID) {
	all = m.node.Neighbours()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for p := range asked {
		if !slices.Contains(all, p) {
			delete(asked, p)
		}
	}
	for _, p := range all {
		if !asked[p] {
			fresh = append(fresh, p)
		}
	}
	return fresh, all
}

// pullAll pulls from peers at once.
func (m *Market) pullAll(ctx context.Context, from []peer.ID) {
	var tasks sync.WaitGroup
	for _, p := range from {
		tasks.Go(func() {
			if err := m.Pull(ctx, p); err != nil {
				m.log.Debug("pull offers", "peer", p, "err", err)
			}
		})
	}
	tasks.Wait()
}

// seek asks the DHT for sellers in some buckets, and pulls from those that it names.
func (m *Market) seek(ctx context.Context, buckets []int) {
	ctx, cancel := context.WithTimeout(ctx, seekFor)
	defer cancel()
	found := make(chan []peer.ID)
	var tasks sync.WaitGroup
	for _, r := range []market.Role{market.Computer, market.Scheduler, market.Messenger} {
		for _, bucket := range buckets {
			tasks.Go(func() {
				infos, err := m.node.FindProviders(ctx, offerKey(r, "", byte(bucket)), joinAsks)
				if err != nil {
					m.log.Debug("find offers", "err", err)
				}
				var ids []peer.ID
				for _, info := range infos {
					ids = append(ids, info.ID)
				}
				select {
				case found <- ids:
				case <-ctx.Done():
				}
			})
		}
	}
	go func() {
		tasks.Wait()
		close(found)
	}()
	for ids := range found {
		if m.pullAll(ctx, ids); m.known() > 0 {
			cancel()
		}
	}
}

// provide says in the DHT, under the keys of each role, what this peer sells.
func (m *Market) provide(ctx context.Context) {
	for r, shop := range m.cfg.Shops {
		for _, format := range append([]string{""}, shop.Terms.Formats...) {
			bounded, cancel := context.WithTimeout(ctx, time.Minute)
			err := m.node.Provide(bounded, offerKey(r, format, m.self[0]%offerBuckets))
			cancel()
			if err != nil && !errors.Is(err, p2p.ErrNoPeers) {
				m.log.Debug("provide offer", "role", r, "err", err)
			}
		}
	}
}

// offerKey is where the sellers of a role and format ("" for all) in one bucket are found in the DHT.
func offerKey(r market.Role, format string, bucket byte) []byte {
	return fmt.Appendf(nil, "offers/%s/%s/%x", r, format, bucket)
}
