package sdkv9_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v9"

	"culvert/internal/e2e/gosdk/sdktest"
)

func TestCreateAndRead(t *testing.T) {
	r := &recorder{}
	c := newClient(t, r.client())
	keyContext := map[string]string{"organization_id": "org_1", "region/zone": "eu + 1"}
	before := time.Now().Truncate(time.Microsecond)
	o := mustCreate(t, c, sdktest.Unique(""), keyContext)

	sdktest.Match(t, "object id", sdktest.UUID, o.ID)
	sdktest.Match(t, "version id", sdktest.UUID, o.version)
	sdktest.Match(t, "key id", sdktest.UUID, o.Metadata.KeyID)
	sdktest.Match(t, "environment id", sdktest.Environment, o.Metadata.EnvironmentID)
	sdktest.Match(t, "author", sdktest.Key, o.Metadata.UpdatedBy.ID)
	if diff := cmp.Diff(o.Metadata.Context, keyContext); diff != "" {
		t.Errorf("key context (-got +want):\n%s", diff)
	}
	at, err := time.Parse(time.RFC3339Nano, o.Metadata.UpdatedAt)
	if err != nil || at.Before(before) || at.After(time.Now()) || at.Location() != time.UTC {
		t.Errorf("updated at %s, not between %s and now", o.Metadata.UpdatedAt, before)
	}

	if diff := cmp.Diff(mustRead(t, c, o.ID), o.VaultObject); diff != "" {
		t.Errorf("read by id (-got +want):\n%s", diff)
	}
	byName, err := c.Vault().GetName(t.Context(), o.Name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byName, &o.VaultObject); diff != "" {
		t.Errorf("read by name (-got +want):\n%s", diff)
	}
	described, err := c.Vault().ListKvMetadata(t.Context(), o.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := &workos.ObjectWithoutValue{ID: o.ID, Name: o.Name, Metadata: o.Metadata}
	if diff := cmp.Diff(described, want); diff != "" {
		t.Errorf("describe (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(r.wire, []string{"POST 201", "GET 200", "GET 200", "GET 200"}); diff != "" {
		t.Errorf("wire (-got +want):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	c := newClient(t)
	prefix := sdktest.Unique("-")
	objects := make([]object, len(sdktest.Names))
	for i, ending := range sdktest.Names {
		objects[i] = mustCreate(t, c, prefix+ending, map[string]string{})
	}
	for _, o := range objects {
		got, err := c.Vault().GetName(t.Context(), o.Name)
		if err != nil {
			t.Errorf("read %q by name: %v", o.Name, err)
			continue
		}
		if diff := cmp.Diff(got, &o.VaultObject); diff != "" {
			t.Errorf("read %q by name (-got +want):\n%s", o.Name, diff)
		}
	}
}

func TestValues(t *testing.T) {
	c := newClient(t)
	for _, ending := range sdktest.Values {
		value := sdktest.Secret(ending)
		metadata, err := c.Vault().CreateKv(t.Context(), &workos.VaultCreateKvParams{
			Name: sdktest.Unique(""), Value: value, KeyContext: map[string]string{},
		})
		if err != nil {
			t.Errorf("create with value ending in %.20q: %v", ending, err)
			continue
		}
		if got := mustRead(t, c, metadata.ID).Value; got != value {
			t.Errorf("value ending in %.20q came back different", ending)
		}
	}
}

func TestUpdate(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{"organization_id": "org_2"})
	second := sdktest.Secret("")
	updated := mustUpdate(t, c, o.ID, second, nil)

	if *updated.Metadata.VersionID == o.version || updated.Metadata.UpdatedAt <= o.Metadata.UpdatedAt {
		t.Errorf("version %s of %s is not newer than %s of %s",
			*updated.Metadata.VersionID, updated.Metadata.UpdatedAt, o.version, o.Metadata.UpdatedAt)
	}
	metadata := *o.Metadata
	metadata.VersionID, metadata.UpdatedAt = updated.Metadata.VersionID, updated.Metadata.UpdatedAt
	want := &workos.ObjectWithoutValue{ID: o.ID, Name: o.Name, Metadata: &metadata}
	if diff := cmp.Diff(updated, want); diff != "" {
		t.Errorf("update (-got +want):\n%s", diff)
	}

	// Case: the stale version loses and changes nothing.
	_, err := c.Vault().UpdateKv(t.Context(), o.ID, &workos.VaultUpdateKvParams{
		Value: sdktest.Secret(""), VersionCheck: &o.version,
	})
	if api := refused(t, err, http.StatusConflict); api.Code != "version_conflict" {
		t.Errorf("code %q", api.Code)
	}
	read := workos.VaultObject{ID: o.ID, Name: o.Name, Value: second, Metadata: updated.Metadata}
	if diff := cmp.Diff(mustRead(t, c, o.ID), read); diff != "" {
		t.Errorf("after a lost update (-got +want):\n%s", diff)
	}

	// Case: the current version wins.
	third := sdktest.Secret("")
	mustUpdate(t, c, o.ID, third, updated.Metadata.VersionID)
	if got := mustRead(t, c, o.ID).Value; got != third {
		t.Error("the third value is not what is read")
	}
}

func TestVersions(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{})
	updated := mustUpdate(t, c, o.ID, sdktest.Secret("+"), nil)

	versions, err := c.Vault().ListKvVersions(t.Context(), o.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(versions.Data) != 2 {
		t.Fatalf("%d versions, want 2", len(versions.Data))
	}
	first, current := versions.Data[0], versions.Data[1]
	want := &workos.VersionListResponse{
		Data: []*workos.ObjectVersion{
			{ID: o.version, CreatedAt: o.Metadata.UpdatedAt, Etag: first.Etag, Size: first.Size},
			{ID: *updated.Metadata.VersionID, CreatedAt: updated.Metadata.UpdatedAt, CurrentVersion: true, Etag: current.Etag, Size: first.Size + 1},
		},
		ListMetadata: &workos.ListMetadata{},
	}
	if diff := cmp.Diff(versions, want); diff != "" {
		t.Errorf("versions (-got +want):\n%s", diff)
	}
	sdktest.Match(t, "etag", sdktest.ETag, current.Etag)
	sdktest.Match(t, "etag", sdktest.ETag, first.Etag)
	if current.Etag == first.Etag || first.Size < len(o.Value) {
		t.Errorf("etags %s and %s, size %d", current.Etag, first.Etag, first.Size)
	}
}

func TestDelete(t *testing.T) {
	r := &recorder{}
	c := newClient(t, r.client())
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{})
	if err := c.Vault().DeleteKv(t.Context(), o.ID, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.wire[len(r.wire)-1]; got != "DELETE 200" {
		t.Errorf("wire: %s", got)
	}
	for what, call := range everyCallOn(c, o.VaultObject) {
		t.Run(what, func(t *testing.T) { refused(t, call(t), http.StatusNotFound) })
	}

	again := mustCreate(t, c, o.Name, map[string]string{})
	got, err := c.Vault().GetName(t.Context(), o.Name)
	if err != nil || got.ID != again.ID || again.ID == o.ID {
		t.Errorf("after re-use of the name: %v, %v", got, err)
	}
}

// everyCallOn is each operation on one existing object, but for its deletion.
func everyCallOn(c *workos.Client, o workos.VaultObject) map[string]func(*testing.T) error {
	v := c.Vault()
	return map[string]func(*testing.T) error{
		"read":         func(t *testing.T) error { _, err := v.GetKv(t.Context(), o.ID); return err },
		"read by name": func(t *testing.T) error { _, err := v.GetName(t.Context(), o.Name); return err },
		"describe":     func(t *testing.T) error { _, err := v.ListKvMetadata(t.Context(), o.ID); return err },
		"versions":     func(t *testing.T) error { _, err := v.ListKvVersions(t.Context(), o.ID); return err },
		"update": func(t *testing.T) error {
			_, err := v.UpdateKv(t.Context(), o.ID, &workos.VaultUpdateKvParams{Value: sdktest.Secret("")})
			return err
		},
	}
}

func TestDeleteWithVersionCheck(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), map[string]string{})
	current := mustUpdate(t, c, o.ID, sdktest.Secret(""), nil).Metadata.VersionID

	err := c.Vault().DeleteKv(t.Context(), o.ID, &workos.VaultDeleteKvParams{VersionCheck: &o.version})
	if api := refused(t, err, http.StatusConflict); api.Code != "version_conflict" {
		t.Errorf("code %q", api.Code)
	}
	if got := mustRead(t, c, o.ID).Metadata.VersionID; *got != *current {
		t.Errorf("version %s after a lost delete, want %s", *got, *current)
	}

	if err := c.Vault().DeleteKv(t.Context(), o.ID, &workos.VaultDeleteKvParams{VersionCheck: current}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Vault().GetKv(t.Context(), o.ID)
	refused(t, err, http.StatusNotFound)
}
