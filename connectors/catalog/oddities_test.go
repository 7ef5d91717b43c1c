package catalog_test

// oddities are replies of providers that are read without a word in their blocks, or with few: lifetimes, places
// of tokens, errors and hosts as no RFC has them.
func oddities() []vector {
	const form = "application/x-www-form-urlencoded"
	return []vector{
		{"airtable", "a refresh while another goes on", 409, "", `{"error":"conflict"}`, outcome{Class: transient, Code: "conflict"}},
		{"airtable", "tokens", 200, "", `{"access_token":"oaa1","refresh_token":"oaa2","token_type":"Bearer","scope":"data.records:read","expires_in":3600,"refresh_expires_in":5184000}`,
			outcome{Access: "oaa1", Refresh: "oaa2", Lifetime: 3600, RefreshLifetime: 5184000, Scopes: []string{"data.records:read"}}},
		{"airtable", "a used refresh token", 400, "", `{"error":"invalid_grant"}`, outcome{Class: dead, Code: "invalid_grant"}},

		{"atlassian", "a dead refresh token, with 403", 403, "", `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"atlassian", "a dead refresh token, by another name", 403, "", `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"atlassian", "a client that may not", 403, "", `{"error":"unauthorized_client","error_description":"Grant type not allowed"}`,
			outcome{Class: client, Code: "unauthorized_client"}},

		{"bitbucket", "scopes in the plural", 200, "", `{"access_token":"b1","scopes":"account repository","expires_in":7200,"refresh_token":"r1","token_type":"bearer"}`,
			outcome{Access: "b1", Refresh: "r1", Lifetime: 7200, Scopes: []string{"account", "repository"}}},
		{"bitly", "a form", 200, form, "access_token=bl1&login=joe&apiKey=R_x", outcome{Access: "bl1"}},
		{"bitly", "a form that says it is text", 200, "text/plain", "access_token=bl1&login=joe&apiKey=R_x", outcome{Access: "bl1"}},

		{"dynamics-365", "a password that was changed", 400, "", `{"error":"invalid_grant","error_description":"AADSTS50173: ...","error_codes":[50173]}`,
			outcome{Class: dead, Code: "invalid_grant", Ending: policy}},
		{"dynamics-365", "scopes of two resources", 400, "", `{"error":"invalid_request","error_codes":[28000]}`,
			outcome{Class: refused, Code: "invalid_request"}},

		{"ebay", "an end of the refresh token", 200, "", `{"access_token":"v^1","expires_in":7200,"refresh_token":"v^2","refresh_token_expires_in":47304000,"token_type":"User Access Token"}`,
			outcome{Access: "v^1", Refresh: "v^2", Lifetime: 7200, RefreshLifetime: 47304000}},

		{"facebook", "a dead token, in an object", 400, "", `{"error":{"message":"Error validating access token","type":"OAuthException","code":190,"error_subcode":460,"fbtrace_id":"x"}}`,
			outcome{Class: dead, Code: "190"}},
		{"facebook", "a used code", 400, "", `{"error":{"message":"This authorization code has been used.","type":"OAuthException","code":100,"error_subcode":36009}}`,
			outcome{Class: refused, Code: "100"}},
		{"facebook", "an unknown app", 400, "", `{"error":{"message":"Error validating application.","type":"OAuthException","code":101}}`,
			outcome{Class: client, Code: "101"}},
		{"facebook", "too many requests", 400, "", `{"error":{"message":"Application request limit reached","type":"OAuthException","code":4}}`,
			outcome{Class: transient, Code: "4"}},
		{"facebook", "a token whose end is not said", 200, "", `{"access_token":"EAA1","token_type":"bearer"}`,
			outcome{Access: "EAA1", Lifetime: 3600}},

		{"instagram", "a token in a list", 200, "", `{"data":[{"access_token":"IG1","user_id":"17841400000000000000","permissions":"instagram_business_basic"}]}`,
			outcome{Access: "IG1", Lifetime: 3600}},
		{"instagram", "a token at the top", 200, "", `{"access_token":"IG1","user_id":17841400000000000000,"permissions":["instagram_business_basic"]}`,
			outcome{Access: "IG1", Lifetime: 3600}},
		{"instagram", "a used code, without a member error", 400, "", `{"error_type":"OAuthException","code":400,"error_message":"This authorization code has been used"}`,
			outcome{Class: refused, Code: "400"}},
		{"instagram", "a dead token", 400, "", `{"error":{"message":"Session has expired","type":"OAuthException","code":190}}`,
			outcome{Class: dead, Code: "190"}},
		{"instagram", "an empty list", 200, "", `{"data":[]}`, outcome{Class: ambiguous}},

		{"figma", "a refresh that names no refresh token", 200, "", `{"access_token":"figu1","token_type":"bearer","expires_in":7776000,"user_id_string":"1"}`,
			outcome{Access: "figu1", Lifetime: 7776000}},

		{"fitbit", "a dead refresh token, in a list", 400, "", `{"errors":[{"errorType":"invalid_grant","message":"Refresh token invalid: x"}],"success":false}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"fitbit", "a wrong secret", 401, "", `{"errors":[{"errorType":"invalid_client","message":"Invalid authorization header"}],"success":false}`,
			outcome{Class: client, Code: "invalid_client"}},
		{"fitbit", "too many requests", 429, "", `{"errors":[{"errorType":"rate_limited"}]}`, outcome{Class: transient, Code: "rate_limited"}},
		{"fitbit", "tokens", 200, "", `{"access_token":"f1","expires_in":28800,"refresh_token":"r1","scope":"profile","token_type":"Bearer","user_id":"ABC"}`,
			outcome{Access: "f1", Refresh: "r1", Lifetime: 28800, Scopes: []string{"profile"}}},

		{"front", "an absolute end", 200, "", `{"access_token":"fr1","refresh_token":"r1","token_type":"Bearer","expires_at":1772370000}`,
			outcome{Access: "fr1", Refresh: "r1", Lifetime: 3600}},

		{"gong", "the host of the API", 200, "", `{"access_token":"g1","token_type":"bearer","expires_in":86400,"refresh_token":"r1","scope":"api:calls:read:basic","api_base_url_for_customer":"https://company-1.api.gong.io"}`,
			outcome{Access: "g1", Refresh: "r1", Lifetime: 86400, Scopes: []string{"api:calls:read:basic"}}},

		{"notion", "tokens whose end is not said", 200, "", `{"access_token":"ntn_1","token_type":"bearer","bot_id":"b","workspace_id":"w","owner":{"type":"user","user":{"id":"u"}}}`,
			outcome{Access: "ntn_1"}},

		{"paypal", "a lifetime as text", 200, "", `{"scope":"openid","access_token":"A21","token_type":"Bearer","expires_in":"28800","refresh_token":"R23"}`,
			outcome{Access: "A21", Refresh: "R23", Lifetime: 28800, Scopes: []string{"openid"}}},
		{"pipedrive", "the host of the API", 200, "", `{"access_token":"p1","token_type":"Bearer","expires_in":3599,"refresh_token":"r1","scope":"base","api_domain":"https://acme.pipedrive.com"}`,
			outcome{Access: "p1", Refresh: "r1", Lifetime: 3599, Scopes: []string{"base"}}},

		{"quickbooks", "an end of the refresh token, by a name of its own", 200, "", `{"x_refresh_token_expires_in":8726400,"refresh_token":"AB1","access_token":"eyJ","token_type":"bearer","expires_in":3600}`,
			outcome{Access: "eyJ", Refresh: "AB1", Lifetime: 3600, RefreshLifetime: 8726400}},

		{"reddit", "a used code, with 200", 200, "", `{"error":"invalid_grant"}`, outcome{Class: dead, Code: "invalid_grant"}},
		{"reddit", "a wrong secret, with a number", 401, "", `{"message":"Unauthorized","error":401}`, outcome{Class: refused, Code: "401"}},

		{"sage-accounting", "five minutes", 200, "", `{"access_token":"s1","expires_in":300,"refresh_token":"r1","refresh_token_expires_in":2678400,"scope":"full_access"}`,
			outcome{Access: "s1", Refresh: "r1", Lifetime: 300, RefreshLifetime: 2678400, Scopes: []string{"full_access"}}},
		{"salesforce", "an end that is not said, and the host of the API", 200, "", `{"access_token":"00D1!x","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D1/0051","token_type":"Bearer","issued_at":"1772366400000","signature":"x","scope":"api refresh_token","refresh_token":"5Aep"}`,
			outcome{Access: "00D1!x", Refresh: "5Aep", Lifetime: 7200, Scopes: []string{"api", "refresh_token"}}},
		{"salesforce", "an app whose rotation saw an old token", 400, "", `{"error":"invalid_grant","error_description":"expired access/refresh token"}`,
			outcome{Class: dead, Code: "invalid_grant"}},
		{"shopify", "an expiring offline token", 200, "", `{"access_token":"shpat_1","scope":"read_products,read_orders","expires_in":3600,"refresh_token":"shprt_1","refresh_token_expires_in":7776000}`,
			outcome{Access: "shpat_1", Refresh: "shprt_1", Lifetime: 3600, RefreshLifetime: 7776000, Scopes: []string{"read_products", "read_orders"}}},
		{"shopify", "an offline token from before they ended", 200, "", `{"access_token":"shpat_1","scope":"read_products"}`,
			outcome{Access: "shpat_1", Scopes: []string{"read_products"}}},
		{"snowflake", "ten minutes", 200, "", `{"access_token":"ver:1","refresh_token":"ver:2","token_type":"Bearer","expires_in":600,"refresh_token_expires_in":86399,"username":"ALICE","scope":"refresh_token"}`,
			outcome{Access: "ver:1", Refresh: "ver:2", Lifetime: 600, RefreshLifetime: 86399, Scopes: []string{"refresh_token"}}},
		{"square", "an absolute end, as text", 200, "", `{"access_token":"EAAA1","token_type":"bearer","expires_at":"2026-03-31T12:00:00Z","merchant_id":"M","refresh_token":"EQAA1"}`,
			outcome{Access: "EAAA1", Refresh: "EQAA1", Lifetime: 2592000}},
		{"strava", "both ends", 200, "", `{"token_type":"Bearer","expires_at":1772388000,"expires_in":21600,"refresh_token":"r1","access_token":"st1","athlete":{"id":1}}`,
			outcome{Access: "st1", Refresh: "r1", Lifetime: 21600}},
		{"surveymonkey", "the host of the API", 200, "", `{"access_token":"sm1","access_url":"https://api.eu.surveymonkey.com","token_type":"bearer","expires_in":null}`,
			outcome{Access: "sm1"}},

		{"threads", "a dead token", 400, "", `{"error":{"message":"Session has expired","type":"OAuthException","code":190}}`,
			outcome{Class: dead, Code: "190"}},
		{"threads", "tokens of sixty days", 200, "", `{"access_token":"TH1","token_type":"bearer","expires_in":5183944}`,
			outcome{Access: "TH1", Lifetime: 5183944}},

		{"zoho-crm", "tokens, with the host of the API", 200, "", `{"access_token":"1000.a","refresh_token":"1000.r","scope":"ZohoCRM.modules.READ AaaServer.profile.READ","api_domain":"https://www.zohoapis.eu","token_type":"Bearer","expires_in":3600}`,
			outcome{Access: "1000.a", Refresh: "1000.r", Lifetime: 3600, Scopes: []string{"ZohoCRM.modules.READ", "AaaServer.profile.READ"}}},
		{"zoho-crm", "a used code or dead refresh token", 200, "", `{"error":"invalid_code"}`, outcome{Class: dead, Code: "invalid_code"}},
		{"zoho-crm", "a wrong secret", 200, "", `{"error":"invalid_client_secret"}`, outcome{Class: client, Code: "invalid_client_secret"}},
		{"zoho-crm", "an unknown client, as of another data centre", 200, "", `{"error":"invalid_client"}`, outcome{Class: client, Code: "invalid_client"}},
		{"zoho-crm", "too many refreshes", 400, "", `{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}`,
			outcome{Class: transient, Code: "access_denied"}},

		{"tiktok", "tokens", 200, "", `{"access_token":"act.1","expires_in":86400,"open_id":"o","refresh_expires_in":31536000,"refresh_token":"rft.1","scope":"user.info.basic,video.list","token_type":"Bearer"}`,
			outcome{Access: "act.1", Refresh: "rft.1", Lifetime: 86400, RefreshLifetime: 31536000, Scopes: []string{"user.info.basic", "video.list"}}},
		{"tiktok", "a dead refresh token, with 200", 200, "", `{"error":"invalid_grant","error_description":"Refresh token is invalid or expired.","log_id":"x"}`,
			outcome{Class: dead, Code: "invalid_grant"}},

		{"wrike", "the host of the API", 200, "", `{"access_token":"w1","refresh_token":"r1","token_type":"bearer","expires_in":3600,"host":"app-eu.wrike.com"}`,
			outcome{Access: "w1", Refresh: "r1", Lifetime: 3600}},
		{"zendesk", "an end of the refresh token", 200, "", `{"access_token":"z1","token_type":"bearer","refresh_token":"r1","scope":"read","expires_in":300,"refresh_token_expires_in":604800}`,
			outcome{Access: "z1", Refresh: "r1", Lifetime: 300, RefreshLifetime: 604800, Scopes: []string{"read"}}},
		{"zendesk", "a token that does not end, of an older client", 200, "", `{"access_token":"z1","token_type":"bearer","scope":"read"}`,
			outcome{Access: "z1", Scopes: []string{"read"}}},
	}
}
