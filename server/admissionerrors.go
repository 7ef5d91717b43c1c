package server

import (
	"culvert/internal/admission"
	"culvert/internal/environments"
)

// admissionSentinels are those of API keys and roles.
func admissionSentinels() []sentinel {
	return []sentinel{
		{admission.ErrNoKey, problem{status: 404, code: "entity_not_found", text: "API key not found."}},
		{admission.ErrNoRole, problem{status: 404, code: "entity_not_found", text: "Role not found."}},
		{admission.ErrKeyEnded, problem{status: 409, code: "api_key_already_expired", text: "API key is already expired"}},
		{admission.ErrRotated, problem{status: 409, code: "api_key_rotated",
			text: "Another key was made to replace this one already: its successor_id names it."}},
		{admission.ErrLastKey, problem{status: 409, code: "last_admin_api_key",
			text: "This is the last API key with every right that does not end before it; make another one first, or insist with force."}},
		{admission.ErrTooManyKeys, problem{status: 409, code: "too_many_api_keys",
			text: "The environment has as many API keys as one may have; revoke those that nobody uses."}},
		{admission.ErrTooManyRoles, problem{status: 409, code: "too_many_roles",
			text: "The environment has as many roles as one may have; delete those that no key has."}},
		{admission.ErrExceeds, problem{status: 403, code: "exceeds_own_rights",
			text: "It would allow what the API key of this request may not do itself."}},
		{admission.ErrRoleExists, problem{status: 409, code: "role_exists",
			text: "There is a role of this name, or it is one that every environment has and nobody changes."}},
		{admission.ErrRoleInUse, problem{status: 409, code: "role_in_use",
			text: "An API key has this role; revoke it, or let it expire, before the role goes."}},
		{admission.ErrUnknownCursor, *unknownCursor()},
		{admission.ErrConflict, *busy()},
		{admission.ErrTampered, problem{status: 500, code: codeIntegrity,
			text: "A stored record failed its integrity check and was not used."}},
	}
}

// environmentSentinels are those of environments.
func environmentSentinels() []sentinel {
	return []sentinel{
		{environments.ErrNotFound, problem{status: 404, code: "entity_not_found", text: "Environment not found."}},
		{environments.ErrExists, problem{status: 409, code: "environment_exists",
			text: "There is an environment of this name. Its first API key was answered when it was made, and is not told again."}},
		{environments.ErrTooMany, problem{status: 409, code: "too_many_environments",
			text: "The store has as many environments as one may have."}},
		{environments.ErrConflict, *busy()},
		{environments.ErrTampered, problem{status: 500, code: codeIntegrity,
			text: "A stored record failed its integrity check and was not used."}},
	}
}
