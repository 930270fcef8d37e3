//! Every setting, once: what it does, its unit, range, default and the reason for that default.
//!
//! The checker, `seawall check`, the printed default, the JSON schema and the documentation are all
//! made from this table; tests hold it to the types in [`model`](super::model).

use super::kind::Kind;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Where it stands: `*` is a name of the operator's choosing, `[]` an entry of a list.
    pub key: &'static str,
    /// What may stand there, with unit and range.
    pub kind: Kind,
    /// The default, as it would be written in the file; `None` where leaving it out means something
    /// of its own, which `what` says, or where it is required.
    pub default: Option<&'static str>,
    /// A value to show where there is no default, as it would be written.
    pub example: &'static str,
    /// Cannot be left out.
    pub required: bool,
    /// What it does.
    pub what: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
}

const fn optional(
    key: &'static str,
    kind: Kind,
    example: &'static str,
    what: &'static str,
    reason: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        default: None,
        example,
        required: false,
        what,
        reason,
    }
}

const fn with(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    what: &'static str,
    reason: &'static str,
) -> Setting {
    Setting {
        default: Some(default),
        ..optional(key, kind, default, what, reason)
    }
}

const fn required(
    key: &'static str,
    kind: Kind,
    example: &'static str,
    what: &'static str,
    reason: &'static str,
) -> Setting {
    Setting {
        required: true,
        ..optional(key, kind, example, what, reason)
    }
}

const CRITICALITIES: Kind =
    Kind::Choice(&["critical-plus", "critical", "sheddable-plus", "sheddable"]);
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Every setting, in the order in which they are printed.
#[rustfmt::skip] // A table, to be read as one.
pub const SETTINGS: &[Setting] = &[
    with("drain_timeout", Kind::Time(0, HOUR), "\"30s\"",
        "How long calls in flight may take to end after SIGTERM; what is left is then cut.",
        "Kubernetes kills after 30 s"),

    with("admin.address", Kind::Address, "\"127.0.0.1:9090\"",
        "Address of the admin listener: metrics, health, explanations.",
        "loopback only, since it says much; any other address needs admin.token"),
    optional("admin.token", Kind::Secret(16), "\"a-long-random-text\"",
        "Asked of every admin request as `authorization: Bearer …`. Left out: none is asked.",
        "needed only where others can reach the address"),

    required("listeners.*.address", Kind::Address, "\"127.0.0.1:8080\"",
        "Address to accept calls on.", "none can be guessed; without any listener it is 127.0.0.1:8080"),
    with("listeners.*.trust", Kind::Choice(&["edge", "internal"]), "\"edge\"",
        "Whether callers are believed: at an edge, context headers (criticality, tenant, cost, work under way) are ignored and taken off, and a time limit only shortens ours; an internal listener believes them.",
        "a forged criticality must not jump the queue"),
    with("listeners.*.trusted_proxies", Kind::Networks, "[]",
        "Networks whose X-Forwarded-For is believed; from anyone else it is replaced.",
        "anyone can write the header"),
    with("listeners.*.max_header_bytes", Kind::Size(1 << 10, 1 << 20), "\"64KiB\"",
        "Largest request head; a larger one is answered 431.",
        "above every browser's and nginx's 32 KiB, and 10,000 of them still fit in memory"),
    with("listeners.*.max_headers", Kind::Count(8, 1_000), "100",
        "Most headers a request may have; one with more is answered 431.",
        "above any browser's; each costs time at every hop"),
    with("listeners.*.header_timeout", Kind::Time(10, 10 * MINUTE), "\"10s\"",
        "How long a request head may take to arrive once begun, and a TLS handshake from the first to its last byte.",
        "ends slow-header attacks; a phone on a bad line needs some seconds"),
    with("listeners.*.body_timeout", Kind::Time(10, HOUR), "\"30s\"",
        "How long a client may let us wait for the next piece of a request body, and the time over which min_rate is averaged; a slower one is answered 408.",
        "an upload may be long, but not silent"),
    with("listeners.*.write_timeout", Kind::Time(10, HOUR), "\"30s\"",
        "How long a client may leave unread what it was given, and the time over which min_rate is averaged: over HTTP/1.1 the connection of a slower one is cut, over HTTP/2 the stream reset.",
        "a client that reads nothing holds a place at the service; as long as for a silent upload"),
    with("listeners.*.min_rate", Kind::Size(0, 1 << 30), "\"1KiB\"",
        "The least that a client must bring of a request body above 64 KiB or of unknown length, or take of a reply, a second, averaged over the timeout of its direction and counted only while we wait for the client. The streams of an HTTP/2 connection share it. gRPC uploads, which may be silent for long by their nature, are exempt. 0B: none.",
        "a client that drips holds a place at the service; the slowest modem is five times as fast"),
    with("listeners.*.idle_timeout", Kind::Time(10, 24 * HOUR), "\"75s\"",
        "How long a connection without a request stays open.",
        "above the 60 s of common load balancers, so that they close first and no request meets a closing connection"),
    with("listeners.*.max_connections", Kind::Count(1, 1_000_000), "10_000",
        "Connections at once; further ones wait in the kernel's backlog.",
        "bounds memory and descriptors"),
    with("listeners.*.max_concurrent_streams", Kind::Count(1, 10_000), "128",
        "HTTP/2 streams at once on one connection.",
        "RFC 9113 advises at least 100; more helps rapid-reset attacks"),

    with("listeners.*.tls.min_version", Kind::Choice(&["1.2", "1.3"]), "\"1.2\"",
        "The oldest version of TLS that is spoken; 1.3 is spoken with whoever can.",
        "1.2 with the suites left in it is not broken, and some libraries in use know no other"),
    with("listeners.*.tls.client_auth", Kind::Choice(&["off", "optional", "required"]), "\"off\"",
        "Whether clients show a certificate: `off`, none is asked for; `optional`, one that is shown must be issued by client_ca; `required`, without one there is no connection.",
        "a public service knows no client"),
    optional("listeners.*.tls.client_ca", Kind::File, "\"/etc/seawall/clients-ca.pem\"",
        "PEM file with the authorities that clients' certificates are issued by. Required unless client_auth is `off`.",
        "needed only where clients show a certificate"),
    required("listeners.*.tls.certificates[].cert", Kind::File, "\"/etc/seawall/shop.pem\"",
        "PEM file with a certificate and its intermediates, the certificate first. The client's SNI chooses among several by the names they are for, an exact one before a wildcard; the first is shown to all others. A file that changes is read anew within seconds; one that makes no sense is refused, and the old certificate stays.",
        "none can be guessed"),
    required("listeners.*.tls.certificates[].key", Kind::File, "\"/etc/seawall/shop.key\"",
        "PEM file with the certificate's private key, not encrypted: PKCS #8, PKCS #1 or SEC 1. Nobody else should be able to read it.",
        "none can be guessed"),

    required("upstreams.*.url", Kind::Url, "\"http://127.0.0.1:3000\"",
        "The service to protect; https:// speaks TLS to it, and checks its certificate.", "none can be guessed"),
    with("upstreams.*.protocol", Kind::Choice(&["auto", "h1", "h2"]), "\"auto\"",
        "`auto`: over https:// HTTP/2 where the upstream offers it (ALPN), in the clear HTTP/2 with prior knowledge for gRPC, HTTP/1.1 for the rest; `h1` and `h2`: that one always.",
        "right for almost every service"),
    with("upstreams.*.connect_timeout", Kind::Time(1, MINUTE), "\"1s\"",
        "How long a connection may take to open, the TLS handshake included.",
        "one lost SYN is resent after 1 s; inside one data centre a healthy connect takes a millisecond"),
    with("upstreams.*.response_timeout", Kind::Time(1, HOUR), "\"30s\"",
        "How long the upstream may take until the head of its reply.",
        "longer than a person waits; a shorter deadline of the call holds anyway"),
    with("upstreams.*.body_timeout", Kind::Time(10, 24 * HOUR), "\"60s\"",
        "How long may pass between two pieces of a reply's body.",
        "server-sent events usually keep alive every 15 to 30 s"),
    with("upstreams.*.stream_after", Kind::Time(10, HOUR), "\"2s\"",
        "A reply of unknown length that lasts longer becomes a stream: it gives its place back and counts towards admission.max_streams.",
        "a chunked reply that takes longer is an event stream or a download, and says nothing of how busy the service is"),
    with("upstreams.*.idle_timeout", Kind::Time(10, 24 * HOUR), "\"60s\"",
        "How long an idle pooled connection is kept.",
        "below the 75 s after which nginx and others close"),
    with("upstreams.*.max_connections", Kind::Count(1, 1_000_000), "1_024",
        "Hard cap of connections to this upstream, idle ones included.",
        "well above any sensible limit of an origin, below common descriptor limits"),

    with("upstreams.*.endpoints", Kind::Endpoints, "[]",
        "The hosts behind it, each with its own connections: `host:port` (also with ` weight=2`, ` zone=a`), `dns://name:port` for every address of a name, `srv://…`, `file:///path` with one a line, or `etcd://host:port/prefix/service`. Empty: the one of `url`, which otherwise only says the scheme and the name in certificates.",
        "most services are one address"),

    optional("upstreams.*.tls.ca", Kind::File, "\"/etc/seawall/services-ca.pem\"",
        "PEM file with the authorities that the upstream's certificate may be issued by, and no others. Left out: those that the system trusts (as curl does; SSL_CERT_FILE and SSL_CERT_DIR hold). Read anew when it changes, as cert and key are.",
        "the system's list is kept up to date by the system"),
    optional("upstreams.*.tls.server_name", Kind::Host, "\"shop.internal\"",
        "The name that is asked for (SNI) and that the certificate must be for. Left out: the host of the url.",
        "the name by which a service is reached is the one that its certificate is for"),
    optional("upstreams.*.tls.cert", Kind::File, "\"/etc/seawall/gateway.pem\"",
        "PEM file with the certificate that the gateway shows the upstream, intermediates after it; stands beside key. Left out: none is shown.",
        "few services ask for one"),
    optional("upstreams.*.tls.key", Kind::File, "\"/etc/seawall/gateway.key\"",
        "PEM file with the private key of cert, not encrypted.",
        "few services ask for one"),

    with("upstreams.*.balance.algorithm", Kind::Choice(&["peak-ewma", "least-request", "round-robin", "consistent-hash", "prequal"]), "\"peak-ewma\"",
        "Which of several hosts a call goes to. `peak-ewma`: the better of two drawn at random, by latency and calls under way; `least-request`: by calls under way; `consistent-hash`: by balance.hash_on, with bounded load; `prequal`: by what hosts say of themselves.",
        "needs no help from the hosts and sees a slow one within one of its latencies"),
    with("upstreams.*.balance.hash_on", Kind::HashOn, "\"client\"",
        "With `consistent-hash`: what decides the host. A call that has nothing of the kind goes where peak-ewma would.", "every call has a client"),
    with("upstreams.*.balance.slow_start", Kind::Time(0, HOUR), "\"10s\"",
        "How long a host that joins takes from a tenth to its full share.", "caches are mostly warm by then"),
    optional("upstreams.*.balance.zone", Kind::Name, "\"a\"",
        "Where this gateway is: hosts of this zone are preferred while they have room. Left out: all alike.", "one zone is usual"),
    optional("upstreams.*.balance.subset", Kind::Count(1, 10_000), "20",
        "How many of the hosts this gateway uses: a fixed choice of its own, the same after a restart. Left out: all.", "only many gateways before many hosts have too many connections"),

    with("upstreams.*.ejection.consecutive_failures", Kind::Count(0, 1_000), "5",
        "Failures in a row that take a host out, until a probe (one every 500 ms) succeeds. 0: not for that; one that fails far more of its calls than the others is taken out all the same.",
        "a service that fails one call in ten by itself does so once in 100,000 calls"),
    with("upstreams.*.ejection.max_share", Kind::Ratio(0.0, 1.0), "0.5",
        "The greatest share of the hosts that is out at once, rounded up to whole hosts, and never the last.", "when more than half fail, the fault is hardly theirs"),

    with("upstreams.*.breaker.kind", Kind::Choice(&["throttle", "window", "off"]), "\"throttle\"",
        "What keeps calls from an upstream that does not answer (no connection, broken off, too slow, 502, 504): `throttle` turns away as large a share as fails, `window` all of them for a while.",
        "no threshold to flap around; nothing is turned away while less than half fails"),
    with("upstreams.*.breaker.per", Kind::Choice(&["upstream", "route", "tenant"]), "\"upstream\"",
        "What has a breaker of its own: the upstream as a whole, each of its routes, or each tenant (256 each; more share them by chance).",
        "what cannot be reached is mostly unreachable for all"),
    with("upstreams.*.breaker.shadow", Kind::Flag, "false",
        "Decide and count, but turn nobody away.", "protection is the purpose"),

    with("upstreams.*.retry.attempts", Kind::Count(1, 10), "3",
        "Attempts of a call, the first among them, where it failed before its reply began: 502, 503, 504, 429, broken off, no connection. Only what may run twice: idempotent methods, routes with retry_safe, or where the service cannot have begun. Bodies of a stated length up to 64 KiB are kept for it. 1: no retries.",
        "Google's SRE book has three"),
    with("upstreams.*.retry.ratio", Kind::Ratio(0.0, 1.0), "0.1",
        "Retries for each first attempt, over 10 s, beside one a second.", "retries at ten percent cannot turn a short fault into a long outage"),
    optional("upstreams.*.retry.per_try_timeout", Kind::Time(1, HOUR), "\"500ms\"",
        "How long one attempt may take until the head of its reply. Left out: what is left of the call's time.", "only who knows the service can say"),

    optional("upstreams.*.health.path", Kind::Path, "\"/healthz\"",
        "Asked of every host; one that does not answer 2xx is taken out. Left out: hosts are judged by their calls alone.", "calls tell sooner, where there are any"),
    with("upstreams.*.health.interval", Kind::Time(100, HOUR), "\"5s\"",
        "The time between two questions to a host.", "quick enough for a host that has no calls to fail"),
    with("upstreams.*.health.timeout", Kind::Time(10, MINUTE), "\"1s\"",
        "How long an answer may take.", "a health check should be the quickest of calls"),
    with("upstreams.*.health.unhealthy_after", Kind::Count(1, 100), "3",
        "Bad answers in a row that take a host out.", "one may be chance"),
    with("upstreams.*.health.healthy_after", Kind::Count(1, 100), "2",
        "Good answers in a row that bring it back.", "one may be chance"),

    with("upstreams.*.replicas.endpoints", Kind::Endpoints, "[]",
        "Hosts that answer reads (GET, HEAD, OPTIONS); everything else goes to the upstream's own. Empty: reads go there, too.", "one pool is usual"),
    with("upstreams.*.replicas.read_your_writes", Kind::Time(0, HOUR), "\"2s\"",
        "How long after a write a client's reads go where its writes went. A client is known by its tenant, its `authorization` or its address.", "longer than replicas usually lag"),

    with("upstreams.*.gutter.endpoints", Kind::Endpoints, "[]",
        "A small reserve that takes over while the upstream fails, without retries. Empty: none.", "needs hosts of its own"),
    with("upstreams.*.gutter.limit", Kind::Count(1, 10_000), "16",
        "The most calls at the reserve at once.", "it is small, and must not fail as well"),

    optional("upstreams.*.fallback.body", Kind::Text, "\"[]\"",
        "What is answered when a call has failed for good or is turned away by the breaker: a whole body. Left out: the error itself.", "only who knows the service can say"),
    with("upstreams.*.fallback.status", Kind::Count(200, 599), "200",
        "Its status.", "whoever states a body wants it taken for an answer"),
    with("upstreams.*.fallback.content_type", Kind::Text, "\"application/json\"",
        "Its type.", "what most services speak"),
    with("upstreams.*.fallback.always", Kind::Flag, "false",
        "A switch for a bad day: answer the fallback's body at once and leave the upstream alone. Takes effect on reload.", "the upstream is there to be asked"),

    with("discovery.resolvers", Kind::Addresses, "[]",
        "DNS servers to ask for the names of endpoints. Empty: those of /etc/resolv.conf, with its search domains. Only a restart changes it.",
        "the machine knows them"),

    optional("routes[].name", Kind::Name, "\"search\"",
        "Name in the access log and in `/explain`. Left out: made from what it matches, as `GET shop.example/search/*`.", "the match is name enough"),
    optional("routes[].host", Kind::Host, "\"shop.example\"",
        "Matches this host, without its port. Left out: any.", "most gateways serve one"),
    optional("routes[].path", Kind::Path, "\"/health\"",
        "Matches exactly this path; stands instead of path_prefix, never beside it.", "a route without path and path_prefix matches every path"),
    optional("routes[].path_prefix", Kind::Path, "\"/search\"",
        "Matches this path and everything below it, by whole segments; stands instead of path. The most specific route takes a call, whatever the order: a host before none, an exact path before a prefix, the longer prefix before the shorter, methods before none.", "a route without path and path_prefix matches every path"),
    with("routes[].methods", Kind::Methods, "[]",
        "Matches these methods; empty: any.", "rarely matters"),
    optional("routes[].upstream", Kind::Text, "\"default\"",
        "Where its calls go. Left out: the only upstream, or the one named `default`.", "one is usual"),
    optional("routes[].lane", Kind::Text, "\"search\"",
        "Its lane. Left out: found by itself from how the route behaves.", "slow routes move to a slow lane by themselves"),
    optional("routes[].criticality", CRITICALITIES, "\"sheddable\"",
        "How much its calls matter, where the caller does not say or is not believed. Left out: context.criticality.",
        "few routes differ"),
    optional("routes[].timeout", Kind::Time(1, 24 * HOUR), "\"250ms\"",
        "The longest that its callers wait, which becomes the call's deadline; upstreams.*.response_timeout holds besides. Left out: context.timeout.",
        "naming it spares the origin work that nobody waits for"),
    with("routes[].retry_safe", Kind::Flag, "false",
        "Its calls may run twice, whatever their method.", "a repeated POST has charged people twice"),
    with("routes[].shadow", Kind::Flag, "false",
        "Decide and count for this route, but turn nobody away.", "protection is the purpose"),

    optional("routes[].cache.default_ttl", Kind::Time(1, 24 * HOUR), "\"10s\"",
        "How long a response is fresh that says nothing of it: no max-age, s-maxage or Expires. Not where the caller is known by a cookie or `authorization`. Left out: a tenth of the time since its last-modified, an hour at most. The table by itself, empty or not, has the route's responses kept as HTTP says (docs/response-cache.md).",
        "only who knows the service can say"),
    with("routes[].cache.stale_while_revalidate", Kind::Time(0, 24 * HOUR), "\"0s\"",
        "How long a stale response is served while another is fetched, where it says nothing of that itself.", "nothing stale unless wanted"),
    with("routes[].cache.stale_if_error", Kind::Time(0, 24 * HOUR), "\"0s\"",
        "How long a stale response is served where there is no other: the upstream fails, is too slow or turned off by its breaker, or admission turns the call away. Where the response says nothing of that itself.", "nothing stale unless wanted"),
    with("routes[].cache.max_size", Kind::Size(1 << 10, 1 << 30), "\"1MiB\"",
        "The longest body that is kept; a longer one is passed on as ever.", "above nearly all that is asked for often"),
    with("routes[].cache.key_headers", Kind::Headers, "[]",
        "Headers of a request by which responses are kept apart, as if each response named them in Vary; at most 8 with those.", "services say it themselves, in Vary"),
    with("routes[].cache.ignore_query", Kind::Parameters, "[]",
        "Query parameters that make no difference. They are taken off what goes to the upstream, too: what is not told apart must not be answered by.", "any of them may make one"),
    with("routes[].cache.ignore_cookies", Kind::Flag, "false",
        "Cookies do not tell who asks. Otherwise a call with one gets and leaves only responses that say `public` or `s-maxage`, or `Vary: cookie`.", "what someone was shown who has logged in may be theirs"),
    with("routes[].cache.client_directives", Kind::Flag, "true",
        "Callers may ask for something fresher than is kept (`cache-control: no-cache`, `max-age`, `min-fresh`), which costs the upstream a call, or say that nothing is to be kept.", "HTTP says so; at an edge, `false` keeps strangers from going past the cache"),

    with("cache.size", Kind::Size(1 << 20, 1 << 40), "\"64MiB\"",
        "The most that responses which are kept may take, with all that is kept beside them; what is asked for least goes first. Only a restart changes it.",
        "holds what is asked for often at a small service, and fits beside it"),

    optional("lanes.*.share", Kind::Ratio(0.01, 1.0), "0.3",
        "The most of the concurrency limit that the lane may hold, as a share. Left out: all that others leave.",
        "isolation without a fixed split wastes nothing"),

    with("admission.shadow", Kind::Flag, "false",
        "Decide and count, but turn nobody away and make nobody wait.", "protection is the purpose"),
    with("admission.algorithm", Kind::Choice(&["adaptive", "fixed", "aimd", "vegas", "gradient2", "bbr"]), "\"adaptive\"",
        "How the concurrency limit is found.",
        "needs no tuning and no baseline that can drift; the others are there to compare with"),
    optional("admission.initial_limit", Kind::Count(1, 100_000), "20",
        "The limit to begin with, and with `fixed` the limit. Left out: the algorithm's own; required with `fixed`.",
        "found within the first second"),
    with("admission.min_limit", Kind::Count(1, 100_000), "1",
        "The limit never falls below this.", "an origin that can do one thing at a time exists"),
    with("admission.max_limit", Kind::Count(1, 100_000), "10_000",
        "The limit never rises above this.", "no single origin known serves more at once"),
    optional("admission.max_wait", Kind::Time(0, MINUTE), "\"100ms\"",
        "The longest wait in the queue. Left out: five times the origin's latency without queueing, at least 100 ms.",
        "long enough for the noise of arrivals, shorter than anyone's patience"),
    with("admission.max_queued", Kind::Count(1, 1_000_000), "4_096",
        "The most calls in the queue.", "bounds memory; time bounds the wait long before"),
    with("admission.max_streams", Kind::Count(1, 1_000_000), "10_000",
        "The most long-lived replies (upgrades, server-sent events, streaming RPCs) at once; they hold no place under the limit.",
        "bounds memory and descriptors"),

    with("context.criticality", CRITICALITIES, "\"critical\"",
        "What a call is that does not say, or is not believed.", "Google's SRE book has the same default"),
    optional("context.timeout", Kind::Time(1, 24 * HOUR), "\"15s\"",
        "The longest that anyone waits. Left out: as long as the caller says, or for ever.",
        "a limit guessed here would cut long downloads"),

    with("deadline.shadow", Kind::Flag, "false",
        "Count calls whose time is up, but let them pass.", "nobody waits for their answer"),

    required("under_way.keys[].id", Kind::Name, "\"k1\"",
        "Name of the key, which stands in the mark: up to 16 letters, digits, `-` or `_`.", "none can be guessed"),
    required("under_way.keys[].secret", Kind::Secret(32), "\"0123456789abcdef0123456789abcdef\"",
        "The secret, at least 32 bytes, the same on every replica; the first key signs, all are accepted. No key: the feature is off.",
        "none can be guessed; `openssl rand -hex 32` makes one"),
    with("under_way.max_calls", Kind::Count(1, 100_000), "64",
        "Exempt calls a task may make through one replica.", "a task that makes more is not the kind the exemption is for"),
    with("under_way.max_tasks", Kind::Count(16, 10_000_000), "65_536",
        "Tasks remembered at once; when full, further ones are ordinary calls.", "about 4 MiB"),

    with("access_log.mode", Kind::Choice(&["off", "sampled", "all"]), "\"off\"",
        "Which requests are logged: none, a sample, or all.", "a line a request costs more than the proxying"),
    with("access_log.sample", Kind::Ratio(0.000_001, 1.0), "0.01",
        "With `sampled`: the share of requests that are logged.", "1 % shows what happens and costs nothing to speak of"),

    with("log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "\"info\"",
        "The least level that is written.", "says what changed, not what each request did"),
];
