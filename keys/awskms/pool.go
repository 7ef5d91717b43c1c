package awskms

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"culvert/keys"
)

// uriScheme begins the URI of a key; the ARN follows.
const uriScheme = "awskms:"

// PoolConfig says where the keys of a [Pool] are asked.
type PoolConfig struct {
	// Endpoint is as of [Config].
	Endpoint string
	// Keys bounds the keys held open; default 256. One that gives way is opened again when it is asked for.
	Keys int
	// Now is as of [Config].
	Now func() time.Time
}

// Pool opens keys of customers, of any account and region, with the credentials of this process. It is safe
// for concurrent use.
//
// A key is not looked at when it is opened: what it is shows when it is used. So it costs no call, and its
// policy need not allow DescribeKey.
type Pool struct {
	config PoolConfig

	mu   sync.Mutex // guards what follows, for the time of map operations
	keys map[string]*Key
	// regions are the SDK's configurations; their number is bounded by that of keys.
	regions map[string]*sdk
}

// NewPool checks the config.
func NewPool(c PoolConfig) (*Pool, error) {
	if err := CheckEndpoint(c.Endpoint); err != nil {
		return nil, fmt.Errorf("awskms: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Keys == 0 {
		c.Keys = 256
	}
	return &Pool{config: c, keys: map[string]*Key{}, regions: map[string]*sdk{}}, nil
}

// Name is the URI of the key with that ARN, or of that URI. The ARN of an alias is refused: whoever may
// change what it leads to would change whose key it is. So is a region that does not look like one, because it
// becomes part of the name of the host that is asked: in region "s3", that of somebody's bucket.
func (p *Pool) Name(text string) (uri string, ok bool) {
	text = strings.TrimPrefix(text, uriScheme)
	name, err := arn.Parse(text)
	if CheckARN(text) != nil || err != nil || !isKey(name.Resource) || !isRegion(name.Region) {
		return "", false
	}
	return uriScheme + text, true
}

// Key is the key with that URI. The errors are those of [keys.RootKey].
func (p *Pool) Key(ctx context.Context, uri string) (keys.RootKey, error) {
	if named, ok := p.Name(uri); !ok || named != uri {
		return nil, &keys.Refusal{Code: "no key of the AWS KMS"}
	}
	text := strings.TrimPrefix(uri, uriScheme)
	p.mu.Lock()
	k := p.keys[text]
	p.mu.Unlock()
	if k != nil {
		return k, nil
	}
	name, err := arn.Parse(text)
	if err != nil {
		return nil, &keys.Refusal{Code: "no key of the AWS KMS"}
	}
	s, err := p.region(ctx, name.Region)
	if err != nil {
		return nil, err
	}
	client, err := s.client(p.config.Endpoint)
	if err != nil {
		return nil, err
	}
	k = &Key{
		client: client, arn: text, now: p.config.Now,
		place: place{name.Partition, name.Region, aws.ToString(client.Options().BaseEndpoint)},
	}
	p.keep(k)
	return k, nil
}

// region is the SDK's configuration for a region, with the credentials that all its keys share.
func (p *Pool) region(ctx context.Context, region string) (*sdk, error) {
	p.mu.Lock()
	s := p.regions[region]
	p.mu.Unlock()
	if s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := loadSDK(ctx, region)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.regions) >= p.config.Keys {
		clear(p.regions)
	}
	p.regions[region] = s
	return s, nil
}

// keep holds a key open, in place of any other if there are too many.
func (p *Pool) keep(k *Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for text := range p.keys {
		if len(p.keys) < p.config.Keys {
			break
		}
		delete(p.keys, text)
	}
	p.keys[k.arn] = k
}
