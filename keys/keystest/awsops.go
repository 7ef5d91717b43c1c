package keystest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Limits of the KMS, in bytes.
const (
	awsMaxPlaintext  = 4096
	awsMaxCiphertext = 6144
)

// awsRequest is the members of all requests; each operation has some of them. On the wire it is KeyId:
// encoding/json takes either.
type awsRequest struct {
	KeyID                        string
	Plaintext                    []byte
	CiphertextBlob               []byte
	EncryptionContext            map[string]string
	NumberOfBytes                int
	KeySpec                      string
	SourceKeyID                  string
	DestinationKeyID             string
	SourceEncryptionContext      map[string]string
	DestinationEncryptionContext map[string]string
	PendingWindowInDays          int
	RotationPeriodInDays         int
	AliasName, TargetKeyID       string
}

// perform carries an operation out.
func (a *AWS) perform(op, authorization string, body []byte) (map[string]any, error) {
	switch {
	case authorization == "":
		return nil, refuse("MissingAuthenticationTokenException")
	case !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 ") || !strings.Contains(authorization, "/"+AWSRegion+"/kms/aws4_request"):
		return nil, refuse("InvalidSignatureException")
	}
	var r awsRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, refuse("SerializationException")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch op {
	case "Encrypt":
		return a.encrypt(op, r.KeyID, r.Plaintext, r.EncryptionContext)
	case "Decrypt":
		plaintext, k, err := a.decrypt(op, r.KeyID, r.CiphertextBlob, r.EncryptionContext)
		if err != nil {
			return nil, err
		}
		return map[string]any{"KeyId": k.arn, "Plaintext": plaintext, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, nil
	case "ReEncrypt":
		return a.reEncrypt(&r)
	case "GenerateDataKey":
		return a.generateDataKey(&r)
	}
	return a.administer(op, &r)
}

func (a *AWS) encrypt(op, key string, plaintext []byte, encryptionContext map[string]string) (map[string]any, error) {
	k, err := a.usable(op, key, encryptionContext)
	if err != nil {
		return nil, err
	}
	if len(plaintext) == 0 || len(plaintext) > awsMaxPlaintext {
		return nil, refuse("ValidationException")
	}
	return map[string]any{
		"KeyId": k.arn, "CiphertextBlob": k.encrypt(plaintext, encryptionContext), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
	}, nil
}

func (a *AWS) decrypt(op, key string, ciphertext []byte, encryptionContext map[string]string) ([]byte, *awsKey, error) {
	if len(ciphertext) == 0 || len(ciphertext) > awsMaxCiphertext {
		return nil, nil, refuse("ValidationException")
	}
	id, ok := keyOf(ciphertext)
	if !ok {
		return nil, nil, refuse("InvalidCiphertextException")
	}
	if key == "" {
		key = id
	}
	k, err := a.usable(op, key, encryptionContext)
	if err != nil {
		return nil, nil, err
	}
	if k.id != id {
		return nil, nil, refuse("IncorrectKeyException")
	}
	plaintext, err := k.decrypt(ciphertext, encryptionContext)
	return plaintext, k, err
}

func (a *AWS) reEncrypt(r *awsRequest) (map[string]any, error) {
	plaintext, from, err := a.decrypt("ReEncryptFrom", r.SourceKeyID, r.CiphertextBlob, r.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	result, err := a.encrypt("ReEncryptTo", r.DestinationKeyID, plaintext, r.DestinationEncryptionContext)
	if err != nil {
		return nil, err
	}
	result["SourceKeyId"] = from.arn
	return result, nil
}

func (a *AWS) generateDataKey(r *awsRequest) (map[string]any, error) {
	n := r.NumberOfBytes
	switch r.KeySpec {
	case "AES_256":
		n = 32
	case "AES_128":
		n = 16
	}
	if n < 1 || n > 1024 {
		return nil, refuse("ValidationException")
	}
	plaintext := make([]byte, n)
	_, _ = rand.Read(plaintext) // never fails
	result, err := a.encrypt("GenerateDataKey", r.KeyID, plaintext, r.EncryptionContext)
	if err == nil {
		result["Plaintext"] = plaintext
	}
	return result, err
}

// find is the key that a request names: by ARN, by the ARN of an alias, or by a bare name in the caller's
// account.
func (a *AWS) find(key string) *awsKey {
	bare := "arn:aws:kms:" + AWSRegion + ":" + AWSAccount + ":"
	switch {
	case strings.HasPrefix(key, "alias/"):
		key = bare + key
	case !strings.HasPrefix(key, "arn:"):
		key = bare + "key/" + key
	}
	if target, ok := a.aliases[key]; ok {
		key = target
	}
	return a.keys[key]
}

// usable is the key, if it may be used for op now.
func (a *AWS) usable(op, key string, encryptionContext map[string]string) (*awsKey, error) {
	k := a.find(key)
	switch {
	case k == nil:
		return nil, refuse("NotFoundException")
	case !k.allows(op, encryptionContext):
		return nil, refuse("AccessDeniedException")
	case k.state == stateDisabled:
		return nil, refuse("DisabledException")
	case k.state != stateEnabled:
		return nil, refuse("KMSInvalidStateException")
	}
	return k, nil
}

// administer carries out what is no use of a key.
func (a *AWS) administer(op string, r *awsRequest) (map[string]any, error) {
	if op == "CreateKey" {
		k, err := newAWSKey(AWSAccount)
		if err != nil {
			return nil, err
		}
		a.keys[k.arn] = k
		return k.metadata(), nil
	}
	if op == "CreateAlias" {
		k := a.find(r.TargetKeyID)
		if k == nil {
			return nil, refuse("NotFoundException")
		}
		a.aliases["arn:aws:kms:"+AWSRegion+":"+AWSAccount+":"+r.AliasName] = k.arn
		return map[string]any{}, nil
	}
	k := a.find(r.KeyID)
	switch {
	case k == nil:
		return nil, refuse("NotFoundException")
	case !k.allows(op, nil):
		return nil, refuse("AccessDeniedException")
	case op == "DescribeKey":
		return k.metadata(), nil
	case k.state == statePendingDeletion && op != "CancelKeyDeletion" && op != "GetKeyRotationStatus":
		return nil, refuse("KMSInvalidStateException")
	}
	return k.administer(op, r)
}

func (k *awsKey) administer(op string, r *awsRequest) (map[string]any, error) {
	done := map[string]any{"KeyId": k.arn}
	switch op {
	case "DisableKey":
		k.state = stateDisabled
	case "EnableKey":
		k.state = stateEnabled
	case "CancelKeyDeletion": // the key comes back disabled
		k.state, k.deletedFrom = stateDisabled, time.Time{}
	case "ScheduleKeyDeletion":
		days := r.PendingWindowInDays
		if days == 0 {
			days = 30
		}
		if days < 7 || days > 30 {
			return nil, refuse("ValidationException")
		}
		k.state, k.deletedFrom = statePendingDeletion, time.Now().AddDate(0, 0, days).Truncate(time.Second)
		done["DeletionDate"], done["KeyState"], done["PendingWindowInDays"] = k.deletedFrom.Unix(), k.state, days
	case "EnableKeyRotation":
		if k.rotation = r.RotationPeriodInDays; k.rotation == 0 {
			k.rotation = 365
		}
	case "GetKeyRotationStatus":
		done["KeyRotationEnabled"] = k.rotation > 0
		if k.rotation > 0 {
			done["RotationPeriodInDays"], done["NextRotationDate"] = k.rotation, k.createdAt.AddDate(0, 0, k.rotation).Unix()
		}
	case "RotateKeyOnDemand":
		return done, k.rotate()
	default:
		return nil, &awsError{"UnknownOperationException", http.StatusNotFound}
	}
	return done, nil
}

func (k *awsKey) metadata() map[string]any {
	m := map[string]any{
		"AWSAccountId": k.account, "Arn": k.arn, "KeyId": k.id, "CreationDate": k.createdAt.Unix(),
		"Enabled": k.state == stateEnabled, "KeyState": k.state, "KeyUsage": "ENCRYPT_DECRYPT",
		"KeySpec": "SYMMETRIC_DEFAULT", "KeyManager": "CUSTOMER", "Origin": "AWS_KMS", "MultiRegion": false,
		"EncryptionAlgorithms": []string{"SYMMETRIC_DEFAULT"},
	}
	if !k.deletedFrom.IsZero() {
		m["DeletionDate"] = k.deletedFrom.Unix()
	}
	return map[string]any{"KeyMetadata": m}
}
