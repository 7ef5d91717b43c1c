package server_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// TestWrongBrowser: a callback that is opened where the flow did not start links nothing; the same one in
// the right browser does.
func TestWrongBrowser(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	right, wrong := d.browser(t), d.browser(t)
	callback := right.arrive(t, d.mustAuthorize(t, returnTo))

	wrong.open(t, callback).mustPage(t, 403)           // without any cookie
	wrong.open(t, d.mustAuthorize(t, "")).want(t, 200) // with a cookie of its own
	page := wrong.open(t, callback).mustPage(t, 403)
	// Of two cookies with the name nobody can tell which one is ours.
	cookie, _, _ := strings.Cut(right.open(t, d.mustAuthorize(t, "")).header.Get("Set-Cookie"), ";")
	path := strings.TrimPrefix(callback, pipestest.PublicURL)
	d.do(t, get(path).with("Cookie", cookie+"; "+cookie)).mustPage(t, 403)
	if !strings.Contains(page.body, "not the browser") {
		t.Errorf("page\n%s", page.body)
	}
	if got := d.pipes.Provider.Exchanges(); got != 0 {
		t.Errorf("the code was exchanged %d times", got)
	}
	d.do(t, get("/user_management/users/user_1/connected_accounts/provider")).mustRefuse(t, 404, "entity_not_found")
	right.open(t, callback).mustRedirect(t)
	d.do(t, get("/user_management/users/user_1/connected_accounts/provider")).want(t, 200)
}

// TestTickets: whatever is wrong with a ticket or flow state is one readable page, and never a 5xx.
func TestTickets(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	d.mustIntegration(t, pipestest.Second, "")
	url := d.mustAuthorize(t, returnTo)
	ticket := pipestest.Ticket(t, url)
	parts := strings.Split(ticket, "-")
	b := d.browser(t)
	form := b.open(t, url).mustPage(t, 200)
	const base = pipestest.PublicURL + "/data-integrations/"
	for name, bad := range map[string]string{
		"garbage": marker, "cut": ticket[:len(ticket)-1], "longer": ticket + "x", "flipped": flipLast(ticket),
		"another flow": parts[0] + "-01KAR8Z3S3Z0C5M2N1V7W9X4YQ-" + parts[2], "another environment": "01KAR8Z3S3Z0C5M2N1V7W9X4YQ-" + parts[1] + "-" + parts[2],
		"lower case": strings.ToLower(ticket), "a state": parts[0] + "-" + parts[1] + "-1-" + parts[2], "huge": strings.Repeat(marker, 500),
		"escaped": "%2e%2e", "not UTF-8": marker + "%FF", "NUL": ticket + "%00",
	} {
		status := 410
		if name == "not UTF-8" {
			status = 400
		}
		b.open(t, base+bad+"/authorize-redirect").mustPage(t, status)
		b.press(t, form, base+bad+"/authorize-redirect").mustPage(t, status)
		b.press(t, form, base+bad+"/cancel").mustPage(t, status)
	}
	callback := d.pipes.Provider.Visit(t, b.press(t, form, url).mustRedirect(t)).String()
	state, code := between(callback, "state=", "&"), between(callback, "code=", "&")
	path, _, _ := strings.Cut(callback, "?")
	dik := between(path, "/provider/", "/callback")
	for name, bad := range map[string]string{
		"no state": path + "?code=" + code, "empty state": path + "?state=&code=" + code, "garbage": path + "?state=" + marker + "&code=" + code,
		"flipped": path + "?code=" + code + "&state=" + flipLast(state), "another departure": path + "?code=" + code + "&state=" + strings.Replace(state, "-1-", "-2-", 1),
		"a ticket": path + "?code=" + code + "&state=" + ticket, "another slug": strings.Replace(callback, "/provider/", "/second/", 1),
		"another dik": strings.Replace(callback, dik, "dik_01KAR8Z3S3Z0C5M2N1V7W9X4YQ", 1), "state twice": callback + "&state=" + state,
		"code twice": callback + "&code=" + marker, "error twice": callback + "&error=a&error=b", "iss twice": callback + "&iss=a&iss=b",
		"semicolon": callback + ";x=" + marker, "bad escape": callback + "&x=%zz" + marker, "huge code": path + "?state=" + state + "&code=" + strings.Repeat("c", 9<<10),
		"huge query": callback + "&x=" + strings.Repeat(marker, 2000), "long state": callback + strings.Repeat("x", 600),
		"no query": path, "not UTF-8 slug": strings.Replace(callback, "/provider/", "/%FF/", 1),
	} {
		page := b.open(t, bad)
		if page.status != 400 && page.status != 410 {
			t.Errorf("%s: status %d", name, page.status)
		}
		page.mustPage(t, page.status)
		if strings.Contains(page.body, code) || strings.Contains(page.body, state) {
			t.Errorf("%s: the page shows the code or the state", name)
		}
	}
	if got := d.pipes.Provider.Exchanges(); got != 0 {
		t.Errorf("the code was exchanged %d times", got)
	}
	if !strings.Contains(metrics(d.server), `culvert_unauthenticated_total{reason="ticket"} `) || strings.Contains(metrics(d.server), `{reason="ticket"} 0`) {
		t.Error("tickets that cannot be used are not counted")
	}
	// A parameter that nobody reads may be there, also twice.
	b.open(t, callback+"&session_state=1&session_state=2").mustRedirect(t)
}

// TestExpired: tickets live for 30 minutes, flow states for 10.
func TestExpired(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b := d.browser(t)
	url, late := d.mustAuthorize(t, returnTo), d.mustAuthorize(t, returnTo)
	callback := b.arrive(t, late)
	d.pipes.Clock.Advance(pipes.FlowStateTTL + time.Second)
	b.open(t, callback).mustPage(t, 410)
	page := b.open(t, url).mustPage(t, 200)
	d.pipes.Clock.Advance(pipes.TicketTTL - pipes.FlowStateTTL)
	b.press(t, page, url).mustPage(t, 410)
	b.open(t, url).mustPage(t, 410)
	d.mustConnect(t)
}

// TestButtons: only a press on our own page, in the browser that was shown it, sends anybody on.
func TestButtons(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b, other := d.browser(t), d.browser(t)
	target := d.mustAuthorize(t, returnTo)
	page, foreign := b.open(t, target), other.open(t, target)
	const form = "application/x-www-form-urlencoded"
	const ticked = "&confirmed=yes"
	own, theirs := "form="+url.QueryEscape(formOf(page))+ticked, "form="+url.QueryEscape(formOf(foreign))+ticked
	h := func(pairs ...string) map[string]string {
		header := map[string]string{"Content-Type": form}
		for i := 0; i < len(pairs); i += 2 {
			header[pairs[i]] = pairs[i+1]
		}
		return header
	}
	for _, c := range []struct {
		name   string
		by     *browser
		body   string
		header map[string]string
		status int
	}{
		{"no cookie", d.browser(t), own, h(), 403},
		{"another browser's form", b, theirs, h(), 403},
		{"own form in another browser", other, own, h(), 403},
		{"garbage", b, "form=" + marker + ticked, h(), 403},
		{"no form", b, "", h(), 400},
		{"form twice", b, own + "&" + own, h(), 400},
		{"bad escape", b, "form=%z" + marker, h(), 400},
		{"another origin", b, own, h("Origin", "https://evil.example"), 403},
		{"suffix of the origin", b, own, h("Origin", pipestest.PublicURL+".evil.example"), 403},
		{"another scheme", b, own, h("Origin", strings.Replace(pipestest.PublicURL, "https", "http", 1)), 403},
		{"another site", b, own, h("Sec-Fetch-Site", "cross-site", "Origin", "null"), 403},
		{"a sibling", b, own, h("Sec-Fetch-Site", "same-site"), 403},
		{"typed", b, own, h("Sec-Fetch-Site", "none"), 403},
		{"JSON", b, own, map[string]string{"Content-Type": "application/json"}, 415},
		{"no type", b, own, nil, 415},
		{"text", b, own, map[string]string{"Content-Type": "text/plain"}, 415},
		{"huge", b, own + "&x=" + strings.Repeat(marker, 500), h(), 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, to := range []string{target, strings.TrimSuffix(target, "authorize-redirect") + "cancel"} {
				c.by.send(t, "POST", to, c.body, c.header).mustPage(t, c.status)
			}
		})
	}
	// What browsers send from our page.
	for _, header := range []map[string]string{
		h("Sec-Fetch-Site", "same-origin", "Origin", "null"), h("Sec-Fetch-Site", "same-origin", "Origin", pipestest.PublicURL),
		h("Origin", pipestest.PublicURL), h("Origin", "null"), h(),
	} {
		b.send(t, "POST", target, own, header).mustRedirect(t)
	}
	// Five departures are all that a ticket has.
	b.send(t, "POST", target, own, h()).mustPage(t, 410)
}

// TestUntickedBox: nobody goes on who has not said that it is for him; who cancels need not.
func TestUntickedBox(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b, target := d.browser(t), d.mustAuthorize(t, returnTo)
	form := "form=" + url.QueryEscape(formOf(b.open(t, target)))
	header := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for _, without := range []string{"", "&confirmed=", "&confirmed=no", "&confirmed=yes&confirmed=yes"} {
		page := b.send(t, "POST", target, form+without, header).mustPage(t, 400)
		if !strings.Contains(page.body, "tick it") {
			t.Errorf("page\n%s", page.body)
		}
	}
	b.send(t, "POST", target, form+"&confirmed=yes", header).mustRedirect(t)
	b.send(t, "POST", strings.TrimSuffix(target, "authorize-redirect")+"cancel", form, header).mustRedirect(t)
}

// TestAgeOfTheCookie: a browser's secret is replaced after an hour, and a flow that began with it comes
// back until then; one that is older than two hours, or of a time to come, is none.
func TestAgeOfTheCookie(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	value := func(page answer) string {
		cookie, _, _ := strings.Cut(page.header.Get("Set-Cookie"), ";")
		_, secret, _ := strings.Cut(cookie, ".")
		return secret
	}
	b := d.browser(t)
	first := value(b.open(t, d.mustAuthorize(t, "")))
	d.pipes.Clock.Advance(50 * time.Minute)
	callback := b.arrive(t, d.mustAuthorize(t, returnTo)) // opens the page, too
	d.pipes.Clock.Advance(5 * time.Minute)
	b.open(t, callback).mustRedirect(t)
	if got := value(b.open(t, d.mustAuthorize(t, ""))); got != first {
		t.Error("the secret was replaced within its hour")
	}
	d.pipes.Clock.Advance(10 * time.Minute)
	if got := value(b.open(t, d.mustAuthorize(t, ""))); got == first || got == "" {
		t.Error("the secret was not replaced after its hour")
	}
	target := d.mustAuthorize(t, returnTo)
	page := d.browser(t).open(t, target)
	made := d.pipes.Clock.Now().Unix()
	for age, status := range map[int64]int{0: 303, 7000: 303, 7300: 403, -300: 403} {
		a := d.do(t, request{method: "POST", path: strings.TrimPrefix(target, pipestest.PublicURL), body: "confirmed=yes&form=" + url.QueryEscape(formOf(page))}.
			with("Content-Type", "application/x-www-form-urlencoded").
			with("Cookie", "__Host-culvert-flow="+strconv.FormatInt(made-age, 10)+"."+value(page)))
		if a.status != status {
			t.Errorf("a secret %d seconds old: status %d, want %d", age, a.status, status)
		}
	}
}

// TestFlowUsedTooOften: one flow cannot fill the trail; who comes too often waits, is counted, and goes on later.
func TestFlowUsedTooOften(t *testing.T) {
	d := newPipesDoor(t, pipestest.Config{})
	d.mustIntegration(t, pipestest.Slug, "")
	b, url := d.browser(t), d.mustAuthorize(t, returnTo)
	page := b.open(t, url)
	for n := 0; page.status == 200 && n < 1000; n++ {
		page = b.open(t, url)
	}
	if page.mustPage(t, 429); page.header.Get("Retry-After") == "" || !strings.Contains(page.body, "reload this page") {
		t.Errorf("%v\n%s", page.header, page.body)
	}
	if strings.Contains(metrics(d.server), `culvert_unauthenticated_total{reason="flow_rate"} 0`) {
		t.Error("legs that came too soon are not counted")
	}
	d.mustConnect(t)
	d.pipes.Clock.Advance(time.Minute)
	b.open(t, url).mustPage(t, 200)
}
