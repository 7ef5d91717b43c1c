package main

import (
	"time"
)

// Config is every setting there is. The comment of a field is its manual, and printed as such by
// `culvert help settings`. Its name is the one in its tag: a name inside a section in the YAML file, and
// after --set joined to those of its sections by dots, `--set vault.versions_kept=20`.
//
// A setting that is not here is an error, and so is a section that is not here: a misspelt name must
// not quietly mean the default. Secrets are never values of settings, only files that settings name.
type Config struct {
	// Addr is where the API listens, host:port. Port 0 takes a free one. Default 127.0.0.1:8700. Without
	// a certificate (section tls) it has to be a loopback address; `culvert dev` takes another one from
	// --addr.
	Addr string `koanf:"addr"`
	// AdminAddr is where /metrics, and profiles of the process below /debug/pprof, are served, host:port. They ask for
	// no credential, so it has to be a loopback address. Default: nowhere.
	AdminAddr string `koanf:"admin_addr"`
	// PublicURL is how clients, browsers and providers reach the server if not by Addr,
	// scheme://host[:port] without a path (official SDKs can express none). The redirect URIs that are
	// registered at providers begin with it. `culvert server` needs it, and with https unless its host is
	// a loopback address. Default http(s)://<addr>.
	PublicURL string `koanf:"public_url"`
	// DataDir holds what this process owns: its lock, its node id, the audit log, and without
	// etcd.endpoints also the database. One process at a time may use it, and nothing in it can be
	// recreated. Default ./.culvert.
	DataDir string `koanf:"data_dir"`
	// DrainDelay is how long after the signal to stop new requests are still taken, while /readyz says
	// 503 already: the time that a load balancer needs to notice, two of its probes. What is under way
	// then is finished in any case. 0 to 5m, default 0.
	DrainDelay time.Duration `koanf:"drain_delay"`

	TLS     TLSConfig     `koanf:"tls"`
	RootKey RootKeyConfig `koanf:"root_key"`
	// OtherRootKeys are root keys that KEKs are still under, or already, by names of your choice. What is new
	// is wrapped by RootKey; what is under one of the others can be read. Each has to be there. Default:
	// none. deploy/rootkey says how a store moves to another root key.
	OtherRootKeys map[string]RootKeyConfig `koanf:"other_root_keys" each:"NAME"`

	Etcd  EtcdConfig  `koanf:"etcd"`
	Vault VaultConfig `koanf:"vault"`
	Keys  KeysConfig  `koanf:"keys"`
	CMK   CMKConfig   `koanf:"cmk"`
	Pipes PipesConfig `koanf:"pipes"`

	Events   EventsConfig   `koanf:"events"`
	Webhooks WebhooksConfig `koanf:"webhooks"`

	Audit AuditConfig `koanf:"audit"`

	Limits LimitsConfig `koanf:"limits"`

	Log LogConfig `koanf:"log"`

	// CORSOrigins are the origins whose browser scripts may read answers, and whose pages may hand
	// flows over to a pop-up, scheme://host[:port] each.
	// `culvert dev` lets origins on loopback addresses besides.
	CORSOrigins []string `koanf:"cors_origins"`
}

// TLSConfig is the section tls: the certificate that the API shows to clients.
type TLSConfig struct {
	// CertFile and KeyFile are a certificate with what leads to its root, and its key (PEM); both or
	// neither. With them the API speaks HTTPS, TLS 1.2 or later, and nothing else. The files are read
	// again every ten seconds and on SIGHUP: new connections get what is in them, and if that is no
	// pair they go on getting the last one, with a warning in the log. Users other than the owner and
	// the group must not be able to read KeyFile.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
}

// RootKeyConfig is the section root_key: what wraps every KEK. Without it nothing can be read again.
type RootKeyConfig struct {
	// Provider is "local", a key file, "awskms", a key in the AWS KMS, or "pkcs11", a key in an HSM.
	// Default local.
	Provider string `koanf:"provider"`
	// Path is the key file of provider local. It is made with the store (`culvert init`, or the first
	// start of `culvert dev`), with mode 0600, and never afterwards. Processes that share a store share a copy
	// of it. Default <data_dir>/root.key. With provider pkcs11 it is the absolute path of the HSM's PKCS#11
	// module, a library.
	Path string `koanf:"path"`
	// Key is the full ARN of the key of provider awskms, or of an alias, which is resolved at the start;
	// its region is that of the ARN. Credentials are found as AWS's own tools find them: in the
	// environment, in shared files, as the role of the machine or the pod. deploy/kms has policies.
	// With provider pkcs11 it is the label of the key, an AES-256 key that cannot be taken out of its
	// token; deploy/pkcs11 says how to make one.
	Key string `koanf:"key"`
	// Endpoint is where provider awskms asks, https://host[:port]. Default: the address of the region.
	Endpoint string `koanf:"endpoint"`
	// Token is the label of the token that provider pkcs11 logs in to.
	Token string `koanf:"token"`
	// PINFile has the PIN of the token's user, on one line. Users other than the owner and the group must
	// not be able to read it. It is read at the start; a PIN that the token refuses is not tried again.
	PINFile string `koanf:"pin_file"`
}

// EtcdConfig is the section etcd: where records are kept.
type EtcdConfig struct {
	// Endpoints are the members of an external cluster, http(s)://host:port or host:port. Default:
	// none, which means an embedded etcd in <data_dir>/etcd that nothing else can reach. In clear they have to
	// be loopback addresses, but for `culvert dev`.
	Endpoints []string `koanf:"endpoints"`
	// Prefix is where in a shared cluster all of Culvert's keys are, beginning with a slash. Default
	// /culvert.
	Prefix string `koanf:"prefix"`
	// CAFile has the certificates (PEM) that the cluster's are checked against. Default: the system's.
	CAFile string `koanf:"ca_file"`
	// CertFile and KeyFile are what this process shows to the cluster (PEM); both or neither. They are
	// read again as those of section tls are.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
}

// VaultConfig is the section vault.
type VaultConfig struct {
	// MaxValueBytes is the longest value, in bytes of its UTF-8 form. 1 to 1048576, which is the default.
	MaxValueBytes int `koanf:"max_value_bytes"`
	// VersionsKept is how many versions an object keeps, the current one included. 1 to 100, default
	// 10. A lower number prunes each object at its next update.
	VersionsKept int `koanf:"versions_kept"`
}

// KeysConfig is the section keys.
type KeysConfig struct {
	// CacheTTL is how long an unwrapped KEK may be used before the root key is asked again: how long
	// a KMS that takes its permission back is not noticed. 0 asks every time. Default 5m, at most 24h.
	CacheTTL time.Duration `koanf:"cache_ttl"`
	// OutageExtension is how much longer an unwrapped KEK may be used while the root key does not answer: an
	// outage of the KMS that is shorter is noticed by new key contexts alone. It ends when the root key
	// refuses, and never applies to KEKs that a customer's key protects as well. 0 to 24h, default 0; it is of
	// no use where cache_ttl is 0.
	OutageExtension time.Duration `koanf:"outage_extension"`
}

// CMKConfig is the section cmk: keys that customers bring. Which they are is not a matter of settings, but of
// `culvert keys cmk attach`.
type CMKConfig struct {
	// Endpoint is where customers' keys in the AWS KMS are asked, https://host[:port]. Default:
	// root_key.endpoint if the root key is of provider awskms, else the address of each key's region.
	Endpoint string `koanf:"endpoint"`
}

// PipesConfig is the section pipes: connected accounts of other providers.
type PipesConfig struct {
	// ReturnTo are the origins where a browser may be sent after it has connected an account,
	// scheme://host[:port] each, compared whole. Default: none. `culvert dev` allows http origins on
	// loopback addresses besides.
	ReturnTo []string `koanf:"return_to"`
	// Connectors say where built-in providers really are, by their slug: a GitHub Enterprise Server, a
	// Microsoft tenant, an emulator. Client secrets and tokens go there.
	Connectors map[string]EndpointsConfig `koanf:"connectors" each:"SLUG"`
	Egress     EgressConfig               `koanf:"egress"`
	// BackgroundRefresh refreshes tokens before they end, and before a provider forgets an account that
	// nobody uses. Off, a token is refreshed when somebody asks for it. Default: true.
	BackgroundRefresh bool `koanf:"background_refresh"`
	// KeepAlive is the longest that an account nobody uses goes without a refresh, such as 24h, at least 1s. Default: 0, a
	// third of the time after which its provider forgets it, or a week where nobody says.
	KeepAlive time.Duration `koanf:"keep_alive"`
}

// EndpointsConfig is a section pipes.connectors.SLUG. Its URLs are https, or http on loopback.
type EndpointsConfig struct {
	// BaseURL replaces scheme, host and port of every endpoint of the provider; the paths stay, behind
	// its own path if it has one.
	BaseURL string `koanf:"base_url"`
	// The others replace one endpoint each, whole, and win over BaseURL.
	AuthorizationURL string `koanf:"authorization_url"`
	TokenURL         string `koanf:"token_url"`
	RevocationURL    string `koanf:"revocation_url"`
	IdentityURL      string `koanf:"identity_url"`
}

// EgressConfig is the sections pipes.egress and webhooks.egress: where this server may connect to on behalf of
// callers, whose custom providers and webhook endpoints can name any host.
type EgressConfig struct {
	// Allow are targets beyond the public internet: CIDRs (10.1.0.0/16), addresses and host names, the
	// latter two with a port or for 443. Default: none. `culvert dev` allows loopback besides.
	Allow []string `koanf:"allow"`
}

// EventsConfig is the section events: the log of changes, which GET /events shows.
type EventsConfig struct {
	// Dir is a directory for events that are too many for etcd, which shows them for 30 days. With an external
	// cluster it has to be one that all replicas share, and by default there is none: what is too much is
	// forgotten then, and GET /events says where its history begins. With an embedded etcd the default is
	// <data_dir>/events. It belongs into backups of the store.
	Dir string `koanf:"dir"`
	// StoreBytes is about how many bytes of events etcd holds. 1048576 or more. Default 0, which is 15 % of its
	// quota. Replicas of one store have the same.
	StoreBytes int64 `koanf:"store_bytes"`
	// Reads makes events of reads, too: vault.data.read, vault.metadata.read, vault.names.listed, vault.dek.read and
	// vault.dek.decrypted, some seconds later, from this process's audit log; at most a thousand in a second, the
	// rest later. They take room as all events do. What is read while it is off never becomes an event. Default
	// false.
	Reads bool `koanf:"reads"`
}

// WebhooksConfig is the section webhooks: how events are delivered to the endpoints that callers name. Replicas of
// one store have the same.
type WebhooksConfig struct {
	// Timeout bounds one attempt, up to the receiver's answer. 1s to 1m, default 10s.
	Timeout time.Duration `koanf:"timeout"`
	// RetryFirst is the time between the first attempt to deliver an event and the second; from one to the next it
	// doubles, up to RetryLongest. 100ms to 1h, default 5s.
	RetryFirst time.Duration `koanf:"retry_first"`
	// RetryLongest is the longest time between two attempts. RetryFirst to 24h, default 1h.
	RetryLongest time.Duration `koanf:"retry_longest"`
	// RetryFor is how long an event is tried before it is given up, a dead letter. 1s to 720h, default 72h.
	RetryFor time.Duration `koanf:"retry_for"`
	Egress   EgressConfig  `koanf:"egress"`
}

// AuditConfig is the section audit.
type AuditConfig struct {
	// Fsync is "interval" or "always". Either way a record is written before the answer leaves, so
	// that a crash of the process loses none; "interval" syncs the disk every 200 ms, so that a loss
	// of power may cost the records of that time, and "always" does it before each answer. Default
	// interval.
	Fsync string `koanf:"fsync"`
	// SegmentBytes is the size beyond which the log goes on in a new file, a segment. 65536 to 1073741824, default
	// 67108864.
	SegmentBytes int64 `koanf:"segment_bytes"`
	// Retention is how long records are kept, 2160h are 90 days. Segments are removed whole, once all of their records
	// are older and a signed checkpoint in the store covers them; a segment is written to for a tenth of this time, and
	// for a day at most. What is removed is signed, and recorded, with the size and SHA-256 of each file, and the hashes
	// of its records stay (64 bytes each): `culvert audit verify` goes on proving the rest, and that it continues
	// earlier checkpoints. A segment whose records are not those that were signed is kept, and so is one that a stream
	// has not sent yet. 0 or at least 1s, default 0: everything is kept.
	Retention time.Duration `koanf:"retention"`
	// Streams send the audit log of this node elsewhere, by names of your choice. Default: none.
	Streams map[string]StreamConfig `koanf:"streams" each:"NAME"`
	// Witness is who gets checkpoints besides the store.
	Witness WitnessConfig `koanf:"witness"`
}

// WitnessConfig is the section audit.witness.
type WitnessConfig struct {
	// File is appended to, once a minute while there are new records: the newest signed checkpoint of this node. Put it
	// on another disk, where who rewrites the log does not reach; one file for each node. The last checkpoint there is
	// compared with the log first: one that does not fit is recorded, and told in the log and by /readyz. It is given to
	// `culvert audit verify --checkpoint`. While the file is away nothing waits. Default: none.
	File string `koanf:"file"`
}

// StreamConfig is a section audit.streams.NAME: a stream of this node's audit log, to a file, a syslog receiver or an
// HTTP receiver. Every record is sent at least once and in order; a receiver that is away is waited for, and nothing
// else waits. The name is 1 to 32 lower-case letters, digits and hyphens; how far a stream has come is kept under it.
type StreamConfig struct {
	// Type is "file", "syslog" or "http".
	Type string `koanf:"type"`
	// Path is the file that lines of JSON are appended to, absolute. It is made if it is missing, and made again
	// when it was renamed; its directory is not. It must not be in the data directory.
	Path string `koanf:"path"`
	// Address is where a syslog receiver listens, host:port. It is spoken to in RFC 5424 over TLS (RFC 5425), and
	// its certificate is always checked.
	Address string `koanf:"address"`
	// Plain speaks TCP without TLS to a syslog receiver at a loopback address. Default: false.
	Plain bool `koanf:"plain"`
	// Facility is syslog's facility, 1 to 23. Default 13, "log audit".
	Facility int `koanf:"facility"`
	// URL is where batches are posted to, https, or http at a loopback address. It must not hold a secret.
	URL string `koanf:"url"`
	// CAFile has the certificates (PEM) that the receiver's is checked against. Default: the system's.
	CAFile string `koanf:"ca_file"`
	// CertFile and KeyFile are what this process shows to the receiver (PEM); both or neither. They are read for
	// every connection. Users other than the owner and the group must not be able to read KeyFile.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
	// TokenFile holds the bearer token for an HTTP receiver, on one line. It is read for every batch. Users other than
	// the owner and the group must not be able to read it.
	TokenFile string `koanf:"token_file"`
	// SecretFile holds a secret that batches are signed with, on one line: the header Culvert-Signature has the time
	// and HMAC-SHA256 of time, dot and body, as webhooks have. The rules are those of TokenFile.
	SecretFile string `koanf:"secret_file"`
	// Format is "lines", a JSON object for each record; "array", one JSON array for each batch of an HTTP receiver;
	// or "structured", syslog's structured data. Default lines.
	Format string `koanf:"format"`
	// BatchRecords is how many records are sent at once, 1 to 10000. Default 500.
	BatchRecords int `koanf:"batch_records"`
}

// LimitsConfig is the section limits: what the API lets in at all.
type LimitsConfig struct {
	// PathBytes is the longest path of a request in bytes, as escaped. 1024 to 65536, default 8192.
	PathBytes int `koanf:"path_bytes"`
	// BodyBytes is the longest body of a request. 65536 to 67108864, default 8388608, which leaves room
	// for a value of the largest size with every character escaped.
	BodyBytes int64 `koanf:"body_bytes"`
	// RequestsPerKey is how many requests one API key may make within ten seconds, on all replicas together;
	// more are answered 429 with Retry-After. Pages that browsers load in a flow and health checks do not count.
	// 0 to 10000000, default 0: no limit.
	RequestsPerKey int `koanf:"requests_per_key"`
	// RequestsPerEnvironment is the same for all API keys of an environment together. 0 to 10000000,
	// default 0: no limit.
	RequestsPerEnvironment int `koanf:"requests_per_environment"`
	// ObjectsPerEnvironment is how many objects an environment may hold; creates beyond are answered 403. 0 to
	// 1000000, default 0: no limit. Replicas of one store have the same, as for the next one.
	ObjectsPerEnvironment int `koanf:"objects_per_environment"`
	// BytesPerEnvironment is how many bytes the values of an environment may take, as sealed, all kept versions of
	// all objects together; creates, and updates that grow, are answered 403 beyond. With it there is a limit of
	// 1000000 objects too. 0 or more, default 0: no limit.
	BytesPerEnvironment int64 `koanf:"bytes_per_environment"`
}

// LogConfig is the section log: what the process writes to standard error, a line for each request and what an
// operator should know.
type LogConfig struct {
	// Format is "text", name=value, or "json", an object a line, in which durations are numbers of seconds. Default
	// text.
	Format string `koanf:"format"`
	// Level is the least that is written: "debug", "info", "warn", which leaves out the lines of requests, or "error".
	// Default info.
	Level string `koanf:"level"`
}

// defaults returns the settings that there are without a file and without flags.
func defaults() Config {
	return Config{
		Addr:    "127.0.0.1:8700",
		DataDir: ".culvert",
		RootKey: RootKeyConfig{Provider: "local"},
		Etcd:    EtcdConfig{Prefix: "/culvert"},
		Vault:   VaultConfig{MaxValueBytes: 1 << 20, VersionsKept: 10},
		Keys:    KeysConfig{CacheTTL: 5 * time.Minute},
		Pipes:   PipesConfig{BackgroundRefresh: true},
		Webhooks: WebhooksConfig{
			Timeout: 10 * time.Second, RetryFirst: 5 * time.Second, RetryLongest: time.Hour, RetryFor: 72 * time.Hour,
		},
		Audit:  AuditConfig{Fsync: "interval", SegmentBytes: 64 << 20},
		Limits: LimitsConfig{PathBytes: 8 << 10, BodyBytes: 8 << 20},
		Log:    LogConfig{Format: logText, Level: "info"},
	}
}
