//! What a kept image must hold before its name moves to it: a package, a file, a label.

mod dpkg;

use std::collections::BTreeMap;
use std::fmt;

use crate::digest::Digest;
use crate::pattern::glob;

pub use dpkg::{Package, packages};

/// One thing that must be in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A package that dpkg has installed.
    Package {
        /// Its name, with `:ARCHITECTURE` where that matters.
        name: String,
        /// What its whole version must look like, with `*` for any run of characters and `?` for one; any version where
        /// there is none.
        version: Option<String>,
    },
    /// A regular file at this absolute path, where symbolic links are followed inside the image.
    File {
        /// The path, from the image's root on.
        path: String,
    },
    /// A label of the image's configuration.
    Label {
        /// Its key.
        name: String,
        /// Its whole value; any where there is none.
        value: Option<String>,
    },
}

/// What a path in an image is, symbolic links followed inside the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A device, a socket, a pipe.
    Special,
    /// Nothing; with where its symbolic link leads, where it is one.
    Nothing(Option<String>),
}

/// What was seen of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inside {
    /// dpkg's database; none where the image has none, or where no package was asked for.
    pub packages: Option<Vec<Package>>,
    /// Every path that was asked for.
    pub paths: BTreeMap<String, Found>,
    /// The configuration's labels.
    pub labels: BTreeMap<String, String>,
}

/// What is not as expected, each in a sentence; empty where all is.
pub fn unmet(expect: &[Expect], inside: &Inside) -> Vec<String> {
    expect.iter().filter_map(|one| one.missed(inside)).collect()
}

/// The same for the same expectations in the same order: by it is known whether an image was held to them already.
pub fn fingerprint(expect: &[Expect]) -> Digest {
    let text: Vec<String> = expect.iter().map(|one| format!("{one:?}\n")).collect();
    Digest::of(text.concat().as_bytes())
}

impl Expect {
    /// What is wrong, if anything is.
    fn missed(&self, inside: &Inside) -> Option<String> {
        let wrong = match self {
            Self::Package { name, version } => package(name, version.as_deref(), inside)?,
            Self::File { path } => match inside.paths.get(path) {
                Some(Found::File) => return None,
                Some(Found::Directory) => "is a directory".to_owned(),
                Some(Found::Special) => "is no regular file".to_owned(),
                Some(Found::Nothing(Some(target))) => format!("is a symbolic link to {target}, which is not there"),
                Some(Found::Nothing(None)) | None => "is not there".to_owned(),
            },
            Self::Label { name, value } => match (inside.labels.get(name), value) {
                (None, _) => "is not there".to_owned(),
                (Some(has), Some(wanted)) if has != wanted => format!("is {has:?}"),
                (Some(_), _) => return None,
            },
        };
        Some(format!("{self} {wrong}"))
    }
}

fn package(name: &str, version: Option<&str>, inside: &Inside) -> Option<String> {
    let Some(packages) = &inside.packages else {
        return Some("cannot be found out: the image has no dpkg database (/var/lib/dpkg)".to_owned());
    };
    let named: Vec<&Package> = packages.iter().filter(|package| package.is(name)).collect();
    let fits = |package: &Package| version.is_none_or(|wanted| glob(wanted.as_bytes(), package.version.as_bytes()));
    if named.iter().any(|package| package.installed && fits(package)) {
        return None;
    }
    let here: Vec<&str> = named.iter().filter(|one| one.installed).map(|one| one.version.as_str()).collect();
    Some(match (here.is_empty(), named.is_empty()) {
        (false, _) => format!("has version {}", here.join(" and ")),
        (true, false) => "is known to dpkg, but not installed".to_owned(),
        (true, true) => "is not installed".to_owned(),
    })
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package { name, version: None } => write!(f, "package {name}"),
            Self::Package { name, version: Some(version) } => write!(f, "package {name} (wanted: {version})"),
            Self::File { path } => write!(f, "file {path}"),
            Self::Label { name, value: None } => write!(f, "label {name}"),
            Self::Label { name, value: Some(value) } => write!(f, "label {name} (wanted: {value:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: Option<&str>) -> Expect {
        Expect::Package { name: name.to_owned(), version: version.map(str::to_owned) }
    }

    fn file(path: &str) -> Expect {
        Expect::File { path: path.to_owned() }
    }

    fn label(name: &str, value: Option<&str>) -> Expect {
        Expect::Label { name: name.to_owned(), value: value.map(str::to_owned) }
    }

    fn cudnn(version: &str) -> Inside {
        let text = format!("Package: libcudnn8\nStatus: hold ok installed\nVersion: {version}\nArchitecture: amd64\n");
        Inside { packages: Some(packages(&text)), ..Inside::default() }
    }

    #[test]
    fn a_package_is_judged_by_its_whole_version() {
        let inside = cudnn("8.9.0.131-1+cuda12.1");
        let all = |wanted: &[Expect]| unmet(wanted, &inside);
        let fit = [Some("8.9.*"), Some("8.9.0.131-1+cuda12.1"), Some("8.?.*"), None];
        assert_eq!(all(&fit.map(|version| package("libcudnn8", version))), [""; 0]);
        assert_eq!(all(&[package("libcudnn8:amd64", Some("8.*"))]), [""; 0]);
        assert_eq!(
            all(&[
                package("libcudnn8", Some("8.9")),
                package("libcudnn8", Some("9.*")),
                package("libcudnn8:arm64", None),
                package("libcudnn", None),
            ]),
            [
                "package libcudnn8 (wanted: 8.9) has version 8.9.0.131-1+cuda12.1",
                "package libcudnn8 (wanted: 9.*) has version 8.9.0.131-1+cuda12.1",
                "package libcudnn8:arm64 is not installed",
                "package libcudnn is not installed",
            ]
        );
    }

    #[test]
    fn a_package_that_was_removed_or_half_installed_is_not_there() {
        for state in ["deinstall ok config-files", "install ok half-configured", "install reinstreq unpacked"] {
            let text = format!("Package: a\nStatus: {state}\nVersion: 1\n");
            let inside = Inside { packages: Some(packages(&text)), ..Inside::default() };
            assert_eq!(
                unmet(&[package("a", None)], &inside),
                ["package a is known to dpkg, but not installed"],
                "{state}"
            );
        }
        let none = unmet(&[package("a", None)], &Inside::default());
        assert_eq!(none, ["package a cannot be found out: the image has no dpkg database (/var/lib/dpkg)"]);
    }

    #[test]
    fn files_and_labels_are_judged_by_what_was_seen() {
        let paths = [
            ("/a", Found::File),
            ("/b", Found::Directory),
            ("/c", Found::Nothing(None)),
            ("/d", Found::Nothing(Some("/lib/d.so".to_owned()))),
            ("/e", Found::Special),
        ];
        let inside = Inside {
            paths: paths.map(|(path, found)| (path.to_owned(), found)).into(),
            labels: BTreeMap::from([("source".to_owned(), "x".to_owned())]),
            ..Inside::default()
        };
        let wanted = [
            file("/a"),
            file("/b"),
            file("/c"),
            file("/d"),
            file("/e"),
            file("/unseen"),
            label("source", None),
            label("source", Some("x")),
            label("source", Some("y")),
            label("vendor", None),
        ];
        assert_eq!(
            unmet(&wanted, &inside),
            [
                "file /b is a directory",
                "file /c is not there",
                "file /d is a symbolic link to /lib/d.so, which is not there",
                "file /e is no regular file",
                "file /unseen is not there",
                "label source (wanted: \"y\") is \"x\"",
                "label vendor is not there",
            ]
        );
    }

    #[test]
    fn other_expectations_have_another_fingerprint() {
        let sets = [
            vec![],
            vec![package("a", None)],
            vec![package("a", Some("1"))],
            vec![file("a")],
            vec![label("a", None)],
            vec![label("a", Some(""))],
            vec![file("a"), label("a", None)],
        ];
        let prints: std::collections::BTreeSet<_> = sets.iter().map(|set| fingerprint(set)).collect();
        assert_eq!(prints.len(), sets.len());
    }
}
