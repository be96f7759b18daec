//! `expect` of a `[[keep]]` block: what must be in the image.

use layerkeeper_core::Expect;
use toml::de::{DeTable, DeValue};

use super::problem::Wrong;

const EXAMPLES: &str = "write { package = \"libcudnn8\", version = \"8.9.*\" }, { file = \"/usr/lib/x.so\" } or \
                        { label = \"maintainer\", value = \"acme\" }";

/// One thing that is expected, as an inline table.
pub fn one(value: &DeValue<'_>) -> Result<Expect, Wrong> {
    let Some(table) = value.as_table() else {
        return Err(Wrong::new("each expectation is a table in braces", EXAMPLES));
    };
    let text = |key: &str| text(table, key);
    let (expect, with) = match (text("package")?, text("file")?, text("label")?) {
        (Some(name), None, None) => {
            let name = package(name)?;
            (Expect::Package { name, version: text("version")?.map(version).transpose()? }, &["package", "version"][..])
        }
        (None, Some(path), None) => (Expect::File { path: file(path)? }, &["file"][..]),
        (None, None, Some(name)) => {
            let value = text("value")?;
            (Expect::Label { name: name.to_owned(), value: value.map(str::to_owned) }, &["label", "value"][..])
        }
        (None, None, None) => return Err(Wrong::new("it names neither a package nor a file nor a label", EXAMPLES)),
        _ => return Err(Wrong::new("it names more than one thing", "write a table in braces for each of them")),
    };
    match table.keys().find(|key| !with.contains(&key.get_ref().as_ref())) {
        Some(other) => {
            let wrong = format!("\"{}\" does not belong to it", other.get_ref());
            Err(Wrong::new(wrong, format!("beside {} it takes {}", with[0], with.get(1).unwrap_or(&"nothing"))))
        }
        None => Ok(expect),
    }
}

fn text<'t>(table: &'t DeTable<'_>, key: &str) -> Result<Option<&'t str>, Wrong> {
    let Some(value) = table.get(key) else { return Ok(None) };
    match value.get_ref().as_str() {
        Some("") if key != "value" => Err(Wrong::new(format!("its {key} is empty"), EXAMPLES)),
        Some(text) => Ok(Some(text)),
        None => Err(Wrong::new(format!("its {key} is no text"), format!("write {key} = \"…\""))),
    }
}

/// Debian Policy 5.6.1, with the architecture that dpkg lets follow.
fn package(name: &str) -> Result<String, Wrong> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    let (package, architecture) = name.split_once(':').unwrap_or((name, "all"));
    let whole = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(fits);
    if whole(package) && whole(architecture) {
        return Ok(name.to_owned());
    }
    Err(Wrong::new(
        format!("\"{name}\" is no name of a package"),
        "write it as `dpkg -l` shows it, such as \"libcudnn8\"",
    ))
}

/// Debian Policy 5.6.12, with `*` and `?`.
fn version(text: &str) -> Result<String, Wrong> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~:*?".contains(c)) {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(
        format!("\"{text}\" matches no version"),
        "write the whole version as `dpkg -l` shows it, with * for any characters, such as \"8.9.*\"",
    ))
}

fn file(path: &str) -> Result<String, Wrong> {
    let right = "write it from the image's root on, such as \"/usr/lib/x86_64-linux-gnu/libcudnn.so.8\"";
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    match path.strip_prefix('/') {
        None => Err(Wrong::new(format!("\"{path}\" is a relative path"), right)),
        Some(below) if below.split('/').all(plain) => Ok(path.to_owned()),
        Some(_) => Err(Wrong::new(format!("\"{path}\" is no plain path of a file"), right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let value = DeValue::parse(text).unwrap().into_inner();
        one(&value).map(|expect| expect.to_string()).map_err(|wrong| wrong.wrong)
    }

    #[test]
    fn the_three_kinds_are_read() {
        let all = [
            (r#"{ package = "libcudnn8", version = "8.9.*" }"#, "package libcudnn8 (wanted: 8.9.*)"),
            (r#"{ package = "g++-12:amd64" }"#, "package g++-12:amd64"),
            (r#"{ file = "/usr/lib/libcudnn.so.8" }"#, "file /usr/lib/libcudnn.so.8"),
            (r#"{ label = "a.b", value = "" }"#, "label a.b (wanted: \"\")"),
            (r#"{ label = "a.b" }"#, "label a.b"),
        ];
        for (text, told) in all {
            assert_eq!(read(text), Ok(told.to_owned()), "{text}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let all = [
            (r#""libcudnn8""#, "each expectation is a table in braces"),
            ("{}", "it names neither a package nor a file nor a label"),
            (r#"{ version = "1" }"#, "it names neither a package nor a file nor a label"),
            (r#"{ package = "a", file = "/b" }"#, "it names more than one thing"),
            (r#"{ package = "a", value = "b" }"#, "\"value\" does not belong to it"),
            (r#"{ file = "/a", version = "1" }"#, "\"version\" does not belong to it"),
            (r#"{ label = "a", vlaue = "b" }"#, "\"vlaue\" does not belong to it"),
            (r#"{ package = "" }"#, "its package is empty"),
            (r#"{ package = 5 }"#, "its package is no text"),
            (r#"{ package = "CUDA" }"#, "\"CUDA\" is no name of a package"),
            (r#"{ package = "a:" }"#, "\"a:\" is no name of a package"),
            (r#"{ package = "a", version = ">= 8" }"#, "\">= 8\" matches no version"),
            (r#"{ file = "etc/passwd" }"#, "\"etc/passwd\" is a relative path"),
            (r#"{ file = "/a/../b" }"#, "\"/a/../b\" is no plain path of a file"),
            (r#"{ file = "/" }"#, "\"/\" is no plain path of a file"),
        ];
        for (text, wrong) in all {
            assert_eq!(read(text), Err(wrong.to_owned()), "{text}");
        }
    }
}
