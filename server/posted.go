package server

import (
	"maps"
	"net/http"
	"net/url"
	"slices"

	"culvert/server/pages"
)

// postedForm is the value of the hidden field by which a callback is known that our own page repeats.
const postedForm = "posted"

// postedCallback is POST /data-integrations/{slug}/{dik}/callback: back from a provider that has its response posted
// by a form (response_mode=form_post, as Apple does where it is asked for a name). Browsers send no Lax cookie with
// a form of another site's, so what arrives first is answered with a page of ours that posts it once more, from
// here, and nothing is looked up for it. The alternatives are worse: a redirect would put the code into a URL, which
// form_post is there to avoid, and a cookie that goes with every site's forms would be the flow's only one for all.
//
// Attacker: a page that posts a code and state of its own to us, in a victim's browser. Defence: as for a callback
// by GET, which every page can lead a browser to: the state is of the browser whose cookie comes with it.
func (s *Server) postedCallback() handler {
	return func(x *exchange) error {
		values, err := x.postedValues()
		if err != nil {
			return err
		}
		if !slices.Equal(values["form"], []string{postedForm}) {
			return x.postAgain(values)
		}
		if !sameOrigin(x.r.Header, s.publicURL) {
			return crossSite()
		}
		values.Del("form")
		q, err := x.callbackRequest(values)
		if err != nil {
			return err
		}
		return x.calledBack(q)
	}
}

// postedValues are the fields of a response, within the bounds of one that comes as a query.
func (x *exchange) postedValues() (url.Values, error) {
	if x.r.URL.RawQuery != "" {
		return nil, invalidCallback()
	}
	body, err := x.form(maxCallback)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil, invalidCallback()
	}
	return values, nil
}

// postAgain answers with the page that repeats what is read of a response, which leaves out ID tokens and what else
// a provider sends along.
func (x *exchange) postAgain(values url.Values) error {
	if _, err := x.callbackRequest(values); err != nil {
		return err
	}
	kept := url.Values{}
	for name, value := range others(values) {
		kept.Set(name, value)
	}
	for _, name := range callbackParams() {
		if values.Has(name) {
			kept[name] = values[name]
		}
	}
	kept.Del("form")
	var p pages.Posted
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		p.Fields = append(p.Fields, pages.Field{Name: name, Value: kept.Get(name)})
	}
	body, err := x.server.pages.Posted(p)
	if err != nil {
		return err
	}
	x.opened = true // a pop-up has to be closed by the callback that follows
	x.page(http.StatusOK, x.server.pages.PostedPolicy(formTargets(x.server.publicURL)...), body)
	return nil
}
