package splice

import "errors"

// RTCFociKey is the key of .well-known/matrix/client that announces MatrixRTC
// back ends (MSC4143, unstable prefix).
const RTCFociKey = "org.matrix.msc4143.rtc_foci"

// RTCFoci makes serviceURL the first back end of type livekit that a
// .well-known/matrix/client announces; nil edits when it is so already. src
// must be a JSON object, {} at least: an empty file is the caller's business.
//
// Elements of other types and all other keys stay. Clients take the first
// livekit element, so:
//   - where serviceURL is not in the array, the URL of the first livekit
//     element is replaced, and its other keys stay (it is our own older
//     announcement; a second SFU is never announced by adding one before it);
//   - where it stands behind another livekit element, the two change places:
//     the other is another SFU's and is kept;
//   - further elements with the same URL are removed.
//
// URLs are compared without a trailing slash and written without one.
func RTCFoci(src []byte, serviceURL string) ([]Edit, error) {
	return nil, errors.New("not written yet")
}
