//! Every key that a configuration may hold, in the order in which it is shown. The reader takes its defaults from here,
//! and so do `config/layerkeeper.toml` and `docs/configuration.md`: they cannot drift apart.

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The table that holds it, without brackets.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it takes, in words.
    pub kind: &'static str,
    /// What holds when it is left out.
    pub default: Fallback,
    /// What it does; sentences.
    pub help: &'static str,
    /// A value for the example blocks, as TOML; empty where the default serves.
    pub example: &'static str,
}

/// What holds when a key is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This value, as TOML.
    Is(&'static str),
    /// Something that other keys decide, in words.
    From(&'static str),
    /// Nothing: the key must be there.
    Required,
}

/// A table.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Without brackets.
    pub name: &'static str,
    /// May stand several times, in double brackets.
    pub repeated: bool,
    /// What it is about.
    pub help: &'static str,
}

const fn table(name: &'static str, repeated: bool, help: &'static str) -> Table {
    Table { name, repeated, help }
}

/// Every table, in the order in which it is shown.
pub const TABLES: &[Table] = &[
    table("engine", false, "The Docker Engine whose images are kept."),
    table("listen", false, "Where the daemon listens."),
    table("webhook", false, "Who may post a deploy, and how the public listener proves itself."),
    table("registry", false, "How registries are reached."),
    table("state", false, "What the daemon remembers, and for how long."),
    table("schedule", false, "When kept images are refreshed, unless an image says otherwise."),
    table("limits", false, "What bounds waiting, trying and accepting."),
    table("pull", false, "Which way content comes, and how fast."),
    table("disk", false, "What must stay free, and what may be removed for it."),
    table(
        "keep",
        true,
        "An image that must always be here. Write base images before what is built on them: each reuses the one before.",
    ),
    table("runtime", true, "A repository whose tags CI deploys, and which of them may ever be pruned."),
    table(
        "mirror",
        true,
        "Where else the blobs of a registry may come from. Manifests and tags are always the registry's own; every byte is checked against its digest.",
    ),
];

const fn key(
    table: &'static str,
    name: &'static str,
    kind: &'static str,
    default: Fallback,
    help: &'static str,
) -> Key {
    Key { table, name, kind, default, help, example: "" }
}

impl Key {
    const fn such_as(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// A default that is a text, without its quotes.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Fallback::Is(value) => value.strip_prefix('"')?.strip_suffix('"'),
            Fallback::From(_) | Fallback::Required => None,
        }
    }

    /// The default as TOML, or an example where there is none.
    pub fn shown_value(&self) -> &'static str {
        match self.default {
            Fallback::Is(value) => value,
            Fallback::From(_) | Fallback::Required => self.example,
        }
    }
}

use Fallback::{From, Is, Required};

/// Every key, table by table.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("engine", "host", "address", Is("\"unix:///run/docker.sock\""),
        "The engine's API: unix:///PATH or tcp://HOST:PORT. The environment variable DOCKER_HOST wins over it."),
    key("engine", "data_root", "path", Is("\"\""),
        "The engine's data root as the daemon sees it, where that differs from what `docker info` says; its file system is the one whose free space counts. Empty: as the engine says."),

    key("listen", "webhook", "IP:port", Is("\"0.0.0.0:9317\""),
        "The public listener: deploys in, their status out. Empty: no webhook."),
    key("listen", "status", "IP:port", Is("\"127.0.0.1:9318\""),
        "The local listener: page, JSON, metrics and health. It asks nobody who they are, so it must be a loopback address."),
    key("listen", "status_hosts", "list of host names", Is("[]"),
        "Further Host names that the local listener answers to, for a proxy in front of it."),
    key("listen", "metrics", "IP:port", Is("\"\""),
        "One more address for a Prometheus on another machine; it serves /metrics and /healthz and nothing else. Empty: none."),
    key("listen", "control", "path", Is("\"/run/layerkeeper/control.sock\""),
        "The Unix socket that the command line talks to: everything that changes something. The unit lets the daemon make it only in /run/layerkeeper; elsewhere it needs a drop-in with ReadWritePaths."),

    key("webhook", "secret_file", "path", Is("\"\""),
        "The secret that signs webhooks: raw text, or whsec_ and base64; two lines while it is being changed. Its owner and group may read the file, others must not. Empty: systemd's $CREDENTIALS_DIRECTORY/webhook-secret."),
    key("webhook", "tls_cert", "path", Is("\"\""),
        "A certificate chain in PEM, for HTTPS without a proxy; goes with tls_key."),
    key("webhook", "tls_key", "path", Is("\"\""),
        "The private key of tls_cert in PEM. Its owner and group may read the file, others must not."),

    key("registry", "docker_config", "path", Is("\"\""),
        "Docker's config.json with the registries' credentials or the names of the helpers that keep them, read anew before each pull. Empty: $CREDENTIALS_DIRECTORY/docker-config.json, then $DOCKER_CONFIG/config.json, then ~/.docker/config.json."),
    key("registry", "insecure", "list of registry hosts", Is("[]"),
        "Registries that speak plain HTTP, as HOST or HOST:PORT. Those on a loopback address always do, unless certs_dir has a directory for them."),
    key("registry", "certs_dir", "path", Is("\"/etc/docker/certs.d\""),
        "Private certificate authorities, laid out as for the engine: HOST:PORT/ca.crt, with client certificates as NAME.cert and NAME.key."),

    key("state", "dir", "path", Is("\"/var/lib/layerkeeper\""),
        "Where the database lies. The unit lets the daemon write only below /var/lib/layerkeeper; elsewhere it needs a drop-in with ReadWritePaths."),
    key("state", "keep_days", "whole number", Is("90"),
        "Finished jobs and events are forgotten after so many days; a webhook's job not before its id is, 7 days after its last try."),
    key("state", "keep_jobs", "whole number", Is("5000"),
        "At most so many finished jobs are remembered, or up to 10000 where webhooks of the last 7 days led to them."),

    key("schedule", "cron", "six cron fields", Is("\"0 0 3 * * *\""),
        "When kept images are refreshed: second, minute, hour, day of month, month, day of week."),
    key("schedule", "timezone", "time zone", Is("\"UTC\""),
        "The zone in which schedules are read, by its IANA name such as \"Asia/Shanghai\"; changes to and from daylight saving time are honoured."),
    key("schedule", "jitter", "duration", Is("\"5m\""),
        "A scheduled refresh starts up to this much later, by a delay of its own per host and run, so that hosts do not ask a registry all at once."),

    key("limits", "stop_timeout", "duration", Is("\"10m\""),
        "How long a stop waits for a running pull before it cancels it. systemd is asked for that time, so the unit's TimeoutStopSec need not be changed."),
    key("limits", "not_yet_timeout", "duration", Is("\"2m\""),
        "How long a deploy waits for a tag that the registry does not show yet."),
    key("limits", "stall_timeout", "duration", Is("\"5m\""),
        "A pull that neither downloads nor extracts anything for so long is cancelled and tried again, with twice the patience each time. A slow pull that moves is left alone. The containerd image store tells of every whole MiB only: on a very slow link it must be longer than a MiB takes."),
    key("limits", "look_every", "duration", Is("\"1m\""),
        "How often the engine's images are listed to find what its events did not tell."),
    key("limits", "max_attempts", "whole number", Is("5"),
        "How often a job is tried when the cause of its failure may pass."),
    key("limits", "max_queued", "whole number", Is("256"),
        "With so many jobs waiting a webhook is answered with 429."),
    key("limits", "webhook_rate", "whole number", Is("10"),
        "Webhooks per second from one sender, in the long run; more are answered with 429. 0: no limit."),
    key("limits", "webhook_burst", "whole number", Is("50"),
        "Webhooks at once from one sender before webhook_rate counts."),
    key("limits", "webhook_connections", "whole number", Is("16"),
        "Connections that one sender may have to the webhook at once; more are closed. This machine itself is not counted, for a proxy may sit there; a proxy on another machine is one sender. 0: no limit but the 256 of all together."),

    key("pull", "transfer", "\"auto\", \"engine\" or \"relay\"", Is("\"auto\""),
        "\"engine\": the engine's own pull, over one connection per layer. \"relay\": through layerkeeper's relay on loopback, over as many connections as are worth it. \"auto\": the relay where it was measured to be at least a fifth faster, or where a mirror is a cache. Whatever goes wrong with the relay, the engine pulls by itself."),
    key("pull", "connections", "whole number", Is("16"),
        "The most connections at once that the relay uses for one pull."),
    key("pull", "connections_per_registry", "whole number", From("as many as `connections`"),
        "The most of them to one registry, mirror or cache.").such_as("16"),
    key("pull", "max_rate", "size", Is("\"\""),
        "So many bytes per second may come in all, such as \"20 MB\". Only the relay keeps to a rate, so \"auto\" takes it for every pull then. Empty: no limit."),
    key("pull", "background_rate", "size", Is("\"\""),
        "The same for refreshes and healing alone. It is lifted while a deploy waits for such a pull to end. Empty: no limit."),
    key("pull", "spool_max", "size", Is("\"4 GB\""),
        "So much may lie in the relay's spool, in the state directory, at once. A pull that was cut goes on with what lies there; it counts towards the room that a pull needs."),

    key("disk", "remove_superseded", "\"never\", \"on-pressure\" or an age", Is("\"never\""),
        "What becomes of digests that a moved tag left behind. \"never\": only `layerkeeper prune --superseded` removes them; \"on-pressure\": they go first when a pull needs room; an age such as \"7d\": they go that long after."),
    key("disk", "min_free", "size", Is("\"4 GB\""),
        "What must stay free on the engine's file system at the peak of a pull. A pull that would leave less makes room by old tags, down to keep_min, or is refused."),
    key("disk", "paths", "list of paths", Is("[]"),
        "Further file systems to watch. With the containerd image store each of them must have the room that a pull takes: name containerd's root here, and nothing else, where it lies on another file system than the data root."),

    key("keep", "image", "image with tag", Required,
        "The image, with its tag. {quarter} in the tag stands for the newest quarter, such as 2026q4, that the registry has and that is not after today: the one before stays kept until the new one is verified here. {arch} stands for this machine's architecture: amd64 or arm64.").such_as("\"ghcr.io/acme/base-images/cuda:12.1.1-cudnn8-runtime-ubuntu22.04\""),
    key("keep", "digest", "digest", From("none, the tag is followed"),
        "A pin: the only digest that the image may have. It is held even when the tag moves at the registry.")
        .such_as("\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""),
    key("keep", "expect", "list of tables", From("nothing beyond its digest"),
        "What must be in the image before it counts as kept: { package = NAME, version = PATTERN } in dpkg's database, { file = PATH } with symbolic links followed inside the image, { label = KEY, value = TEXT } in its configuration; version and value may be left out. An image that does not hold it all gets no name here, and the last good one stays.")
        .such_as("[{ package = \"libcudnn8\", version = \"8.9.*\" }, { file = \"/usr/lib/x86_64-linux-gnu/libcudnn.so.8\" }]"),
    key("keep", "quarter", "quarter", From("the newest that the registry has"),
        "Where the tag has {quarter}: the quarter to stay at or to go back to. `layerkeeper pin IMAGE --quarter 2026q3` writes it.")
        .such_as("\"2026q3\""),
    key("keep", "schedule", "six cron fields", From("`schedule.cron`"),
        "When this image is refreshed.").such_as("\"0 30 2 * * *\""),
    key("keep", "timezone", "time zone", From("`schedule.timezone`"),
        "The zone in which its schedule is read.").such_as("\"Asia/Shanghai\""),

    key("runtime", "repository", "repository", Required,
        "The repository, without a tag. One block per repository.").such_as("\"ghcr.io/acme/app\""),
    key("runtime", "deploy_tags", "list of tag patterns", From("`prune_tags`"),
        "What CI may deploy; `*` stands for any characters, `?` for one. It may be as wide as \"*\", for a deploy removes nothing that prune_tags does not name.").such_as("[\"sha-*\"]"),
    key("runtime", "prune_tags", "list of tag patterns", Is("[\"sha-*\"]"),
        "What may ever be pruned. Each begins with at least two literal characters. An empty list: nothing is."),
    key("runtime", "keep_last", "whole number", Is("3"),
        "How many of the newest images among prune_tags stay, besides those that a container holds. At least 1."),
    key("runtime", "keep_min", "whole number", From("2, or `keep_last` where that is less"),
        "How far keep_last may shrink when a deploy would not fit on the disk. At least 1.").such_as("2"),
    key("runtime", "min_age", "duration", Is("\"24h\""),
        "What was pulled, deployed or held by a container more recently stays."),
    key("runtime", "download_budget", "size", Is("\"300 MB\""),
        "A deploy job that moves more, kept images included, is counted and reported as over budget."),
    key("runtime", "download_limit", "size", From("none, no deploy is refused for its size"),
        "A deploy that would move more is refused before anything moves, with the layers and why, unless it says \"override\":\"budget\". Where only the engine reaches the registry the daemon has no manifest to hold it by: the deploy goes on, with a warning. Never below download_budget.").such_as("\"2 GB\""),

    key("mirror", "registry", "registry host", Required,
        "The registry, as references name it.").such_as("\"ghcr.io\""),
    key("mirror", "endpoints", "list of registry hosts", Required,
        "The mirrors, as HOST or HOST:PORT. They are asked for the same repositories as the registry, with credentials of their own. One that speaks plain HTTP stands in registry.insecure too.").such_as("[\"registry-cache.lan:5000\"]"),
    key("mirror", "cache", "true or false", Is("false"),
        "They are pull-through caches, as in deploy/lan-cache: each blob is fetched through them, and from the registry only where they fail. Every pull of 2 MB and more then goes through the relay, unless pull.transfer is \"engine\"."),
];

/// The key with this name in this table.
pub fn find(table: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.table == table && key.name == name)
}

/// The keys of a table.
pub fn of(table: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.table == table)
}
