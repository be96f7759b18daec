//! dpkg's database of what is installed: paragraphs of `Field: value` (deb822(5), dpkg-query(1)).

/// A package as dpkg knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its whole version: `[epoch:]upstream[-revision]`.
    pub version: String,
    /// Such as `amd64`, `all`.
    pub architecture: String,
    /// dpkg's third word of `Status` is `installed`; so it is also where there is no such field, as in the files of images
    /// that were made without running dpkg (`status.d`).
    pub installed: bool,
}

impl Package {
    /// Is it called that, `NAME` or `NAME:ARCHITECTURE`?
    pub fn is(&self, name: &str) -> bool {
        match name.split_once(':') {
            Some((name, architecture)) => self.name == name && self.architecture == architecture,
            None => self.name == name,
        }
    }
}

/// The packages in the text of `/var/lib/dpkg/status`, or of a file of `/var/lib/dpkg/status.d`. A paragraph without a
/// name is none.
pub fn packages(text: &str) -> Vec<Package> {
    let mut found = Vec::new();
    let mut fields = Fields::default();
    // an empty line more ends the last paragraph
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            found.extend(std::mem::take(&mut fields).package());
        } else if !line.starts_with([' ', '\t']) {
            fields.read(line);
        }
    }
    found
}

/// What a paragraph says that matters here.
#[derive(Debug, Default)]
struct Fields<'t> {
    name: Option<&'t str>,
    version: Option<&'t str>,
    architecture: &'t str,
    status: Option<&'t str>,
}

impl<'t> Fields<'t> {
    fn read(&mut self, line: &'t str) {
        let Some((field, value)) = line.split_once(':') else { return };
        let value = value.trim();
        // the names of fields are the same in whatever case
        match field.to_ascii_lowercase().as_str() {
            "package" => self.name = Some(value),
            "version" => self.version = Some(value),
            "architecture" => self.architecture = value,
            "status" => self.status = Some(value),
            _ => {}
        }
    }

    fn package(self) -> Option<Package> {
        Some(Package {
            name: self.name?.to_owned(),
            // one that was removed has none any more
            version: self.version.unwrap_or_default().to_owned(),
            architecture: self.architecture.to_owned(),
            installed: self.status.is_none_or(|status| status.split_whitespace().nth(2) == Some("installed"))
                && self.version.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_read_and_what_continues_a_line_is_no_field() {
        let text = "Package: libc6\nStatus: install ok installed\nPriority: optional\nArchitecture: amd64\n\
                    Version: 2.36-9+deb12u7\nDescription: GNU C Library\n Version: 9\n .\n Package: no\n\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nversion: 1:2\n\n\
                    package: base-files\nVersion: 12.4\r\n\nVersion: 3\n";
        let read: Vec<_> =
            packages(text).into_iter().map(|p| (p.name, p.version, p.architecture, p.installed)).collect();
        let row = |name: &str, version: &str, architecture: &str, installed| {
            (name.to_owned(), version.to_owned(), architecture.to_owned(), installed)
        };
        assert_eq!(
            read,
            [
                row("libc6", "2.36-9+deb12u7", "amd64", true),
                row("gone", "1:2", "", false),
                row("base-files", "12.4", "", true)
            ]
        );
    }

    #[test]
    fn a_name_may_say_the_architecture() {
        let package = Package {
            name: "a".to_owned(),
            version: "1".to_owned(),
            architecture: "arm64".to_owned(),
            installed: true,
        };
        assert!(package.is("a") && package.is("a:arm64"));
        assert!(!package.is("a:amd64") && !package.is("b") && !package.is(""));
    }
}
