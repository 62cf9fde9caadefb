package cu

// What tests damage on purpose.
var (
	AnswerKey      = answerKey
	CheckpointName = checkpointName
	ResultName     = resultName
	SettledKey     = settledKey
	NextKey        = nextKey
)

// Queued is how many processes wait for a place to work.
func (u *Unit) Queued() int {
	u.lock.Lock()
	defer u.lock.Unlock()
	return u.queued.Len()
}
