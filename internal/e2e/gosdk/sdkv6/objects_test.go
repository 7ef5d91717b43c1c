package sdkv6_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/workos/workos-go/v6/pkg/vault"

	"culvert/internal/e2e/gosdk/sdktest"
)

const absent = "0190b5a4-0000-7000-8000-000000000000"

func TestCreateAndRead(t *testing.T) {
	c := newClient(t)
	keyContext := vault.KeyContext{"organization_id": "org_1", "region/zone": "eu + 1"}
	before := time.Now().Truncate(time.Microsecond)
	o := mustCreate(t, c, sdktest.Unique(""), keyContext)

	sdktest.Match(t, "object id", sdktest.UUID, o.Id)
	sdktest.Match(t, "version id", sdktest.UUID, o.Metadata.VersionId)
	sdktest.Match(t, "key id", sdktest.UUID, o.Metadata.KeyId)
	sdktest.Match(t, "environment id", sdktest.Environment, o.Metadata.EnvironmentId)
	sdktest.Match(t, "author", sdktest.Key, o.Metadata.UpdatedBy.Id)
	if diff := cmp.Diff(o.Metadata.Context, keyContext); diff != "" {
		t.Errorf("key context (-got +want):\n%s", diff)
	}
	if at := o.Metadata.UpdatedAt; at.Before(before) || at.After(time.Now()) {
		t.Errorf("updated at %s, not between %s and now", at, before)
	}

	if diff := cmp.Diff(mustRead(t, c, o.Id), o); diff != "" {
		t.Errorf("read by id (-got +want):\n%s", diff)
	}
	described, err := c.DescribeObject(t.Context(), vault.ReadObjectOpts{Id: o.Id})
	if err != nil {
		t.Fatal(err)
	}
	want := o
	want.Value = ""
	if diff := cmp.Diff(described, want); diff != "" {
		t.Errorf("describe (-got +want):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	c := newClient(t)
	prefix := sdktest.Unique("-")
	objects := make([]vault.Object, len(sdktest.Names))
	for i, ending := range sdktest.Names {
		objects[i] = mustCreate(t, c, prefix+ending, vault.KeyContext{})
	}
	for _, o := range objects {
		got, err := c.ReadObjectByName(t.Context(), vault.ReadObjectByNameOpts{Name: o.Name})
		if err != nil {
			t.Errorf("read %q by name: %v", o.Name, err)
			continue
		}
		if diff := cmp.Diff(got, o); diff != "" {
			t.Errorf("read %q by name (-got +want):\n%s", o.Name, diff)
		}
	}
}

func TestUpdateAndVersions(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), vault.KeyContext{"a": "1"})
	second := sdktest.Secret("+")
	updated := mustUpdate(t, c, vault.UpdateObjectOpts{Id: o.Id, Value: second})

	want := o
	want.Value = ""
	want.Metadata.VersionId, want.Metadata.UpdatedAt = updated.Metadata.VersionId, updated.Metadata.UpdatedAt
	if diff := cmp.Diff(updated, want); diff != "" {
		t.Errorf("update (-got +want):\n%s", diff)
	}
	if updated.Metadata.VersionId == o.Metadata.VersionId || !updated.Metadata.UpdatedAt.After(o.Metadata.UpdatedAt) {
		t.Errorf("metadata after the update: %+v", updated.Metadata)
	}

	// Case: the stale version loses and changes nothing, the current one wins.
	_, err := c.UpdateObject(t.Context(), vault.UpdateObjectOpts{
		Id: o.Id, Value: sdktest.Secret(""), VersionCheck: o.Metadata.VersionId,
	})
	refused(t, err, http.StatusConflict, "")
	if got := mustRead(t, c, o.Id); got.Value != second || got.Metadata.VersionId != updated.Metadata.VersionId {
		t.Error("the lost update has changed the object")
	}
	third := sdktest.Secret("")
	mustUpdate(t, c, vault.UpdateObjectOpts{Id: o.Id, Value: third, VersionCheck: updated.Metadata.VersionId})
	current := mustRead(t, c, o.Id)
	if current.Value != third {
		t.Error("the third value is not what is read")
	}

	versions, err := c.ListObjectVersions(t.Context(), vault.ReadObjectOpts{Id: o.Id})
	if err != nil {
		t.Fatal(err)
	}
	if len(versions.Data) != 3 {
		t.Fatalf("%d versions, want 3", len(versions.Data))
	}
	size := versions.Data[0].Size
	for i, want := range []vault.ObjectVersion{
		{Id: o.Metadata.VersionId, CreatedAt: o.Metadata.UpdatedAt, Size: size},
		{Id: updated.Metadata.VersionId, CreatedAt: updated.Metadata.UpdatedAt, Size: size + 1},
		{Id: current.Metadata.VersionId, CreatedAt: current.Metadata.UpdatedAt, CurrentVersion: true, Size: size},
	} {
		got := versions.Data[i]
		sdktest.Match(t, "etag", sdktest.ETag, got.Etag)
		want.Etag = got.Etag
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("version %d (-got +want):\n%s", i, diff)
		}
	}
}

func TestDelete(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), vault.KeyContext{})
	deleted, err := c.DeleteObject(t.Context(), vault.DeleteObjectOpts{Id: o.Id})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(deleted, vault.DeleteObjectResponse{Success: true, Name: o.Name}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	for what, call := range everyCallOn(c, o) {
		t.Run(what, func(t *testing.T) { refused(t, call(t), http.StatusNotFound, "") })
	}
	if again := mustCreate(t, c, o.Name, vault.KeyContext{}); again.Id == o.Id {
		t.Error("the new object has the id of the deleted one")
	}
}

// This SDK takes a version check for deletes and does not send it, so the delete is unconditional.
func TestDeleteIgnoresVersionCheck(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), vault.KeyContext{})
	mustUpdate(t, c, vault.UpdateObjectOpts{Id: o.Id, Value: sdktest.Secret("")})
	if _, err := c.DeleteObject(t.Context(), vault.DeleteObjectOpts{Id: o.Id, VersionCheck: o.Metadata.VersionId}); err != nil {
		t.Fatal(err)
	}
	_, err := c.ReadObject(t.Context(), vault.ReadObjectOpts{Id: o.Id})
	refused(t, err, http.StatusNotFound, "")
}

// everyCallOn is each operation on one existing object; the last two of the SDK's, create and list, need
// none.
func everyCallOn(c *vault.Client, o vault.Object) map[string]func(*testing.T) error {
	id := vault.ReadObjectOpts{Id: o.Id}
	return map[string]func(*testing.T) error{
		"read":     func(t *testing.T) error { _, err := c.ReadObject(t.Context(), id); return err },
		"describe": func(t *testing.T) error { _, err := c.DescribeObject(t.Context(), id); return err },
		"versions": func(t *testing.T) error { _, err := c.ListObjectVersions(t.Context(), id); return err },
		"read by name": func(t *testing.T) error {
			_, err := c.ReadObjectByName(t.Context(), vault.ReadObjectByNameOpts{Name: o.Name})
			return err
		},
		"update": func(t *testing.T) error {
			_, err := c.UpdateObject(t.Context(), vault.UpdateObjectOpts{Id: o.Id, Value: sdktest.Secret("")})
			return err
		},
	}
}

func TestRefusals(t *testing.T) {
	c := newClient(t)
	o := mustCreate(t, c, sdktest.Unique(""), vault.KeyContext{})
	create := func(opts vault.CreateObjectOpts) error { _, err := c.CreateObject(t.Context(), opts); return err }
	good := vault.CreateObjectOpts{Name: sdktest.Unique(""), Value: sdktest.Secret(""), KeyContext: vault.KeyContext{"n": "1"}}

	// Case: a taken name.
	refused(t, create(vault.CreateObjectOpts{Name: o.Name, Value: good.Value, KeyContext: good.KeyContext}),
		http.StatusConflict, "Item already exists")
	// Case: a name of 201 letters.
	long := good
	long.Name += strings.Repeat("é", 201-len(long.Name))
	refused(t, create(long), http.StatusUnprocessableEntity, "")
	// Case: items of a context are strings; this SDK lets its caller say otherwise.
	number := good
	number.KeyContext = vault.KeyContext{"n": 1}
	refused(t, create(number), http.StatusUnprocessableEntity, "")
	if err := create(good); err != nil {
		t.Errorf("the twin of them all: %v", err)
	}

	// Case: nothing there.
	for what, call := range everyCallOn(c, vault.Object{Id: absent, Name: sdktest.Unique("")}) {
		t.Run("absent/"+what, func(t *testing.T) { refused(t, call(t), http.StatusNotFound, "") })
	}
	_, err := c.DeleteObject(t.Context(), vault.DeleteObjectOpts{Id: absent})
	refused(t, err, http.StatusNotFound, "")

	// Case: a wrong key.
	stranger := &vault.Client{APIKey: c.APIKey + "0", Endpoint: c.Endpoint}
	for what, call := range everyCallOn(stranger, o) {
		t.Run("wrong key/"+what, func(t *testing.T) { refused(t, call(t), http.StatusUnauthorized, "Unauthorized") })
	}
	_, err = stranger.ListObjects(t.Context(), vault.ListObjectsOpts{})
	refused(t, err, http.StatusUnauthorized, "Unauthorized")

	for what, call := range everyCallOn(c, o) {
		if err := call(t); err != nil {
			t.Errorf("%s with the right key: %v", what, err)
		}
	}
}
