package splice

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The implicit resolvers of PyYAML 6 (lib/yaml/resolver.py), in its order.
var folds = []struct {
	first string // first bytes that PyYAML tries the pattern for
	tag   string
	re    *regexp.Regexp
}{
	{"yYnNtTfFoO", "!!bool", regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)},
	{
		first: "-+0123456789.",
		tag:   "!!float",
		re:    regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`),
	},
	{
		first: "-+0123456789",
		tag:   "!!int",
		re:    regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`),
	},
	{"<", "!!merge", regexp.MustCompile(`^<<$`)},
	{"~nN", "!!null", regexp.MustCompile(`^(?:~|null|Null|NULL)$`)},
	{
		first: "0123456789",
		tag:   "!!timestamp",
		re:    regexp.MustCompile(`^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$`),
	},
	{"=", "!!value", regexp.MustCompile(`^=$`)},
}

// foldTag is the tag that PyYAML gives an untagged plain scalar.
func foldTag(text string) string {
	if text == "" {
		return "!!null"
	}
	for _, f := range folds {
		if strings.IndexByte(f.first, text[0]) >= 0 && f.re.MatchString(text) {
			return f.tag
		}
	}
	return "!!str"
}

// fold is the value that PyYAML's SafeConstructor makes of a scalar; it fails
// where that fails.
func fold(tag, text string) (any, error) {
	switch tag {
	case "!!str":
		return text, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		switch strings.ToLower(text) {
		case "yes", "true", "on":
			return true, nil
		case "no", "false", "off":
			return false, nil
		}
	case "!!int":
		if n, ok := foldInt(text); ok {
			return n, nil
		}
	case "!!float":
		if f, ok := foldFloat(text); ok {
			return f, nil
		}
	case "!!timestamp", "!!binary":
		return Other{Tag: tag, Text: text}, nil
	default:
		return nil, fmt.Errorf("a value of type %s is not read by PyYAML's SafeLoader, or not by ecdeploy", tag)
	}
	return nil, fmt.Errorf("a value is not the %s that it is written as", tag)
}

// foldInt reads an int: int, or *big.Int where that is too small.
func foldInt(text string) (any, bool) {
	digits, neg := sign(strings.ReplaceAll(text, "_", ""))
	base := 10
	n := new(big.Int)
	switch {
	case strings.Contains(digits, ":") && digits[0] != '0':
		for part := range strings.SplitSeq(digits, ":") {
			p, ok := new(big.Int).SetString(part, 10)
			if !ok || p.Sign() < 0 {
				return nil, false
			}
			n.Add(n.Mul(n, big.NewInt(60)), p)
		}
	default:
		switch {
		case strings.HasPrefix(digits, "0b"):
			base, digits = 2, digits[2:]
		case strings.HasPrefix(digits, "0x"):
			base, digits = 16, digits[2:]
		case len(digits) > 1 && digits[0] == '0':
			base = 8
		}
		if strings.HasPrefix(digits, "+") || strings.HasPrefix(digits, "-") {
			return nil, false
		}
		if _, ok := n.SetString(digits, base); !ok {
			return nil, false
		}
	}
	if neg {
		n.Neg(n)
	}
	if n.IsInt64() && int64(int(n.Int64())) == n.Int64() {
		return int(n.Int64()), true
	}
	return n, true
}

func foldFloat(text string) (float64, bool) {
	digits, neg := sign(strings.ToLower(strings.ReplaceAll(text, "_", "")))
	var f float64
	switch {
	case strings.Contains(digits, ":"):
		base := 1.0
		for _, part := range slices.Backward(strings.Split(digits, ":")) {
			p, err := strconv.ParseFloat(part, 64)
			if err != nil {
				return 0, false
			}
			f, base = f+p*base, base*60
		}
	default:
		p, err := strconv.ParseFloat(strings.Replace(digits, ".inf", "inf", 1), 64)
		if digits == ".nan" {
			p, err = strconv.ParseFloat("nan", 64)
		}
		if err != nil && !strings.Contains(err.Error(), "out of range") {
			return 0, false
		}
		f = p
	}
	if neg {
		f = -f
	}
	return f, true
}

func sign(digits string) (rest string, neg bool) {
	switch {
	case strings.HasPrefix(digits, "-"):
		return digits[1:], true
	case strings.HasPrefix(digits, "+"):
		return digits[1:], false
	}
	return digits, false
}
