package p2p

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// What a Reject costs the neighbour that sent the message: rejectCost times the square of how many it has sent of late, in
// each topic. One puts it out of the mesh at the next heartbeat, three end the exchange of gossip with it, four that
// of our own messages, and from the sixth on nothing that it says is heard. All of it is forgiven in forgiveAfter.
const (
	rejectCost    = 10
	mute          = -5 * rejectCost  // below it no gossip is exchanged
	shun          = -12 * rejectCost // below it our own messages are not sent there
	graylist      = -30 * rejectCost // below it nothing from there is processed
	forgiveAfter  = 10 * time.Minute
	scoreInterval = time.Second
	// brokenPromises is how many broken promises and hasty returns to the mesh are free; they happen under load.
	brokenPromises = 6
)

// scoring is how neighbours are judged. Only what a neighbour answers for counts against it, and nothing counts for it:
// good marks for time and deliveries could be earned with chatter and spent on lies. Shared addresses are normal behind
// routers and on devnets and bounded by ConnsPerIP instead; topics are quiet for hours, so silence is no fault.
func scoring() (*pubsub.PeerScoreParams, *pubsub.PeerScoreThresholds) {
	params := &pubsub.PeerScoreParams{
		SkipAtomicValidation:      true,
		Topics:                    make(map[string]*pubsub.TopicScoreParams),
		AppSpecificScore:          func(peer.ID) float64 { return 0 },
		BehaviourPenaltyWeight:    -1,
		BehaviourPenaltyThreshold: brokenPromises,
		BehaviourPenaltyDecay:     pubsub.ScoreParameterDecay(forgiveAfter),
		DecayInterval:             scoreInterval,
		DecayToZero:               0.01,
		// Coming back under the same key is no way out.
		RetainScore: forgiveAfter,
	}
	thresholds := &pubsub.PeerScoreThresholds{
		SkipAtomicValidation: true,
		GossipThreshold:      mute, PublishThreshold: shun, GraylistThreshold: graylist,
	}
	return params, thresholds
}

// topicScoring is the same for every topic.
func topicScoring() *pubsub.TopicScoreParams {
	return &pubsub.TopicScoreParams{
		SkipAtomicValidation:           true,
		TopicWeight:                    1,
		InvalidMessageDeliveriesWeight: -rejectCost,
		InvalidMessageDeliveriesDecay:  pubsub.ScoreParameterDecay(forgiveAfter),
		TimeInMeshQuantum:              time.Second, // divided by, although its weight is 0
	}
}
