package server

import (
	"encoding/base64"
	"net/http"
	"strings"

	"culvert/pipes"
	"culvert/server/pages"
)

// A flow without return_to ends on a page of ours, at the callback's path without its query. What the
// page says comes with the browser: a cookie that only this host can set. So the page needs no record,
// nobody can make it say something by a link, and it tells a stranger nothing.

// keepResult sets the cookie: the outcome's code, the part of the path that the page belongs to, the id
// of the request that ended the flow, and the provider's name; and that this is a pop-up, if it is.
func (x *exchange) keepResult(r pipes.Result, dik string) {
	code := r.Code
	if code == "" {
		code = pages.Connected
	}
	value := strings.Join([]string{code, dik, x.id, base64.RawURLEncoding.EncodeToString([]byte(r.Provider))}, ".")
	if r.Popup {
		value += ".popup"
	}
	x.addCookie(resultCookie, value, resultCookieAge)
}

// showResult is the callback's path without a query.
func (x *exchange) showResult() error {
	dik, err := x.segment("dik")
	if err != nil {
		return err
	}
	value, popup := strings.CutSuffix(x.cookie(resultCookie), ".popup")
	part := strings.Split(value, ".")
	if len(part) != 4 || part[1] != dik {
		return invalidCallback()
	}
	provider, err := base64.RawURLEncoding.DecodeString(part[3])
	if err != nil {
		return invalidCallback()
	}
	m := pages.Outcome(part[0], string(provider))
	if part[0] != pages.Connected {
		m.RequestID = part[2]
	}
	x.opened, m.Closes = popup, popup && part[0] == pages.Connected
	return x.message(http.StatusOK, m)
}

// cookie is the value of a cookie of ours, "" if there is none. Of two with the same name one was not
// set by us, and nobody can tell which.
func (x *exchange) cookie(name string) string {
	if found := x.r.CookiesNamed(name); len(found) == 1 {
		return found[0].Value
	}
	return ""
}

// addCookie sets a cookie that only this host, only over a secure connection and no script can see. Lax,
// because the browser comes back from the provider by a link.
func (x *exchange) addCookie(name, value string, age int) {
	http.SetCookie(x.w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: age, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
