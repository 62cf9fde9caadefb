package cu

// What tests damage on purpose.
var (
	AnswerKey      = answerKey
	CheckpointName = checkpointName
	ResultName     = resultName
	SettledKey     = settledKey
	NextKey        = nextKey
)
