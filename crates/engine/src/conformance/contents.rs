//! Reading what is inside an image.

use std::collections::BTreeSet;

use layerkeeper_core::expect::unmet;
use layerkeeper_core::{Digest, Expect, ImageName, Reference};

use super::{Case, Recipe, err, ok};
use crate::contents::{self, Kind};
use crate::{EngineError, inside};

const OWNER: &str = "0123456789abcdef";

pub(super) async fn all(case: &Case<'_>) {
    files_are_read_through_a_container_that_nobody_else_sees(case).await;
    what_is_not_there_is_not_found(case).await;
    a_container_that_somebody_removed_is_told_from_what_is_not_there(case).await;
    links_are_followed_inside_the_image_only(case).await;
    what_is_expected_is_found_by_dpkg_and_by_path(case).await;
}

fn stays(id: &str, error: EngineError) {
    panic!("{id} cannot be removed: {error:?}");
}

/// Every file below a path, by name and content.
async fn read(case: &Case<'_>, image: &Reference, path: &str) -> BTreeSet<(String, Digest)> {
    let id = ok(case.engine().open(image, OWNER).await, "open");
    let archive = ok(case.engine().archive(&id, path).await, "archive");
    let mut files = BTreeSet::new();
    let read = contents::files(path, archive, |file| {
        files.insert((file.path, file.digest));
    });
    ok(read.await, "files");
    ok(case.engine().close(&id).await, "close");
    files
}

async fn files_are_read_through_a_container_that_nobody_else_sees(case: &Case<'_>) {
    let (one, _) = case.publish("inside/app:one", &["shared", "own one"]).await;
    let (two, _) = case.publish("inside/app:two", &["shared", "own two"]).await;
    case.pull_tag(&one).await;
    case.pull_tag(&two).await;
    let (in_one, in_two) =
        (read(case, &one.to_reference(), "/data").await, read(case, &two.to_reference(), "/data").await);
    assert_eq!((in_one.len(), in_two.len()), (2, 2), "{in_one:?} {in_two:?}");
    assert_eq!(in_one.intersection(&in_two).count(), 1, "the shared layer's file: {in_one:?} {in_two:?}");
    assert!(in_one.iter().all(|(path, _)| path.starts_with("/data/")), "{in_one:?}");

    let before = ok(case.engine().containers().await, "containers");
    let id = ok(case.engine().open(&one.to_reference(), OWNER).await, "open");
    assert_eq!(ok(case.engine().left_open(OWNER).await, "left open"), std::slice::from_ref(&id));
    assert_eq!(ok(case.engine().containers().await, "containers"), before, "it is none of the host's");
    assert!(ok(case.engine().left_open("fedcba9876543210").await, "left open").is_empty(), "another's is not ours");
    let error = err(case.engine().remove(&one.to_reference()).await, "removing what is being read");
    assert!(matches!(error, EngineError::Conflict(_)), "{error:?}");
    ok(case.engine().close(&id).await, "close");
    ok(case.engine().close(&id).await, "closing once more");
    assert!(ok(case.engine().left_open(OWNER).await, "left open").is_empty());
    case.remove(&one.to_reference()).await;
    case.remove(&two.to_reference()).await;
    case.must_lack(&one.to_reference()).await;
}

async fn what_is_not_there_is_not_found(case: &Case<'_>) {
    let (name, _) = case.publish("inside/empty:t", &["a"]).await;
    let error = err(case.engine().open(&name.to_reference(), OWNER).await, "reading what is not here");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    case.pull_tag(&name).await;
    let id = ok(case.engine().open(&name.to_reference(), OWNER).await, "open");
    let error = err(case.engine().archive(&id, "/nowhere").await.map(drop), "a path that is not there");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
    ok(case.engine().close(&id).await, "close");
    case.remove(&name.to_reference()).await;
}

async fn a_container_that_somebody_removed_is_told_from_what_is_not_there(case: &Case<'_>) {
    let name = with_files(case, "inside/lost:t", &[("/srv/app", "#!")], &[]).await;
    let id = ok(case.engine().open(&name.to_reference(), OWNER).await, "open");
    assert_eq!(ok(case.engine().stat(&id, "/").await, "the root"), Some(Kind::Directory));
    ok(inside::files(case.engine(), &id, "/nowhere", |_| {}).await, "no such path");
    case.subject.remove_container(&id).await;
    for path in ["/", "/srv/app", "/nowhere"] {
        assert_eq!(ok(case.engine().stat(&id, path).await, path), None);
        let error = err(case.engine().archive(&id, path).await.map(drop), path);
        assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
        let error = err(inside::files(case.engine(), &id, path, |_| {}).await, path);
        assert!(matches!(error, EngineError::ReadingLost(_)) && error.is_transient(), "{error:?}");
    }
    ok(case.engine().close(&id).await, "closing what somebody removed");
    case.remove(&name.to_reference()).await;
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

async fn with_files(case: &Case<'_>, name: &str, files: &[(&str, &str)], links: &[(&str, &str)]) -> ImageName {
    let recipe = Recipe { files: pairs(files), links: pairs(links), ..Recipe::default() };
    let (name, _) = case.publish_as(name, &["a"], recipe).await;
    case.pull_tag(&name).await;
    name
}

async fn links_are_followed_inside_the_image_only(case: &Case<'_>) {
    let files = [("/usr/lib/real.so.8.9", "elf"), ("/srv/etc/hostname", "inner")];
    let links = [
        ("/lib", "usr/lib"),
        ("/usr/lib/real.so.8", "real.so.8.9"),
        ("/usr/lib/real.so", "/lib/real.so.8"),
        ("/usr/lib/up.so", "../../../../../usr/lib/real.so"),
        ("/usr/lib/gone.so", "nowhere.so"),
        ("/usr/lib/out", "/proc/self/root/etc/hostname"),
        ("/usr/lib/loop", "loop"),
    ];
    let name = with_files(case, "inside/links:t", &files, &links).await;
    let id = ok(case.engine().open(&name.to_reference(), OWNER).await, "open");
    let stat = async |path: &str| ok(case.engine().stat(&id, path).await, path);
    assert_eq!(stat("/usr/lib/real.so.8.9").await, Some(Kind::File));
    assert_eq!(stat("/lib/real.so.8.9").await, Some(Kind::File), "by a directory that is a link");
    assert_eq!(stat("/usr/lib").await, Some(Kind::Directory));
    assert_eq!(stat("/nowhere").await, None);
    assert_eq!(stat("/nowhere/at/all").await, None);
    assert_eq!(stat("/usr/lib/real.so.8.9/below").await, None, "below a file there is nothing");
    for nothing in ["/nowhere", "/nowhere/at/all", "/usr/lib/real.so.8.9/below"] {
        let read = inside::files(case.engine(), &id, nothing, |file| panic!("{nothing}: {file:?}")).await;
        ok(read, nothing);
    }
    let error = err(case.engine().archive(&id, "/usr/lib/real.so.8.9/below").await.map(drop), "below a file");
    assert!(matches!(error, EngineError::Other(_)), "{error:?}");
    for link in ["/usr/lib/real.so.8", "/usr/lib/real.so", "/lib/real.so", "/usr/lib/up.so"] {
        let leads = Some(Kind::Link("/usr/lib/real.so.8.9".to_owned()));
        assert_eq!(stat(link).await, leads, "{link}: to the end, and inside");
    }
    let lost = stat("/usr/lib/gone.so").await;
    assert_eq!(lost, Some(Kind::Link("/usr/lib/nowhere.so".to_owned())));
    ok(case.engine().close(&id).await, "close");

    let file = |path: &str| Expect::File { path: path.to_owned() };
    let wanted =
        ["/lib/real.so", "/usr/lib/up.so", "/usr/lib", "/usr/lib/gone.so", "/usr/lib/out", "/usr/lib/loop", "/no"];
    let wanted = wanted.map(file);
    let seen = ok(inside::look(case.engine(), &name.to_reference(), OWNER, &wanted, stays).await, "look");
    let missed = unmet(&wanted, &seen);
    assert_eq!(missed.len(), 5, "{missed:?}");
    assert_eq!(missed[0], "file /usr/lib is a directory");
    assert_eq!(missed[1], "file /usr/lib/gone.so is a symbolic link to /usr/lib/nowhere.so, which is not there");
    assert!(missed[2].starts_with("file /usr/lib/out is a symbolic link to /proc/self/root"), "{missed:?}");
    assert!(missed[3].starts_with("file /usr/lib/loop is"), "{missed:?}");
    assert_eq!(missed[4], "file /no is not there");
    assert!(ok(case.engine().left_open(OWNER).await, "left open").is_empty());
    case.remove(&name.to_reference()).await;
}

async fn what_is_expected_is_found_by_dpkg_and_by_path(case: &Case<'_>) {
    let status = "Package: libcudnn8\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 8.9.0-1\n\n\
                  Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
    let files = [("/var/lib/dpkg/status", status), ("/etc/os-release", "ID=debian")];
    let debian = with_files(case, "inside/debian:t", &files, &[]).await;
    let files = [("/var/lib/dpkg/status.d/libcudnn8", "Package: libcudnn8\nVersion: 9.1\n"), ("/bin/x", "x")];
    let distroless = with_files(case, "inside/distroless:t", &files, &[]).await;
    let (none, _) = case.publish("inside/none:t", &["a"]).await;
    case.pull_tag(&none).await;
    let package = |name: &str| Expect::Package { name: name.to_owned(), version: Some("8.9.*".to_owned()) };
    let label = |value: &str| Expect::Label { name: "label".to_owned(), value: Some(value.to_owned()) };
    let wanted = [package("libcudnn8"), package("gone"), label("inside/debian:t")];
    let missed = async |name: &ImageName| {
        unmet(&wanted, &ok(inside::look(case.engine(), &name.to_reference(), OWNER, &wanted, stays).await, "look"))
    };
    let not_installed = "package gone (wanted: 8.9.*) is known to dpkg, but not installed";
    assert_eq!(missed(&debian).await, [not_installed]);
    assert_eq!(
        missed(&distroless).await,
        [
            "package libcudnn8 (wanted: 8.9.*) has version 9.1",
            "package gone (wanted: 8.9.*) is not installed",
            "label label (wanted: \"inside/debian:t\") is \"inside/distroless:t\""
        ]
    );
    assert_eq!(missed(&none).await.len(), 3, "no database, and another label");
    for name in [debian, distroless, none] {
        case.remove(&name.to_reference()).await;
    }
    let error =
        err(inside::look(case.engine(), &case.name("inside/no:t").to_reference(), OWNER, &wanted, stays).await, "look");
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
}
