package awskms_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"culvert/keys/keystest"
)

// The fake is as the SDK expects a KMS to be, also where this package does not use it.
func TestFakeSpeaksTheProtocol(t *testing.T) {
	keystest.SetAWSCredentials(t)
	ctx, fake := t.Context(), keystest.NewAWS(t)
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(keystest.AWSRegion))
	if err != nil {
		t.Fatal(err)
	}
	client := kms.NewFromConfig(cfg, func(o *kms.Options) { o.BaseEndpoint = aws.String(fake.Endpoint()) })
	created, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	key, one, two := created.KeyMetadata.Arn, map[string]string{"a": "1", "b": "2"}, map[string]string{"a": "1"}
	data, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: key, KeySpec: types.DataKeySpecAes256, EncryptionContext: one,
	})
	if err != nil || len(data.Plaintext) != 32 {
		t.Fatalf("data key of %d bytes, %v", len(data.Plaintext), err)
	}
	open := func(encryptionContext map[string]string) error {
		out, err := client.Decrypt(ctx, &kms.DecryptInput{
			KeyId: key, CiphertextBlob: data.CiphertextBlob, EncryptionContext: encryptionContext,
		})
		if err == nil && !bytes.Equal(out.Plaintext, data.Plaintext) {
			t.Error("another plaintext")
		}
		return err
	}
	want[*types.InvalidCiphertextException](t, "another context", open(two))
	if err := open(one); err != nil {
		t.Error(err)
	}

	// Case: rotated. What was encrypted before still opens.
	if _, err := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key}); err != nil {
		t.Error(err)
	}
	if err := open(one); err != nil {
		t.Errorf("after a rotation: %v", err)
	}

	// Case: the limit of Encrypt.
	encrypt := func(n int) error {
		_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: make([]byte, n)})
		return err
	}
	var api smithy.APIError
	if err := encrypt(4097); !errors.As(err, &api) || api.ErrorCode() != "ValidationException" {
		t.Errorf("4097 bytes: %v", err)
	}
	if err := encrypt(4096); err != nil {
		t.Errorf("4096 bytes: %v", err)
	}

	// Case: the states of a key.
	if _, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key}); err != nil {
		t.Error(err)
	}
	want[*types.DisabledException](t, "disabled", open(one))
	if _, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: key}); err != nil {
		t.Error(err)
	}
	if err := open(one); err != nil {
		t.Errorf("enabled: %v", err)
	}
	going, err := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key, PendingWindowInDays: aws.Int32(7)})
	if err != nil || going.DeletionDate == nil {
		t.Errorf("schedule deletion: %v", err)
	}
	want[*types.KMSInvalidStateException](t, "pending deletion", open(one))
	_, err = client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/none")})
	want[*types.NotFoundException](t, "an alias of nothing", err)
	if n := fake.Calls("Decrypt"); n != 6 {
		t.Errorf("%d calls of Decrypt were counted, want 6", n)
	}
}

// want is that err is an E.
func want[E error](t *testing.T, what string, err error) {
	t.Helper()
	var e E
	if !errors.As(err, &e) {
		t.Errorf("%s: %v, want %T", what, err, e)
	}
}
