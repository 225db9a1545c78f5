package firewall

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// nftShown is the most that is shown of a rule, in bytes.
const nftShown = 160

// String is the rule about as nft writes it, for a person to find it again.
func (r nftRule) String() string {
	var words []string
	for _, s := range r.Expr {
		words = append(words, nftStatementText(s))
	}
	text := host.Clean(strings.Join(words, " "))
	if len(text) > nftShown {
		text = strings.ToValidUTF8(text[:nftShown], "") + "..."
	}
	return fmt.Sprintf("%q (handle %d)", text, r.Handle)
}

func nftStatementText(s any) string {
	kind, body := nftOnly(s)
	o := nftObject(body)
	switch kind {
	case "match":
		op := nftText(o["op"])
		if op == "==" || op == "in" {
			op = ""
		}
		return strings.Join(strings.Fields(nftValueText(o["left"], 0)+" "+op+" "+nftValueText(o["right"], 0)), " ")
	case "jump", "goto":
		return kind + " " + nftText(o["target"])
	case "vmap":
		return nftValueText(o["key"], 0) + " vmap " + nftValueText(o["data"], 0)
	}
	return kind
}

// nftValueText is a value, a key, or a list of these; depth ends what a hostile host
// nests.
func nftValueText(v any, depth int) string {
	if depth > 4 {
		return "..."
	}
	join := func(list []any, by string) string {
		var out []string
		for i, one := range list {
			if i == 8 {
				out = append(out, "...")
				break
			}
			out = append(out, nftValueText(one, depth+1))
		}
		return strings.Join(out, by)
	}
	switch v := v.(type) {
	case string:
		return v[:min(len(v), nftShown)]
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		return join(v, ",")
	}
	kind, body := nftOnly(v)
	o := nftObject(body)
	switch kind {
	case "payload":
		return nftText(o["protocol"]) + " " + nftText(o["field"])
	case "meta", "ct":
		return kind + " " + nftText(o["key"])
	case "set":
		return "{ " + join(nftList(body), ", ") + " }"
	case "range":
		return join(nftList(body), "-")
	case "concat":
		return join(nftList(body), " . ")
	case "&", "|":
		return join(nftList(body), " "+kind+" ")
	case "prefix":
		return nftText(o["addr"]) + "/" + nftValueText(o["len"], depth+1)
	case "elem":
		return nftValueText(o["val"], depth+1)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(b[:min(len(b), nftShown)])
}
