//! What Prometheus scrapes. Names and labels are a contract; `docs/metrics.md` is generated from here.

mod process;

use layerkeeper_core::job::JobKind;
use layerkeeper_core::reuse::{ReuseReport, Source};
use layerkeeper_core::{Bytes, ImageName, Repository, Runtime};
use process::Process;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// All metrics of one daemon.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    pub(crate) engine_up: IntGauge,
    pub(crate) kept_present: IntGaugeVec,
    pub(crate) kept_refreshed: GaugeVec,
    pub(crate) kept_unmet: IntGaugeVec,
    pub(crate) heals: IntCounterVec,
    pub(crate) pulls: IntCounterVec,
    pull_duration: HistogramVec,
    estimate_error: HistogramVec,
    pull_bytes: IntCounterVec,
    pull_layers: IntCounterVec,
    pull_wasted: IntCounterVec,
    reuse_ratio: GaugeVec,
    budget: IntGaugeVec,
    last_deploy_moved: IntGaugeVec,
    pub(crate) budget_exceeded: IntCounterVec,
    pub(crate) superseded_bytes: IntGauge,
    pub(crate) webhook_requests: IntCounterVec,
    pub(crate) jobs: IntGaugeVec,
    job_failures: IntCounterVec,
    pub(crate) pruned: IntCounterVec,
    pub(crate) prune_kept: IntGaugeVec,
    pub(crate) disk_free: GaugeVec,
    pub(crate) disk_min_free: Gauge,
    pub(crate) next_run: GaugeVec,
    pub(crate) fallbacks: IntCounterVec,
    pub(crate) transfers: IntCounterVec,
    pub(crate) spool_bytes: IntGauge,
}

const PULL: [&str; 2] = ["repository", "kind"];

/// Registers metrics one by one and remembers the first name that could not be.
struct Maker {
    registry: Registry,
    failed: Option<prometheus::Error>,
    described: Vec<Described>,
}

/// A metric, as the reference page tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Described {
    name: String,
    labels: Vec<String>,
    kind: String,
    help: String,
}

impl Maker {
    fn add<M: prometheus::core::Collector + Clone + 'static>(
        &mut self,
        made: Result<M, prometheus::Error>,
    ) -> Option<M> {
        if let Ok(metric) = &made {
            let kind = metric.collect().first().map(|family| format!("{:?}", family.get_field_type()).to_lowercase());
            self.described.extend(metric.desc().into_iter().map(|desc| Described {
                name: desc.fq_name.clone(),
                labels: desc.variable_labels.clone(),
                kind: kind.clone().unwrap_or_default(),
                help: desc.help.clone(),
            }));
        }
        let result = made.and_then(|metric| self.registry.register(Box::new(metric.clone())).map(|()| metric));
        result.map_err(|error| self.failed.get_or_insert(error).to_string()).ok()
    }

    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<GaugeVec> {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn int_gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn int_gauge(&mut self, name: &str, help: &str) -> Option<IntGauge> {
        self.add(IntGauge::new(name, help))
    }
}

impl Metrics {
    /// Registers everything; fails only when a name is bad or stands twice.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let mut make = Maker { registry: Registry::new(), failed: None, described: Vec::new() };
        let metrics = Self::make(&mut make, version);
        match (metrics, make.failed) {
            (Some(metrics), None) => Ok(metrics),
            (_, Some(error)) => Err(error),
            (None, None) => Err(prometheus::Error::Msg("a metric is missing".to_owned())),
        }
    }

    /// What nobody needs to get at again.
    fn make_fixed(make: &mut Maker, version: &str) -> Option<()> {
        let info = make.int_gauges("layerkeeper_build_info", "Always 1; the labels name the build.", &["version"])?;
        info.with_label_values(&[version]).set(1);
        let registered = Process::starting().and_then(|process| make.registry.register(Box::new(process)));
        registered.map_err(|error| make.failed = Some(error)).ok()
    }

    fn make_pull_duration(make: &mut Maker) -> Option<HistogramVec> {
        let help = "Time from a pull's first attempt to its verified end.";
        let buckets = vec![0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0];
        let options = HistogramOpts::new("layerkeeper_pull_duration_seconds", help).buckets(buckets);
        make.add(HistogramVec::new(options, &PULL))
    }

    fn make_job_failures(make: &mut Maker) -> Option<IntCounterVec> {
        let help = "Jobs that came to the final state failed or refused, by the class of what went wrong.";
        make.counters("layerkeeper_job_failures_total", help, &["kind", "class"])
    }

    fn make_kept_unmet(make: &mut Maker) -> Option<IntGaugeVec> {
        let help =
            "How many expectations the image does not meet that the kept image's tag or pin shows or that is here.";
        make.int_gauges("layerkeeper_kept_image_unmet_expectations", help, &["image"])
    }

    fn make_prune_kept(make: &mut Maker) -> Option<IntGaugeVec> {
        let help = "Tags that the last prune plan let stay, by reason.";
        make.int_gauges("layerkeeper_prune_kept_images", help, &["repository", "reason"])
    }

    fn make_budget(make: &mut Maker) -> Option<IntGaugeVec> {
        let help = "The repository's download_budget: what a deploy may move before it is counted as too much.";
        make.int_gauges("layerkeeper_download_budget_bytes", help, &["repository"])
    }

    fn make_last_deploy_moved(make: &mut Maker) -> Option<IntGaugeVec> {
        let help = "All bytes that the last succeeded deploy moved, kept images and failed attempts included.";
        make.int_gauges("layerkeeper_last_deploy_moved_bytes", help, &["repository"])
    }

    fn make_estimate_error(make: &mut Maker) -> Option<HistogramVec> {
        let help = "By how many layer bytes a pull's estimate was wrong, above or below.";
        let buckets = vec![0.0, 1e3, 1e6, 1e7, 1e8, 3e8, 1e9, 3e9];
        let options = HistogramOpts::new("layerkeeper_estimate_error_bytes", help).buckets(buckets);
        make.add(HistogramVec::new(options, &PULL))
    }

    fn make_next_run(make: &mut Maker) -> Option<GaugeVec> {
        make.gauges(
            "layerkeeper_schedule_next_run_timestamp_seconds",
            "When the kept image is refreshed next.",
            &["image"],
        )
    }

    /// Of the ways by which content comes.
    fn make_transfers(make: &mut Maker) -> Option<(IntCounterVec, IntCounterVec, IntGauge)> {
        let fallbacks = make.counters(
            "layerkeeper_transfer_fallback_total",
            "Pulls through the relay that were given up, so that the engine pulled by itself, by why: source, wrong_bytes, spool, spool_full, no_space, listen or engine.",
            &["reason"],
        )?;
        let transfers = make.counters(
            "layerkeeper_transfers_total",
            "Pulls that succeeded, by the way that content came: engine or relay.",
            &["way"],
        )?;
        let spool_bytes = make.int_gauge(
            "layerkeeper_spool_bytes",
            "Bytes in the relay's spool: pieces of pulls that were cut, or of the one under way.",
        )?;
        Some((fallbacks, transfers, spool_bytes))
    }

    fn make(make: &mut Maker, version: &str) -> Option<Self> {
        Self::make_fixed(make, version)?;
        let (fallbacks, transfers, spool_bytes) = Self::make_transfers(make)?;
        let with_source = ["repository", "kind", "source"];
        Some(Self {
            engine_up: make.int_gauge("layerkeeper_engine_up", "1 when the last call to the engine got an answer.")?,
            kept_present: make.int_gauges(
                "layerkeeper_kept_image_present",
                "1 when the kept image's name is here with the right digest.",
                &["image"],
            )?,
            kept_refreshed: make.gauges(
                "layerkeeper_kept_image_last_refresh_timestamp_seconds",
                "When the registry last confirmed the kept image.",
                &["image"],
            )?,
            kept_unmet: Self::make_kept_unmet(make)?,
            heals: make.counters(
                "layerkeeper_heals_total",
                "Kept images brought back after something took them away.",
                &["image", "cause"],
            )?,
            pulls: make.counters(
                "layerkeeper_pulls_total",
                "Pulls by their result: succeeded or failed.",
                &["repository", "kind", "result"],
            )?,
            pull_duration: Self::make_pull_duration(make)?,
            estimate_error: Self::make_estimate_error(make)?,
            pull_bytes: make.counters(
                "layerkeeper_pull_bytes_total",
                "Layer bytes of pulled images by where they came from: reused or downloaded.",
                &with_source,
            )?,
            pull_layers: make.counters(
                "layerkeeper_pull_layers_total",
                "Layers of pulled images by where they came from: reused or downloaded.",
                &with_source,
            )?,
            pull_wasted: make.counters(
                "layerkeeper_pull_wasted_bytes_total",
                "Layer bytes moved by attempts that failed or were cancelled.",
                &PULL,
            )?,
            reuse_ratio: make.gauges(
                "layerkeeper_last_pull_reuse_ratio",
                "Reused over all layer bytes of the last pull, 0 to 1.",
                &PULL,
            )?,
            budget: Self::make_budget(make)?,
            last_deploy_moved: Self::make_last_deploy_moved(make)?,
            budget_exceeded: make.counters(
                "layerkeeper_download_budget_exceeded_total",
                "Deploys that moved more than the repository's download_budget.",
                &["repository"],
            )?,
            superseded_bytes: make
                .int_gauge("layerkeeper_superseded_bytes", "Bytes held by digests that a moved tag left behind.")?,
            webhook_requests: make.counters(
                "layerkeeper_webhook_requests_total",
                "Requests to the deploy webhook by outcome.",
                &["outcome"],
            )?,
            jobs: make.int_gauges("layerkeeper_jobs", "Jobs in the store by state.", &["state"])?,
            job_failures: Self::make_job_failures(make)?,
            pruned: make.counters("layerkeeper_pruned_images_total", "Tags removed by pruning.", &["repository"])?,
            prune_kept: Self::make_prune_kept(make)?,
            disk_free: make.gauges(
                "layerkeeper_disk_free_bytes",
                "Bytes free on the file system of this path.",
                &["path"],
            )?,
            disk_min_free: make.add(Gauge::new("layerkeeper_disk_min_free_bytes", "Bytes that must stay free."))?,
            fallbacks,
            transfers,
            spool_bytes,
            next_run: Self::make_next_run(make)?,
            registry: make.registry.clone(),
        })
    }

    /// All metrics of our own as a Markdown table, in the order of registration.
    pub fn reference() -> Result<String, prometheus::Error> {
        let mut make = Maker { registry: Registry::new(), failed: None, described: Vec::new() };
        Self::make(&mut make, "");
        if let Some(error) = make.failed {
            return Err(error);
        }
        let rows: Vec<String> = make
            .described
            .iter()
            .map(|metric| {
                let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
                format!("| `{}` | {} | {} | {} |", metric.name, metric.kind, labels.join(", "), metric.help)
            })
            .collect();
        Ok(format!("| name | type | labels | meaning |\n| --- | --- | --- | --- |\n{}\n", rows.join("\n")))
    }

    /// The text exposition format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }

    /// `counted` are bytes of the report's attempts that were counted before.
    pub(crate) fn pull_succeeded(&self, name: &ImageName, kind: JobKind, report: &ReuseReport, counted: Bytes) {
        let repository = name.repository.to_string();
        let labels = [repository.as_str(), kind.as_str()];
        self.pulls.with_label_values(&[labels[0], labels[1], "succeeded"]).inc();
        self.pull_duration.with_label_values(&labels).observe(report.duration.as_secs_f64());
        if let Some(ratio) = report.ratio() {
            self.reuse_ratio.with_label_values(&labels).set(ratio);
        }
        if let Some(error) = report.estimate_error() {
            self.estimate_error.with_label_values(&labels).observe(error.unsigned_abs() as f64);
        }
        self.pull_wasted.with_label_values(&labels).inc_by((report.wasted - counted).0);
        for (source, bytes) in [(Source::Reused, report.reused), (Source::Downloaded, report.downloaded)] {
            let labels = [labels[0], labels[1], source.as_str()];
            self.pull_bytes.with_label_values(&labels).inc_by(bytes.0);
            self.pull_layers.with_label_values(&labels).inc_by(report.layers_from(source) as u64);
        }
    }

    pub(crate) fn pull_failed(&self, repository: &Repository, kind: JobKind) {
        self.pulls.with_label_values(&[&*repository.to_string(), kind.as_str(), "failed"]).inc();
    }

    /// A job has failed or was refused for good; `class` is the error's.
    pub(crate) fn job_failed(&self, kind: JobKind, class: &str) {
        self.job_failures.with_label_values(&[kind.as_str(), class]).inc();
    }

    /// The budgets of the configuration in force.
    pub(crate) fn budgets<'a>(&self, runtimes: impl IntoIterator<Item = &'a Runtime>) {
        self.budget.reset();
        for runtime in runtimes {
            let repository = runtime.repository.to_string();
            let budget = i64::try_from(runtime.download_budget.0).unwrap_or(i64::MAX);
            self.budget.with_label_values(&[&repository]).set(budget);
        }
    }

    /// A deploy has succeeded and moved so much.
    pub(crate) fn deploy_moved(&self, repository: &Repository, bytes: u64) {
        let moved = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.last_deploy_moved.with_label_values(&[&*repository.to_string()]).set(moved);
    }

    pub(crate) fn wasted(&self, repository: &Repository, kind: JobKind, bytes: u64) {
        self.pull_wasted.with_label_values(&[&*repository.to_string(), kind.as_str()]).inc_by(bytes);
    }
}
