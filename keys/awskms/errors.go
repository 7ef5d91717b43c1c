package awskms

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"culvert/internal/outage"
	"culvert/keys"
)

// newRetryer is the SDK's, for one key: it counts its own failures, so that an outage of one KMS does
// not use up the retries of another. Errors that say the key is momentarily out of reach are its own.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff
		o.Retryables = append(o.Retryables, retry.RetryableErrorCode{Codes: map[string]struct{}{
			"DependencyTimeoutException": {}, "KeyUnavailableException": {}, "KMSInternalException": {},
		}})
	})
}

// failed maps what the SDK returned to the three kinds of [keys.RootKey]. The text of an error is
// dropped: it holds the KMS's message.
//
// That we could not identify ourselves is no refusal by the key, but an outage: credentials expire and
// are renewed, and what is cached may live on until its TTL.
func failed(ctx context.Context, op string, err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) || !fromKMS(err) {
		return unanswered(ctx, op, err)
	}
	switch code := api.ErrorCode(); code {
	case "DisabledException", "KMSInvalidStateException", "NotFoundException", "AccessDeniedException",
		"InvalidKeyUsageException", "InvalidArnException":
		return fmt.Errorf("awskms: %s: %w", op, &keys.Refusal{Code: code})
	case "InvalidCiphertextException", "IncorrectKeyException":
		return keys.ErrTampered
	case "ThrottlingException", "LimitExceededException", "KMSInternalException", "KeyUnavailableException",
		"DependencyTimeoutException", "ValidationException", "ServiceUnavailable", "InternalFailure",
		"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "ExpiredToken",
		"InvalidSignatureException", "SignatureDoesNotMatch", "MissingAuthenticationTokenException",
		"IncompleteSignature", "RequestExpired":
		return down(op, errors.New(code))
	}
	return unanswered(ctx, op, err)
}

// fromKMS tells whether the KMS answered: what gives credentials is a service as well, and may deny them
// in the same words.
func fromKMS(err error) bool {
	var op *smithy.OperationError
	for errors.As(err, &op) {
		if op.ServiceID != kms.ServiceID {
			return false
		}
		err = op.Err
	}
	return true
}

// unanswered is for what has no code that is known here.
func unanswered(ctx context.Context, op string, err error) error {
	var (
		resp *awshttp.ResponseError
		dns  *net.DNSError
		conn *net.OpError
	)
	switch {
	case ctx.Err() != nil:
		return down(op, ctx.Err())
	case errors.As(err, &resp) && resp.HTTPStatusCode() > http.StatusOK:
		return down(op, fmt.Errorf("status %d", resp.HTTPStatusCode()))
	case errors.As(err, &dns):
		return down(op, errors.New("the name of the endpoint is not resolved"))
	case errors.As(err, &conn):
		return down(op, conn)
	}
	return down(op, fmt.Errorf("no answer (%T)", err))
}

// wrongAnswer is an answer that nobody who has the key would give.
func wrongAnswer(op string) error { return down(op, errors.New("the answer is not for this key")) }

func down(op string, cause error) error {
	return &outage.Error{Dependency: outage.RootKey, Cause: fmt.Errorf("awskms: %s: %w", op, cause)}
}
