package connectors_test

import (
	"testing"

	"culvert/connectors"
)

// Why a grant is dead is read from the finer code where there is one, and from a dead grant's reply alone.
func TestEnding(t *testing.T) {
	conn := &connectors.Connector{
		DeadGrantCodes: []string{"190", "token_revoked"}, EndingMember: "detail",
		Endings: map[string]connectors.Ending{
			"460": connectors.EndingPolicy, "463": connectors.EndingExpired, "token_revoked": connectors.EndingRevoked,
		},
	}
	for body, want := range map[string]connectors.Ending{
		`{"error":"invalid_grant","detail":460}`:              connectors.EndingPolicy,
		`{"error":"invalid_grant","detail":"463"}`:            connectors.EndingExpired,
		`{"error":"invalid_grant","detail":[1,"x",460]}`:      connectors.EndingPolicy,
		`{"error":{"code":190,"detail":463}}`:                 connectors.EndingExpired,
		`{"error":"token_revoked","detail":"new"}`:            connectors.EndingRevoked,
		`{"error":"token_revoked"}`:                           connectors.EndingRevoked,
		`{"error":"invalid_grant"}`:                           "",
		`{"error":"invalid_grant","detail":{"460":460}}`:      "",
		`{"error":"invalid_grant","detail":[[460],null,{}]}`:  "",
		`{"error":"invalid_client","detail":460}`:             "",
		`{"error":"temporarily_unavailable","detail":"460"}`:  "",
		`{"error":"invalid_grant","error_description":"460"}`: "",
	} {
		_, err := connectors.ReadReply(conn, 400, []byte(body), start(), start())
		if e := connectors.Of(err); e == nil || e.Ending != want {
			t.Errorf("%s: got %+v, want the ending %q", body, err, want)
		}
	}
}
