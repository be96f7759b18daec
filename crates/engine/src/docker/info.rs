//! `GET /info`: who the engine is and which image store it runs.

use bollard::models::SystemInfo;
use layerkeeper_core::manifest::Platform;
use layerkeeper_core::{EngineInfo, StoreKind};

use crate::EngineError;

/// Reads the answer; every field that a decision hangs on must be there.
pub(super) fn read(info: &SystemInfo) -> Result<EngineInfo, EngineError> {
    let field = |name: &str, value: &Option<String>| {
        let value = value.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
        value.ok_or_else(|| EngineError::Malformed(format!("GET /info: no {name}")))
    };
    let status = info.driver_status.as_deref().unwrap_or_default();
    let containerd = status.iter().any(|pair| {
        pair.first().is_some_and(|key| key == "driver-type")
            && pair.get(1).is_some_and(|value| value == "io.containerd.snapshotter.v1")
    });
    Ok(EngineInfo {
        id: field("ID", &info.id)?,
        version: field("ServerVersion", &info.server_version)?,
        store: if containerd { StoreKind::Containerd } else { StoreKind::Graphdriver },
        driver: field("Driver", &info.driver)?,
        data_root: field("DockerRootDir", &info.docker_root_dir)?,
        rootless: info.security_options.iter().flatten().any(|option| option == "name=rootless"),
        platform: platform(&field("OSType", &info.os_type)?, &field("Architecture", &info.architecture)?),
    })
}

/// The engine tells its machine in `uname -m`'s words, images tell theirs in Go's. The names and variants are those of
/// containerd's `platforms.Normalize`; arm64's default variant is left out there, too.
fn platform(os: &str, machine: &str) -> Platform {
    let (architecture, variant) = match machine {
        "x86_64" => ("amd64", None),
        "aarch64" | "arm64" => ("arm64", None),
        "armv7l" | "armhf" => ("arm", Some("v7")),
        "armv6l" | "armel" => ("arm", Some("v6")),
        "i386" | "i686" => ("386", None),
        "loongarch64" => ("loong64", None),
        other => (other, None),
    };
    Platform { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SystemInfo {
        SystemInfo {
            id: Some("FAKE:ID".to_owned()),
            server_version: Some("26.1.5+dfsg1".to_owned()),
            driver: Some("overlayfs".to_owned()),
            docker_root_dir: Some("/var/lib/docker".to_owned()),
            os_type: Some("linux".to_owned()),
            architecture: Some("x86_64".to_owned()),
            ..SystemInfo::default()
        }
    }

    #[test]
    fn the_store_is_told_by_the_drivers_type() {
        let mut info = sample();
        assert_eq!(read(&info).unwrap().store, StoreKind::Graphdriver);
        info.driver_status = Some(vec![vec!["driver-type".to_owned(), "io.containerd.snapshotter.v1".to_owned()]]);
        assert_eq!(read(&info).unwrap().store, StoreKind::Containerd);
        assert_eq!(read(&info).unwrap().platform.to_string(), "linux/amd64");
        assert_eq!(platform("linux", "armv7l").to_string(), "linux/arm/v7");
    }

    #[test]
    fn an_engine_without_root_says_so() {
        let mut info = sample();
        assert!(!read(&info).unwrap().rootless);
        info.security_options = Some(vec!["name=seccomp,profile=builtin".to_owned(), "name=rootless".to_owned()]);
        assert!(read(&info).unwrap().rootless);
    }

    #[test]
    fn an_answer_without_the_id_is_malformed() {
        let info = SystemInfo { id: None, ..sample() };
        assert!(matches!(read(&info), Err(EngineError::Malformed(text)) if text.contains("ID")));
    }
}
