package export

import (
	"regexp"
	"slices"

	"culvert/internal/audit"
)

// Target is a type of what records are about.
type Target string

// targets says which field of a record is the id of each type.
func targets() map[Target]func(*audit.Record) string {
	return map[Target]func(*audit.Record) string{
		"object":            func(r *audit.Record) string { return r.ObjectID },
		"kek":               func(r *audit.Record) string { return r.KeyID },
		"integration":       func(r *audit.Record) string { return r.IntegrationID },
		"connected_account": func(r *audit.Record) string { return r.AccountID },
		"flow":              func(r *audit.Record) string { return r.FlowID },
		"user":              func(r *audit.Record) string { return r.UserID },
		"organization":      func(r *audit.Record) string { return r.OrganizationID },
	}
}

// maxList bounds the lists of a request.
const maxList = 100

func (r *Request) check() error {
	if r.Format == "" {
		r.Format = CSV
	}
	switch {
	case r.Format != CSV && r.Format != JSON:
		return &InvalidError{"format", "must be csv or json"}
	case !r.Since.Before(r.Until):
		return &InvalidError{"range_end", "must be later than range_start"}
	case max(len(r.Actions), len(r.ActorIDs), len(r.ActorNames), len(r.Targets)) > maxList:
		return &InvalidError{"actions", "must be 100 at most, and so must actors and targets"}
	}
	// What is asked for stands in a file: text of any other form, which a client may have put there by mistake, does not.
	form := regexp.MustCompile(`^[a-z][a-z_.]{0,63}$`)
	for _, a := range r.Actions {
		if !form.MatchString(string(a)) {
			return &InvalidError{"actions", "must be names of actions, such as vault.data.read"}
		}
	}
	known := targets()
	for _, t := range r.Targets {
		if known[t] == nil {
			return &InvalidError{"targets", "must be of object, kek, integration, connected_account, flow, user and organization"}
		}
	}
	return nil
}

// matches tells whether an export has a record. Records of the log about itself are of no environment, and in none.
func (x *Export) matches(r *audit.Record) bool {
	q := &x.Request
	return r.EnvironmentID == x.Environment && !r.Time.Before(q.Since) && r.Time.Before(q.Until) &&
		(len(q.Actions) == 0 || slices.Contains(q.Actions, r.Action)) &&
		(len(q.ActorIDs) == 0 || slices.Contains(q.ActorIDs, r.ActorID)) &&
		(len(q.ActorNames) == 0 || slices.Contains(q.ActorNames, r.ActorName)) &&
		(q.Organization == "" || r.OrganizationID == q.Organization || r.KeyContext["organization_id"] == q.Organization) &&
		q.about(r)
}

func (r *Request) about(record *audit.Record) bool {
	if len(r.Targets) == 0 {
		return true
	}
	known := targets()
	return slices.ContainsFunc(r.Targets, func(t Target) bool { return known[t](record) != "" })
}
