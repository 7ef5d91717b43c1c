package main_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"culvert/keys/keystest"
)

// TestCMKOnTwoProcesses attaches a customer's key over what is there, kills the process that does it in the
// middle, and takes the key back and gives it back under both.
func TestCMKOnTwoProcesses(t *testing.T) {
	kms := keystest.NewAWS(t)
	keystest.SetAWSCredentials(t)
	arn := kms.NewKey(t, "444455556666")
	kms.Policy(arn, func(_ string, encryptionContext map[string]string) bool {
		return encryptionContext["organization_id"] == "org_1"
	})
	pair := MustPair(t, "--set", "cmk.endpoint="+kms.Endpoint(), "--set", "keys.cache_ttl=1s")
	one, two := pair.sides[0], pair.sides[1]
	const contexts = 120
	theirs := make([]string, contexts)
	var work sync.WaitGroup
	for c := range 8 {
		work.Go(func() {
			for i := c; i < contexts; i += 8 {
				theirs[i] = one.api.create(t, fmt.Sprint("theirs ", i), "v", map[string]string{"organization_id": "org_1", "n": fmt.Sprint(i)})
			}
		})
	}
	work.Wait()
	others := one.api.create(t, "other", "v", map[string]string{"organization_id": "org_2"})

	var j struct {
		ID    string `json:"id"`
		CMKID string `json:"cmk_id"`
	}
	attach := map[string]any{"context_name": "organization_id", "context_value": "org_1", "key": arn, "rate": 60}
	if status, err := one.api.Call(http.MethodPost, "/culvert/v1/cmks", nil, attach, &j); status != http.StatusCreated {
		t.Fatalf("attach: status %d, %v", status, err)
	}
	mustGetTo(t, one.api, j.ID, 20)
	one.kill()
	one.mustStart(t) // its own job it goes on with at once, another's after a while
	two.mustStart(t)
	if ended := mustEndJob(t, two.api, j.ID); ended.State != "succeeded" || ended.Failed != 0 || ended.Done < 2*contexts {
		t.Errorf("attaching ended as %+v", ended)
	}
	mustBeUnder(t, two.api, contexts, "awskms:"+arn)
	// One event for each KEK, however often its seal was tried.
	var events struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
		Meta struct {
			After *string `json:"after"`
		} `json:"list_metadata"`
	}
	told := 0
	for query := "?events=vault.kek.rotated&limit=100"; ; query = "?events=vault.kek.rotated&limit=100&after=" + *events.Meta.After {
		events.Meta.After = nil
		if status, err := one.api.Read("/events"+query, &events); status != http.StatusOK {
			t.Fatalf("events: status %d, %v", status, err)
		}
		if told += len(events.Data); events.Meta.After == nil || len(events.Data) == 0 {
			break
		}
	}
	if told != contexts {
		t.Errorf("%d events of %d KEKs", told, contexts)
	}

	both := func(status int, want string) {
		t.Helper()
		for _, s := range pair.sides {
			for _, id := range []string{theirs[0], theirs[contexts-1]} {
				s.api.await(t, http.MethodGet, "/vault/v1/kv/"+id, "", status, want)
			}
			s.api.await(t, http.MethodGet, "/vault/v1/kv/"+others, "", http.StatusOK, `"value":"v"`)
		}
	}
	both(http.StatusOK, `"value":"v"`)
	kms.Disable(arn)
	both(http.StatusForbidden, `"code":"cmk_refused"`)
	two.api.await(t, http.MethodPut, "/vault/v1/kv/"+theirs[1], `{"value":"w"}`, http.StatusForbidden, `"code":"cmk_refused"`)
	kms.Enable(arn)
	both(http.StatusOK, `"value":"v"`)
	kms.Fail("", keystest.Fault{Code: "ThrottlingException", Status: 400})
	both(http.StatusServiceUnavailable, `"code":"cmk_unavailable"`)
	kms.Fail("", keystest.Fault{})
	both(http.StatusOK, `"value":"v"`)

	if status, text := one.api.say(t, http.MethodDelete, "/culvert/v1/cmks/"+j.CMKID, ""); status != http.StatusOK {
		t.Fatalf("detach: %d %s", status, text)
	}
	one.api.await(t, http.MethodGet, "/culvert/v1/cmks/"+j.CMKID, "", http.StatusNotFound, "entity_not_found")
	mustBeUnder(t, one.api, 0, "awskms:"+arn)
	kms.Disable(arn)
	both(http.StatusOK, `"value":"v"`)
	one.process.MustStop(t)
	two.process.MustStop(t)
}

// mustBeUnder counts the KEKs that need a key.
func mustBeUnder(t *testing.T, api *API, want int, uri string) {
	t.Helper()
	under := 0
	for after := ""; ; {
		var page struct {
			Data []struct {
				RootKeys []struct {
					URI string `json:"uri"`
				} `json:"root_keys"`
			} `json:"data"`
			Meta struct {
				After *string `json:"after"`
			} `json:"list_metadata"`
		}
		if status, err := api.Read("/culvert/v1/keks?limit=100&counts=false"+after, &page); status != http.StatusOK {
			t.Fatalf("KEKs: status %d, %v", status, err)
		}
		for _, k := range page.Data {
			for _, r := range k.RootKeys {
				if r.URI == uri {
					under++
				}
			}
		}
		if page.Meta.After == nil {
			break
		}
		after = "&after=" + *page.Meta.After
	}
	if under != want {
		t.Errorf("%d KEKs are under %s, want %d", under, uri, want)
	}
}
