//! Picks the image for the engine's platform, as the engine will pick it.
//!
//! Source: containerd's `platforms` package (`NormalizeArch`, `platformVector`), which both of Docker's stores use.

use layerkeeper_core::Platform;

use crate::error::printable;
use crate::wire;

/// The platform that a document names, in containerd's normal form; none where it names none.
pub(crate) fn of(platform: &wire::Platform) -> Option<Platform> {
    if platform.os.is_empty() && platform.architecture.is_empty() {
        return None;
    }
    let short = |text: &str| printable(text, 32);
    Some(normal(&Platform {
        os: short(&platform.os),
        architecture: short(&platform.architecture),
        variant: platform.variant.as_deref().map(short),
    }))
}

/// How well the image of a platform fits an engine: the lower the better, none where it cannot run. Both are normal.
pub(crate) fn fit(engine: &Platform, image: &Platform) -> Option<usize> {
    if engine.os != image.os {
        return None;
    }
    accepted(engine).iter().position(|(arch, variant)| {
        *arch == image.architecture && *variant == image.variant.as_deref().unwrap_or_default()
    })
}

/// containerd's names for what others call `x86_64`, `aarch64`, `armhf`, …
pub(crate) fn normal(platform: &Platform) -> Platform {
    let architecture = platform.architecture.to_lowercase();
    let variant = platform.variant.as_deref().unwrap_or_default().to_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", v) => ("amd64", v),
        ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
        ("aarch64" | "arm64", v) => ("arm64", v),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    let os = platform.os.to_lowercase();
    Platform {
        os: if os == "macos" { "darwin".to_owned() } else { os },
        architecture: architecture.to_owned(),
        variant: (!variant.is_empty()).then(|| variant.to_owned()),
    }
}

/// What runs on this engine, best first, as architecture and variant (empty for none).
fn accepted(engine: &Platform) -> Vec<(&str, &str)> {
    const ARM: [&str; 4] = ["v8", "v7", "v6", "v5"];
    const AMD64: [&str; 4] = ["v4", "v3", "v2", ""];
    let variant = engine.variant.as_deref().unwrap_or_default();
    let from = |ladder: &[&'static str; 4]| ladder.iter().position(|v| *v == variant);
    let mut list = vec![(engine.architecture.as_str(), variant)];
    match engine.architecture.as_str() {
        "amd64" => {
            let lower = from(&AMD64).map_or(&AMD64[4..], |at| &AMD64[at + 1..]);
            list.extend(lower.iter().map(|v| ("amd64", *v)));
            list.push(("386", ""));
        }
        "arm" => {
            let lower = from(&ARM).map_or(&ARM[4..], |at| &ARM[at + 1..]);
            list.extend(lower.iter().map(|v| ("arm", *v)));
        }
        "arm64" => {
            list.push(("arm64", ""));
            list.extend(ARM.iter().map(|v| ("arm", *v)));
        }
        _ => {}
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next();
        normal(&Platform { os: next().unwrap(), architecture: next().unwrap(), variant: next() })
    }

    fn best<'a>(engine: &str, images: &[&'a str]) -> Option<&'a str> {
        let engine = platform(engine);
        let fits = images.iter().filter_map(|image| Some((fit(&engine, &platform(image))?, *image)));
        fits.min().map(|(_, image)| image)
    }

    #[test]
    fn names_are_normalised() {
        for (given, wanted) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(platform(given).to_string(), wanted);
        }
    }

    #[test]
    fn the_best_that_runs_is_taken() {
        assert_eq!(best("linux/arm64", &["linux/amd64", "linux/arm64/v8"]), Some("linux/arm64/v8"));
        assert_eq!(best("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm64"]), Some("linux/arm/v6"));
        assert_eq!(best("linux/arm/v6", &["linux/arm/v7"]), None);
        assert_eq!(best("linux/amd64", &["linux/386", "linux/amd64"]), Some("linux/amd64"));
        assert_eq!(best("linux/amd64", &["linux/amd64/v3", "linux/386"]), Some("linux/386"));
        assert_eq!(best("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]), Some("linux/amd64/v2"));
        assert_eq!(best("linux/arm64", &["linux/arm/v6", "linux/arm/v7"]), Some("linux/arm/v7"));
        assert_eq!(best("linux/amd64", &["windows/amd64", "linux/s390x"]), None);
    }
}
