package awskms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/logging"

	"culvert/internal/outage"
)

const (
	// callTimeout bounds one call with all its attempts.
	callTimeout = 5 * time.Second
	// attemptTimeout leaves room for a second attempt when the first finds nobody.
	attemptTimeout = 2 * time.Second
	// attempts is how often a call is made at most. The SDK waits in between, and stops retrying at all
	// when most calls fail.
	attempts = 3
	// maxBackoff bounds that wait.
	maxBackoff = 500 * time.Millisecond
	// maxAnswer is many times what the KMS answers.
	maxAnswer = 256 << 10
)

// Config says which key it is.
type Config struct {
	// Key is the ARN of a symmetric key, or of an alias of one; required. See [CheckARN].
	Key string
	// Endpoint is where the KMS is asked; default the region's. See [CheckEndpoint].
	Endpoint string
	// Now is the clock of Check; default time.Now.
	Now func() time.Time
}

// Open finds the key and its ARN by DescribeKey. A key that exists and cannot be used is opened: its use
// tells what is wrong. The errors for the KMS's answers are those of [keys.RootKey]; any other is a
// mistake in c.
func Open(ctx context.Context, c Config) (*Key, error) {
	if err := errors.Join(CheckARN(c.Key), CheckEndpoint(c.Endpoint)); err != nil {
		return nil, fmt.Errorf("awskms: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	name, err := arn.Parse(c.Key)
	if err != nil {
		return nil, fmt.Errorf("awskms: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client, err := newClient(ctx, name.Region, c.Endpoint)
	if err != nil {
		return nil, err
	}
	k := &Key{client: client, now: c.Now, place: place{name.Partition, name.Region, aws.ToString(client.Options().BaseEndpoint)}}
	out, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &c.Key})
	if err != nil {
		return nil, failed(ctx, "describe", err)
	}
	if k.arn, err = resolve(c.Key, name, out.KeyMetadata); err != nil {
		return nil, err
	}
	return k, nil
}

// newClient is a client that is bounded in every way, says nothing to any log, and has credentials.
func newClient(ctx context.Context, region, endpoint string) (*kms.Client, error) {
	s, err := loadSDK(ctx, region)
	if err != nil {
		return nil, err
	}
	return s.client(endpoint)
}

// sdk is the SDK's configuration for one region.
type sdk struct {
	config aws.Config
	http   *boundedClient
}

// loadSDK reads the configuration, and finds credentials.
func loadSDK(ctx context.Context, region string) (*sdk, error) {
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(region), config.WithLogger(logging.Nop{}),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(attemptTimeout)), // for credentials
	)
	if err != nil {
		// It may quote the shared files, which hold secrets.
		return nil, fmt.Errorf("awskms: the configuration of the AWS SDK cannot be read (%T)", err)
	}
	client, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("awskms: the AWS SDK brings an HTTP client of another kind (%T)", cfg.HTTPClient)
	}
	if cfg.Credentials == nil {
		return nil, noCredentials(errors.New("none configured"))
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, noCredentials(err)
	}
	return &sdk{cfg, newBoundedClient(client)}, nil
}

// client is one for a key: it counts its own failures, and shares connections and credentials.
func (s *sdk) client(endpoint string) (*kms.Client, error) {
	client := kms.NewFromConfig(s.config, func(o *kms.Options) {
		if endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
		o.RetryMaxAttempts = attempts
		o.Retryer = newRetryer()
		o.HTTPClient = s.http
	})
	// The SDK takes an endpoint from the environment, too.
	if err := CheckEndpoint(aws.ToString(client.Options().BaseEndpoint)); err != nil {
		return nil, fmt.Errorf("awskms: %w", err)
	}
	return client, nil
}

// noCredentials is an outage: the key has refused nothing, and credentials may come back.
func noCredentials(err error) error {
	return &outage.Error{
		Dependency: outage.RootKey,
		Cause:      fmt.Errorf("awskms: the AWS SDK finds no credentials in its default chain (%T)", err),
	}
}

// boundedClient is for an endpoint that nobody has to trust: it follows no redirect, with which a share
// would be sent on to wherever that leads, and cuts answers off before they fill the memory.
type boundedClient struct{ client http.Client }

// newBoundedClient takes the certificates and proxies that the SDK has found in its configuration.
func newBoundedClient(sdk *awshttp.BuildableClient) *boundedClient {
	return &boundedClient{http.Client{
		Transport: sdk.GetTransport(), Timeout: attemptTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Do implements [kms.HTTPClient].
func (c *boundedClient) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.client.Do(r)
	if resp != nil && resp.Body != nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// resolve is the ARN of the key that was asked for by its own or by an alias's.
func resolve(asked string, name arn.ARN, meta *types.KeyMetadata) (string, error) {
	if meta == nil {
		return "", wrongAnswer("describe")
	}
	found := aws.ToString(meta.Arn)
	key, err := arn.Parse(found)
	switch {
	case err != nil, !isKey(key.Resource), key.Service != name.Service,
		key.Partition != name.Partition, key.Region != name.Region, key.AccountID != name.AccountID,
		strings.HasPrefix(name.Resource, "key/") && found != asked:
		return "", wrongAnswer("describe")
	case meta.KeySpec != types.KeySpecSymmetricDefault || meta.KeyUsage != types.KeyUsageTypeEncryptDecrypt:
		return "", fmt.Errorf("awskms: %s is no symmetric key to encrypt and decrypt with", asked)
	}
	return found, nil
}
