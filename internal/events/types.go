package events

// Types are the names that a caller may ask for or subscribe to: our own, and the contract's whether this
// server writes them or not, so that a consumer written against the contract starts.
func Types() []Type {
	return []Type{
		DataCreated, DataUpdated, DataDeleted, KEKCreated, KEKDeleted, KEKRotated, KEKRewrapped,
		DataRead, MetadataRead, NamesListed, DEKRead, DEKDecrypted,
		BYOKVerified, BYOKDeleted,
		JobCreated, JobEnded, JobResumed, ScheduleUpdated, ScheduleDeleted,
		AccountConnected, AccountDisconnected, ReauthorizationAsked, ConnectionFailed,
		GrantRefreshed, RevocationEnded, AccountUpdated, AccountExpiring,
		IntegrationCreated, IntegrationUpdated, IntegrationDeleted,
		ConfigurationUpdated, ConfigurationDeleted,
		EndpointCreated, EndpointUpdated, EndpointDeleted, SecretRotated, EndpointReplayed,
		APIKeyCreated, APIKeyRevoked, APIKeyUpdated, RoleCreated, RoleUpdated, RoleDeleted,
		EnvironmentCreated,
	}
}
