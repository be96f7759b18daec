//! A systemd unit as its files say, `systemd.unit(5)`: the unit and its drop-ins, one after the other.

/// The settings of a unit, in the order of its files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnitFile {
    settings: Vec<Setting>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `ExecStart`
    pub key: String,
    /// What stands behind the equals sign.
    pub value: String,
    /// `FILE:LINE`
    pub place: String,
}

impl UnitFile {
    /// Adds what a file says.
    pub fn read(&mut self, text: &str, file: &str) {
        let mut open: Option<Setting> = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            let (line, goes_on) = line.strip_suffix('\\').map_or((line, false), |line| (line.trim_end(), true));
            let mut setting = match (open.take(), line.split_once('=')) {
                (Some(before), _) => Setting { value: format!("{} {line}", before.value), ..before },
                (None, Some((key, value))) => Setting {
                    key: key.trim().to_owned(),
                    value: value.trim().to_owned(),
                    place: format!("{file}:{}", index + 1),
                },
                (None, None) => continue,
            };
            if goes_on {
                open = Some(setting);
            } else {
                setting.value = setting.value.trim().to_owned();
                self.settings.push(setting);
            }
        }
        self.settings.extend(open);
    }

    /// What a key has; an empty value takes back all before it.
    pub fn all(&self, key: &str) -> Vec<&Setting> {
        let mut all = Vec::new();
        for setting in self.settings.iter().filter(|setting| setting.key == key) {
            if setting.value.is_empty() { all.clear() } else { all.push(setting) }
        }
        all
    }

    /// The last value of a key.
    pub fn last(&self, key: &str) -> Option<&str> {
        self.all(key).last().map(|setting| setting.value.as_str())
    }

    /// Every command that starting the unit runs, without the marks before it (`-`, `@`, `+`, …).
    pub fn commands(&self) -> Vec<Setting> {
        let keys = ["ExecStartPre", "ExecStart", "ExecStartPost"];
        let all = keys.iter().flat_map(|key| self.all(key));
        let bare = |value: &str| value.trim_start_matches(['-', '@', '+', '!', ':']).to_owned();
        all.map(|setting| Setting { value: bare(&setting.value), ..setting.clone() }).collect()
    }
}

/// A time span in minutes, rounded up: `1h 30min`, `90m`, `45`. None where it cannot be read. `systemd.time(7)`
pub fn minutes(text: &str) -> Option<u32> {
    let mut seconds = 0_f64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "" | "s" | "sec" | "second" | "seconds" => 1.0,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86_400.0,
                _ => return None,
            };
        rest = rest[end..].trim_start();
    }
    Some((seconds / 60.0).ceil() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_add_and_take_back() {
        let mut unit = UnitFile::default();
        unit.read(
            "[Service]\n# ExecStart=no\nExecStart=-/bin/sh -c \\\n  'docker system \\\n  prune -af'\nUser=a\n",
            "/a",
        );
        assert_eq!(unit.commands()[0].value, "/bin/sh -c 'docker system prune -af'");
        assert_eq!(unit.commands()[0].place, "/a:3");
        unit.read("[Service]\nExecStart=\nExecStart=/bin/true\nUser=b", "/a.d/x.conf");
        assert_eq!(unit.commands().len(), 1);
        assert_eq!((unit.commands()[0].place.as_str(), unit.last("User")), ("/a.d/x.conf:3", Some("b")));
        assert_eq!(unit.last("Group"), None);
    }

    #[test]
    fn time_spans_are_read() {
        for (text, wanted) in
            [("1h 30min", Some(90)), ("90m", Some(90)), ("45", Some(1)), ("1h30m", Some(90)), ("soon", None)]
        {
            assert_eq!(minutes(text), wanted, "{text}");
        }
    }
}
