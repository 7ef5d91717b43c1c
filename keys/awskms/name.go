package awskms

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
)

// CheckARN tells whether text is the full ARN of a key or of an alias. A bare id or alias is none: it
// means another key in every account and region.
func CheckARN(text string) error {
	name, err := arn.Parse(text)
	if err != nil || name.Service != "kms" || !strings.HasPrefix(name.Partition, "aws") ||
		!isWord(name.Partition, "-") || !isWord(name.Region, "-") || !isAccount(name.AccountID) ||
		!isKey(name.Resource) && !isAlias(name.Resource) {
		return fmt.Errorf("%q is not the full ARN of a KMS key", text)
	}
	return nil
}

func isKey(resource string) bool {
	id, ok := strings.CutPrefix(resource, "key/")
	return ok && isWord(id, "-")
}

func isAlias(resource string) bool {
	name, ok := strings.CutPrefix(resource, "alias/")
	return ok && isWord(name, "-_/")
}

// isRegion accepts what all regions look like: words and a number, as in us-gov-west-1.
func isRegion(name string) bool {
	const letters, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	words := strings.Split(name, "-")
	for i, word := range words {
		of := letters
		if i == len(words)-1 {
			of = digits
		}
		if word == "" || strings.Trim(word, of) != "" {
			return false
		}
	}
	return len(words) >= 3
}

func isAccount(id string) bool {
	return len(id) == 12 && strings.Trim(id, "0123456789") == ""
}

// isWord tells whether text is of ASCII letters and digits and the other characters given. The region
// becomes part of a host name.
func isWord(text, others string) bool {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return text != "" && len(text) <= 256 && strings.Trim(text, alphabet+others) == ""
}

// CheckEndpoint tells whether shares may be sent there: https, or http on loopback, which is for tests.
// The empty one is the region's.
func CheckEndpoint(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		return errors.New("the endpoint of a KMS is https://host[:port], or http on a loopback address")
	}
	return nil
}

// isLoopback accepts addresses alone: what a name leads to is a resolver's to say, and a share would go there
// in clear.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
