package p2p

// Counts is what was refused to other peers because of Limits, each under its reason, since the node was made. Whoever
// calls sees ErrBusy, or that the node is not to be reached.
type Counts struct {
	Conns   uint64 `json:"connections"` // of all peers, from one address, or in the handshake
	Streams uint64 `json:"streams"`     // over a peer's share
	Rate    uint64 `json:"rate"`        // over a peer's calls a second
	Memory  uint64 `json:"memory"`      // over a peer's share of the buffers
	Gossip  uint64 `json:"gossip"`      // over a neighbour's messages a second
	Topics  uint64 `json:"topics"`      // subscriptions to too many unknown topics
	Flood   uint64 `json:"flood"`       // peers put off for a minute because they did not stop
}

// counts are the refusals so far.
func (a *admission) counts() Counts {
	n := func(why bound) uint64 { return a.refused[why].Load() }
	return Counts{
		Conns: n(boundConns), Streams: n(boundStreams), Rate: n(boundRate), Memory: n(boundMemory),
		Gossip: n(boundGossip), Topics: n(boundTopics), Flood: n(boundFlood),
	}
}
