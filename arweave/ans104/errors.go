package ans104

import "errors"

// What is wrong with bytes that are refused. Every error of this package wraps one of these.
var (
	// ErrTooShort means that the bytes end before the field that they announce.
	ErrTooShort = errors.New("ans104: item is too short")
	// ErrSignatureType means a signature type that this package does not know.
	ErrSignatureType = errors.New("ans104: unknown signature type")
	// ErrPresence means a presence byte that is neither 0 nor 1.
	ErrPresence = errors.New("ans104: presence byte is neither 0 nor 1")
	// ErrTarget means a target to be signed that has neither 0 nor 32 bytes.
	ErrTarget = errors.New("ans104: target is not 32 bytes")
	// ErrAnchor means an anchor to be signed that has neither 0 nor 32 bytes.
	ErrAnchor = errors.New("ans104: anchor is not 32 bytes")
	// ErrTagCount means more than MaxTags tags, or another number of them than the item announces.
	ErrTagCount = errors.New("ans104: wrong number of tags")
	// ErrTagBytes means a tag block of more than MaxTagBytes bytes.
	ErrTagBytes = errors.New("ans104: too many tag bytes")
	// ErrTagEncoding means a tag block that is not an Avro array of tags, or has bytes behind it.
	ErrTagEncoding = errors.New("ans104: malformed tag block")
	// ErrSignature means that the signature is not the owner's over these bytes.
	ErrSignature = errors.New("ans104: invalid signature")
	// ErrMalleable means a signature in a form that somebody other than the signer could have made from a
	// valid one, which would give the same content a second ID.
	ErrMalleable = errors.New("ans104: signature is not in its only accepted form")
	// ErrKey means a key that cannot be one of its signature type.
	ErrKey = errors.New("ans104: invalid key")
	// ErrID means text that is not an ID, or a bundle entry whose ID is not that of its item.
	ErrID = errors.New("ans104: invalid ID")
	// ErrBundle means bytes that are not exactly a bundle.
	ErrBundle = errors.New("ans104: malformed bundle")
	// ErrDepth means bundles nested deeper than MaxDepth.
	ErrDepth = errors.New("ans104: bundles nested too deep")
	// ErrTooManyItems means a bundle that expands to more than MaxItems items.
	ErrTooManyItems = errors.New("ans104: too many items")
)
