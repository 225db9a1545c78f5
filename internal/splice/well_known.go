package splice

import "strings"

// rtcFociKey is the key of .well-known/matrix/client that announces MatrixRTC
// back ends (MSC4143, unstable prefix).
const rtcFociKey = "org.matrix.msc4143.rtc_foci"

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
	url := strings.TrimRight(serviceURL, "/")
	entry := Map{{Key: "type", Value: "livekit"}, {Key: "livekit_service_url", Value: url}}
	if err := checkValue(entry); err != nil {
		return nil, err
	}
	edits, err := rtcFoci(src, url, entry)
	if err != nil {
		return nil, refused(err, jsonLines(Path{rtcFociKey}, []any{entry}))
	}
	return edits, nil
}

func rtcFoci(src []byte, url string, entry Map) ([]Edit, error) {
	path := Path{rtcFociKey}
	root, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	foci, _, err := root.find(path)
	switch {
	case err != nil:
		return nil, err
	case foci == nil || foci.kind == 'n':
		return JSONSet(src, path, []any{entry})
	case foci.kind != '[':
		return nil, refuse("%s is not an array", rtcFociKey)
	}
	livekit, ours, err := rtcElements(src, foci, url)
	switch {
	case err != nil:
		return nil, err
	case len(livekit) == 0:
		return JSONSet(src, path.join(len(foci.kids)), entry)
	case len(ours) == 0:
		return JSONSet(src, path.join(livekit[0], "livekit_service_url"), url)
	}
	var steps []func([]byte) ([]Edit, error)
	// The last first, so that the indexes of those to come stay right.
	for i := len(ours) - 1; i > 0; i-- {
		steps = append(steps, func(text []byte) ([]Edit, error) { return JSONDelete(text, path.join(ours[i])) })
	}
	if a, b := livekit[0], ours[0]; a != b {
		steps = append(steps, func(text []byte) ([]Edit, error) { return swapJSON(text, path, a, b) })
	}
	return Chain(src, steps...)
}

// rtcElements are the indexes of the livekit elements, and of those with the
// URL.
func rtcElements(src []byte, foci *jsonNode, url string) (livekit, ours []int, err error) {
	for i, n := range foci.kids {
		if n.kind != '{' {
			continue
		}
		for _, key := range []string{"type", "livekit_service_url"} {
			if _, err := n.index(key); err != nil {
				return nil, nil, err
			}
		}
		m := n.tree(src).(Map)
		if m.Get("type") != "livekit" {
			continue
		}
		livekit = append(livekit, i)
		if u, ok := m.Get("livekit_service_url").(string); ok && strings.TrimRight(u, "/") == url {
			ours = append(ours, i)
		}
	}
	return livekit, ours, nil
}

// swapJSON exchanges the elements a and b, a before b, of the array at path.
func swapJSON(src []byte, path Path, a, b int) ([]Edit, error) {
	root, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	list, _, err := root.find(path)
	if err != nil {
		return nil, err
	}
	x, y := list.kids[a], list.kids[b]
	return []Edit{
		{Off: x.off, Len: x.end - x.off, Text: string(src[y.off:y.end])},
		{Off: y.off, Len: y.end - y.off, Text: string(src[x.off:x.end])},
	}, nil
}
