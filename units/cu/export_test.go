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

// Borrowed is how many dry-runs have a copy or wait for one; they are answered before they give it back.
func (u *Unit) Borrowed() int {
	u.lock.Lock()
	defer u.lock.Unlock()
	users := 0
	for _, r := range u.readers.readers {
		users += r.users
	}
	return users
}
