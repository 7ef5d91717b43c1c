package awskms

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"culvert/keys"
)

// Describe implements [keys.RootKey] by DescribeKey and GetKeyRotationStatus. Without the permission for
// the latter nothing is said of rotation.
func (k *Key) Describe(ctx context.Context) (keys.Description, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := k.client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &k.arn})
	if err != nil {
		return keys.Description{}, failed(ctx, "describe", err)
	}
	meta := out.KeyMetadata
	if meta == nil || aws.ToString(meta.Arn) != k.arn {
		return keys.Description{}, wrongAnswer("describe")
	}
	d := keys.Description{
		Provider: "awskms", URI: k.URI(), State: state(meta.KeyState),
		CreatedAt: moment(meta.CreationDate), DeletedFrom: moment(meta.DeletionDate),
	}
	if rotation, err := k.client.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &k.arn}); err == nil {
		d.Rotation = &keys.Rotation{NextAt: moment(rotation.NextRotationDate)}
		if rotation.KeyRotationEnabled {
			d.Rotation.Every = time.Duration(aws.ToInt32(rotation.RotationPeriodInDays)) * 24 * time.Hour
		}
	}
	return d, nil
}

func state(s types.KeyState) keys.KeyState {
	switch s {
	case types.KeyStateEnabled:
		return keys.KeyEnabled
	case types.KeyStateDisabled:
		return keys.KeyDisabled
	case types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion:
		return keys.KeyPendingDeletion
	}
	return keys.KeyUnavailable
}

func moment(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
