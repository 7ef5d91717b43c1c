package interop_test

import (
	"context"

	"github.com/workos/workos-go/v6/pkg/vault"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

// goV9 is the Go SDK from version 7 on.
type goV9 struct{ vault *workos.VaultService }

func newGoV9(s sdktest.Server) goV9 {
	return goV9{workos.NewClient(s.APIKey, workos.WithBaseURL(s.BaseURL)).Vault()}
}

func (g goV9) encrypt(ctx context.Context, text, associated string) (string, error) {
	result, err := g.vault.Encrypt(ctx, text, keyContext(), associated)
	if err != nil {
		return "", err
	}
	return result.EncryptedData, nil
}

func (g goV9) decrypt(ctx context.Context, blob, associated string) (string, error) {
	return g.vault.Decrypt(ctx, blob, associated)
}

func (g goV9) createDataKey(ctx context.Context) (dataKey, error) {
	k, err := g.vault.CreateDataKey(ctx, &workos.VaultCreateDataKeyParams{Context: keyContext()})
	if err != nil {
		return dataKey{}, err
	}
	return dataKey{k.ID, k.DataKey, k.EncryptedKeys}, nil
}

func (g goV9) decryptDataKey(ctx context.Context, blob string) (dataKey, error) {
	k, err := g.vault.CreateDecrypt(ctx, &workos.VaultCreateDecryptParams{Keys: blob})
	if err != nil {
		return dataKey{}, err
	}
	return dataKey{k.ID, k.DataKey, blob}, nil
}

func (g goV9) create(ctx context.Context, name, value string) error {
	_, err := g.vault.CreateKv(ctx, &workos.VaultCreateKvParams{Name: name, Value: value, KeyContext: keyContext()})
	return err
}

func (g goV9) read(ctx context.Context, name string) (string, error) {
	o, err := g.vault.GetName(ctx, name)
	if err != nil {
		return "", err
	}
	return o.Value, nil
}

// goV6 is the Go SDK up to version 6. Local encryption there goes through its default client.
type goV6 struct{ client *vault.Client }

func newGoV6(s sdktest.Server) goV6 {
	vault.SetAPIKey(s.APIKey)
	vault.DefaultClient.Endpoint = s.BaseURL
	return goV6{vault.DefaultClient}
}

func v6Context() vault.KeyContext {
	items := vault.KeyContext{}
	for name, value := range keyContext() {
		items[name] = value
	}
	return items
}

func (g goV6) encrypt(ctx context.Context, text, associated string) (string, error) {
	return vault.Encrypt(ctx, vault.EncryptOpts{Data: text, KeyContext: v6Context(), AssociatedData: associated})
}

func (g goV6) decrypt(ctx context.Context, blob, associated string) (string, error) {
	return vault.Decrypt(ctx, vault.DecryptOpts{Data: blob, AssociatedData: associated})
}

func (g goV6) createDataKey(ctx context.Context) (dataKey, error) {
	k, err := g.client.CreateDataKey(ctx, vault.CreateDataKeyOpts{KeyContext: v6Context()})
	return dataKey{k.Id, k.DataKey, k.EncryptedKeys}, err
}

func (g goV6) decryptDataKey(ctx context.Context, blob string) (dataKey, error) {
	k, err := g.client.DecryptDataKey(ctx, vault.DecryptDataKeyOpts{Keys: blob})
	return dataKey{k.Id, k.Key, blob}, err
}

func (g goV6) create(ctx context.Context, name, value string) error {
	_, err := g.client.CreateObject(ctx, vault.CreateObjectOpts{Name: name, Value: value, KeyContext: v6Context()})
	return err
}

func (g goV6) read(ctx context.Context, name string) (string, error) {
	o, err := g.client.ReadObjectByName(ctx, vault.ReadObjectByNameOpts{Name: name})
	return o.Value, err
}
